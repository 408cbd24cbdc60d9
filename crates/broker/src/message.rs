//! The format of messages: JSON bodies with ids only, headers for traces and for people.

use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::delivery::{Outgoing, Received};
use super::topology::Topology;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::job::{ChunkEvent, Job, MESSAGE_VERSION, TraceContext};

/// Tidemark's bodies have about a hundred bytes. A longer message is not Tidemark's.
const LONGEST_BODY: usize = 64 * 1024;
const PERSISTENT: u8 = 2;

const REASON: &str = "reason";
const QUEUE: &str = "queue";
/// Header that the broker writes when it dead-letters a message: an array, newest first.
const X_DEATH: &str = "x-death";
/// Header that a quorum queue writes on a returned message.
const X_DELIVERY_COUNT: &str = "x-delivery-count";
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// A message ready to be published.
pub(super) struct Message {
    pub id: String,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Message {
    pub fn job(outgoing: &Outgoing) -> Self {
        let job = &outgoing.job;
        let mut headers = headers(job.tenant_id, job.run_id, &outgoing.context);
        headers.insert("lane".into(), text(outgoing.lane.as_str()));
        Self::json(Topology::lane_key(outgoing.lane), headers, job)
    }

    pub fn event(event: &ChunkEvent, context: &TraceContext) -> Self {
        let headers = headers(event.tenant_id, event.run_id, context);
        Self::json(Topology::events_key(), headers, event)
    }

    /// An unreadable message, with the reason and the queue it came from.
    pub fn dead(body: &[u8], unreadable: &Unreadable, queue: &ShortString) -> Self {
        let mut headers = FieldTable::default();
        headers.insert(REASON.into(), text(&unreadable.to_string()));
        headers.insert(QUEUE.into(), text(queue.as_str()));
        let kept = body.get(..LONGEST_BODY).unwrap_or(body).to_vec();
        let mut message = Self::new(ShortString::default(), headers, "application/octet-stream", kept);
        message.properties = message.properties.with_timestamp(now_for_people());
        message
    }

    /// A copy of a dead message, with its reason, queue and time, and without the broker's return count.
    pub fn copy_of_dead(delivery: &Delivery) -> Self {
        let dead = read_dead(delivery);
        let mut headers = FieldTable::default();
        headers.insert(REASON.into(), text(&dead.reason));
        if let Some(queue) = &dead.queue {
            headers.insert(QUEUE.into(), text(queue));
        }
        let body = delivery.data.clone();
        let mut message = Self::new(ShortString::default(), headers, "application/octet-stream", body);
        let since = dead.since.and_then(|since| u64::try_from(since.timestamp()).ok());
        if let Some(since) = since {
            message.properties = message.properties.with_timestamp(since);
        }
        message
    }

    fn json(routing_key: ShortString, headers: FieldTable, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("a struct of numbers serializes to JSON");
        Self::new(routing_key, headers, "application/json", body)
    }

    fn new(routing_key: ShortString, headers: FieldTable, content_type: &str, body: Vec<u8>) -> Self {
        let id = Uuid::new_v4().to_string();
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(content_type.into())
            .with_message_id(id.as_str().into())
            .with_headers(headers);
        Self {
            id,
            routing_key,
            properties,
            body,
        }
    }
}

/// Seconds since the epoch by this machine's clock. Only shown to people, as the age of dead messages.
#[expect(clippy::disallowed_methods, reason = "shown to people only")]
fn now_for_people() -> u64 {
    u64::try_from(Utc::now().timestamp()).unwrap_or_default()
}

/// How often the message returned to a quorum queue, by the queue's own count.
pub(super) fn return_count(properties: &BasicProperties) -> u64 {
    let headers = properties.headers().as_ref();
    let count: i64 = match headers.and_then(|headers| headers.inner().get(X_DELIVERY_COUNT)) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => (*count).into(),
        Some(AMQPValue::LongUInt(count)) => (*count).into(),
        Some(AMQPValue::ShortInt(count)) => (*count).into(),
        Some(AMQPValue::ShortUInt(count)) => (*count).into(),
        Some(AMQPValue::ShortShortInt(count)) => (*count).into(),
        Some(AMQPValue::ShortShortUInt(count)) => (*count).into(),
        _ => 0,
    };
    u64::try_from(count).unwrap_or_default()
}

/// Reason, origin, time and job of a dead message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub reason: String,
    pub queue: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub job: Option<Job>,
}

/// Reads a dead message, whether Tidemark or the broker moved it.
pub(super) fn read_dead(delivery: &Delivery) -> Dead {
    let properties = &delivery.properties;
    let death = death(properties);
    let by_broker = |field: &str| match death?.inner().get(field)? {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        _ => None,
    };
    let moved_at = match death.and_then(|death| death.inner().get("time")) {
        Some(AMQPValue::Timestamp(seconds)) => Some(*seconds),
        _ => None,
    };
    let since = moved_at.or(*properties.timestamp());
    Dead {
        reason: header(properties, REASON)
            .or_else(|| by_broker("reason").map(|reason| format!("moved by the broker: {reason}")))
            .unwrap_or_else(|| "unknown".to_owned()),
        queue: header(properties, QUEUE).or_else(|| by_broker("queue")),
        since: since
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        job: decode_body(&delivery.data).ok(),
    }
}

fn death(properties: &BasicProperties) -> Option<&FieldTable> {
    let AMQPValue::FieldArray(deaths) = properties.headers().as_ref()?.inner().get(X_DEATH)? else {
        return None;
    };
    match deaths.as_slice().first()? {
        AMQPValue::FieldTable(death) => Some(death),
        _ => None,
    }
}

/// Why a delivery cannot be read. The text quotes no content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("too big: {bytes} bytes, the first {LONGEST_BODY} are kept")]
    TooBig { bytes: usize },
    #[error("not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("no version")]
    NoVersion,
    #[error("version {found}, this build reads {MESSAGE_VERSION}")]
    Version { found: u64 },
    #[error("fields are missing or of another type")]
    Fields,
}

/// Decodes a delivery. Any input is handled without a panic.
pub(super) fn decode<T: DeserializeOwned>(delivery: &Delivery) -> Result<Received<T>, Unreadable> {
    Ok(Received {
        body: decode_body(&delivery.data)?,
        context: TraceContext {
            traceparent: header(&delivery.properties, TRACEPARENT),
            tracestate: header(&delivery.properties, TRACESTATE),
        },
        redelivered: delivery.redelivered,
    })
}

fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u64,
    }

    let bytes = body.len();
    if bytes > LONGEST_BODY {
        return Err(Unreadable::TooBig { bytes });
    }
    // the version first: this build cannot know the fields of another version
    let versioned: Versioned = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            return Unreadable::NoVersion;
        }
        Unreadable::NotJson {
            line: error.line(),
            column: error.column(),
        }
    })?;
    if versioned.v != u64::from(MESSAGE_VERSION) {
        return Err(Unreadable::Version { found: versioned.v });
    }
    serde_json::from_slice(body).map_err(|_| Unreadable::Fields)
}

fn headers(tenant: TenantId, run: RunId, context: &TraceContext) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("tenant".into(), AMQPValue::LongInt(tenant.0));
    headers.insert("run".into(), AMQPValue::LongLongInt(run.0));
    let trace = [
        (TRACEPARENT, &context.traceparent),
        (TRACESTATE, &context.tracestate),
    ];
    for (name, value) in trace {
        if let Some(value) = value {
            headers.insert(name.into(), text(value));
        }
    }
    headers
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    let value = properties.headers().as_ref()?.inner().get(name)?;
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use tidemark_shared::job::Job;

    fn read(body: &str) -> Result<Job, Unreadable> {
        decode_body(body.as_bytes())
    }

    #[test]
    fn every_kind_of_unreadable_message_has_its_reason() {
        let not_json = Unreadable::NotJson { line: 1, column: 1 };
        assert_eq!(read("rubbish"), Err(not_json));
        assert_eq!(read("{}"), Err(Unreadable::NoVersion));
        assert_eq!(read("[]"), Err(Unreadable::NoVersion));
        assert_eq!(
            read(r#"{"v":2,"chunk":"x"}"#),
            Err(Unreadable::Version { found: 2 })
        );
        assert_eq!(read(r#"{"v":1,"run_id":1}"#), Err(Unreadable::Fields));
        let long = "x".repeat(LONGEST_BODY + 1);
        assert_eq!(read(&long), Err(Unreadable::TooBig { bytes: 65_537 }));
    }

    #[test]
    fn a_field_that_a_later_build_added_is_ignored() {
        let body = r#"{"v":1,"run_id":7,"seq":3,"tenant_id":2,"attempt":1,"colour":"blue"}"#;
        let job = read(body).unwrap();
        assert_eq!((job.run_id, job.seq, job.tenant_id), (RunId(7), 3, TenantId(2)));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(reason) = decode_body::<Job>(&body) {
                prop_assert!(!reason.to_string().is_empty());
            }
        }

        #[test]
        fn a_body_is_read_as_a_job_or_refused_without_quoting_it(
            fields in prop::collection::btree_map("(v|run_id|seq|tenant_id|attempt|colour)", value(), 0..7),
            version in prop_oneof![Just(1_u64), any::<u64>()],
        ) {
            let mut body = serde_json::Map::from_iter(fields);
            body.insert("v".to_owned(), version.into());
            let body = serde_json::to_vec(&body).unwrap();
            match decode_body::<Job>(&body) {
                Ok(job) => prop_assert_eq!(decode_body::<Job>(&serde_json::to_vec(&job).unwrap()), Ok(job)),
                Err(reason) => {
                    let said = format!("{reason} {reason:?}");
                    prop_assert!(!said.contains(CELL), "{}", said);
                }
            }
        }

        #[test]
        fn headers_of_any_kind_are_read_or_ignored(name in "(traceparent|tracestate|reason|queue|x-death)", of in header_value()) {
            let mut table = FieldTable::default();
            table.insert(name.into(), of);
            let properties = BasicProperties::default().with_headers(table);
            let read = [TRACEPARENT, TRACESTATE, REASON, QUEUE].map(|known| header(&properties, known));
            prop_assert!(read.iter().flatten().count() <= 1);
            let _ = death(&properties);
        }
    }

    const CELL: &str = "hunter2";

    fn value() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            any::<i64>().prop_map(Into::into),
            (0..100_i32).prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            Just(serde_json::Value::Null),
            Just(serde_json::json!({ "a": [CELL] })),
            "\\PC{0,9}".prop_map(|text| format!("{text}{CELL}").into()),
        ]
    }

    fn header_value() -> impl Strategy<Value = AMQPValue> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<bool>().prop_map(AMQPValue::Boolean),
            Just(AMQPValue::FieldTable(FieldTable::default())),
            Just(AMQPValue::FieldArray(vec![AMQPValue::Void].into())),
            Just(AMQPValue::FieldArray(
                vec![AMQPValue::FieldTable(FieldTable::default())].into()
            )),
        ]
    }
}
