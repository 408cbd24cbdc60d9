//! Generates any value that a source may have: extreme times, huge numbers, empty texts, all scripts.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A conversation with its messages, owned.
#[derive(Debug, Clone)]
pub(crate) struct AnySource {
    pub tenant: TenantContext,
    pub conversation: SourceConversation,
    pub messages: Vec<AnyMessage>,
    pub client_phone: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct AnyMessage {
    id: i64,
    content: Option<String>,
    sender_type: Option<String>,
    sender_id: Option<i64>,
    created_at: SourceTime,
    kinds: [Option<i32>; 3],
    private: bool,
    sentiment: Option<String>,
    source_id: Option<String>,
    marks: MessageMarks,
}

impl AnySource {
    pub(crate) fn transform(&self) -> Result<TargetRow<'_>, TransformError> {
        let mut fold = MessageFold::with_privacy(&self.tenant.privacy);
        for message in &self.messages {
            fold.push(&message.borrow());
        }
        transform(
            &self.tenant,
            &self.conversation,
            fold,
            self.client_phone.as_deref(),
        )
    }
}

impl AnyMessage {
    pub(crate) fn position(&self) -> (SourceTime, i64) {
        (self.created_at, self.id)
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.content = Some(text.to_owned());
    }

    fn borrow(&self) -> SourceMessage<'_> {
        let [message_type, content_type, status] = self.kinds;
        SourceMessage {
            id: self.id,
            content: self.content.as_deref(),
            sender_type: self.sender_type.as_deref(),
            sender_id: self.sender_id,
            created_at: self.created_at,
            message_type,
            content_type,
            status,
            private: self.private,
            sentiment: self.sentiment.as_deref(),
            source_id: self.source_id.as_deref(),
            marks: self.marks,
        }
    }
}

pub(crate) fn any_time() -> impl Strategy<Value = SourceTime> {
    let micros =
        |range: RangeInclusive<i64>| range.prop_map(|micros| SourceTime::from_micros(micros).unwrap());
    prop_oneof![
        1 => Just(SourceTime::INFINITY),
        1 => Just(SourceTime::NEG_INFINITY),
        1 => Just(SourceTime::MIN),
        1 => Just(SourceTime::MAX),
        4 => micros(SourceTime::MIN.micros()..=SourceTime::MAX.micros()),
        // 2023 and 2024
        12 => micros(725_846_400_000_000..=789_004_800_000_000),
    ]
}

/// Without NUL: a PostgreSQL source has none.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9 ,.\"\\\\\n\t]{0,60}",
        4 => "\\PC{0,80}",
        2 => "[áéíçã🙂👩👧\u{200d}שלוםمرحبا中文\u{200f}\u{feff}\u{1}]{0,300}",
        1 => "[a-z]{250,260}",
        1 => Just(String::new()),
    ]
}

/// As PostgreSQL prints a `jsonb`.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any_text().prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| json!(values)),
            vec((any_text(), inner), 0..4)
                .prop_map(|pairs| json!(pairs.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
    .prop_map(|value| value.to_string())
}

/// Chatwoot's small numbers, and any other.
fn any_kind() -> impl Strategy<Value = Option<i32>> {
    option::of(prop_oneof![3 => 0..6, 1 => any::<i32>()])
}

fn any_sender_type() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        3 => Just(Some("Contact".to_owned())),
        3 => Just(Some("User".to_owned())),
        1 => Just(None),
        1 => any_text().prop_map(Some),
    ]
}

fn any_message() -> impl Strategy<Value = AnyMessage> {
    let texts = (
        option::of(any_text()),
        any_sender_type(),
        option::of(any_json()),
        option::of(any_text()),
    );
    let numbers = (
        any::<i64>(),
        option::of(any::<i64>()),
        [any_kind(), any_kind(), any_kind()],
    );
    let marks = any::<[bool; 3]>().prop_map(|[is_deleted, is_external_echo, is_automation]| MessageMarks {
        is_deleted,
        is_external_echo,
        is_automation,
    });
    (texts, numbers, any_time(), any::<bool>(), marks).prop_map(
        |(texts, numbers, created_at, private, marks)| {
            let (content, sender_type, sentiment, source_id) = texts;
            let (id, sender_id, kinds) = numbers;
            AnyMessage {
                id,
                content,
                sender_type,
                sender_id,
                created_at,
                kinds,
                private,
                sentiment,
                source_id,
                marks,
            }
        },
    )
}

/// Sorted as a reader returns them.
fn any_messages() -> impl Strategy<Value = Vec<AnyMessage>> {
    vec(any_message(), 0..12).prop_map(|mut messages| {
        messages.sort_by_key(AnyMessage::position);
        messages.dedup_by_key(|message| message.position());
        messages
    })
}

fn any_csat() -> impl Strategy<Value = SourceCsat> {
    (
        option::of(any::<i64>()),
        any_kind(),
        option::of(any_text()),
        option::of(any_time()),
    )
        .prop_map(|(id, rating, feedback, created_at)| SourceCsat {
            id,
            rating,
            feedback,
            created_at,
            assigned_agent_id: None,
            assigned_agent_name: None,
        })
}

fn any_details() -> impl Strategy<Value = SourceDetails> {
    (
        vec(option::of(any_text()), 6),
        vec(option::of(any_json()), 3),
        vec(option::of(any::<i64>()), 2),
        option::of(any_time()),
        vec(any::<i32>(), 0..4),
        vec(option::of(-10..1500_i32), 14),
        option::of(any_events()),
    )
        .prop_map(
            |(mut texts, mut jsons, ids, contact_created_at, participants, minutes, events)| {
                let mut text = || texts.pop().unwrap();
                let mut json = || jsons.pop().unwrap();
                SourceDetails {
                    identifier: text(),
                    additional_attributes: json(),
                    sla_policy_id: ids[0],
                    sla_policy_name: text(),
                    sla_status: minutes[0],
                    campaign_title: text(),
                    assignee_display_name: text(),
                    contact_custom_attributes: json(),
                    contact_additional_attributes: json(),
                    contact_country_code: text(),
                    contact_blocked: minutes[1].map(|number| number > 700),
                    contact_created_at,
                    assignee_agent_bot_id: ids[1],
                    assignee_agent_bot_name: text(),
                    attachments_count: i32::try_from(participants.len()).unwrap(),
                    participants,
                    working_hours: minutes[2].map(|_| WorkingHours::from_minutes(&minutes)),
                    events,
                }
            },
        )
}

const EVENT_NAMES: [&str; 6] = [
    "first_response",
    "reply_time",
    "conversation_resolved",
    "conversation_bot_resolved",
    "conversation_bot_handoff",
    "conversation_opened",
];

/// Reporting events as JSON, with any order, times and numbers.
fn any_events() -> impl Strategy<Value = String> {
    let event = (
        0..20_i64,
        prop::sample::select(&EVENT_NAMES[..]),
        // what both ends read and print alike: eighths of 50 bits
        -(1_i64 << 50)..1 << 50,
        option::of(any_time()),
        any_time(),
    )
        .prop_map(|(id, name, eighths, ended_at, created_at)| {
            #[expect(clippy::cast_precision_loss, reason = "50 bits fit")]
            let value = eighths as f64 / 8.0;
            serde_json::json!({
                "event_id": id, "name": name, "value": value, "value_in_business_hours": value / 2.0, "user_id": id,
                "inbox_id": 1, "started_at": null, "ended_at": ended_at.map(|at| at.to_string()),
                "created_at": created_at.to_string(),
            })
        });
    vec(event, 0..6).prop_map(|events| serde_json::Value::from(events).to_string())
}

fn any_conversation() -> impl Strategy<Value = SourceConversation> {
    let ids = (
        any::<i64>(),
        any::<i32>(),
        any::<u128>(),
        vec(any_kind(), 5),
        vec(option::of(any::<i64>()), 3),
    );
    let times = (any_time(), any_time(), vec(option::of(any_time()), 6));
    let texts = vec(option::of(any_text()), 12);
    let rest = (option::of(any_json()), option::of(any_csat()), any_details());
    (ids, times, texts, rest).prop_map(|(ids, times, mut texts, (custom_attributes, csat, details))| {
        let (id, inbox_id, uuid, small, large) = ids;
        let (created_at, updated_at, times) = times;
        let mut text = || texts.pop().unwrap();
        SourceConversation {
            id,
            display_id: small[0],
            uuid: Some(Uuid::from_u128(uuid)),
            account_id: small[1],
            account_name: text(),
            inbox_id,
            inbox_name: text(),
            inbox_channel_type: text(),
            inbox_timezone: text(),
            campaign_id: large[0],
            cached_label_list: text(),
            custom_attributes,
            status: small[2],
            priority: small[3],
            snoozed_until: times[0],
            assignee_id: small[4],
            assignee_name: text(),
            assignee_email: text(),
            team_id: large[1],
            team_name: text(),
            contact_id: large[2],
            contact_name: text(),
            contact_email: text(),
            contact_phone: text(),
            contact_identifier: text(),
            created_at,
            updated_at,
            last_activity_at: times[1],
            first_reply_created_at: times[2],
            waiting_since: times[3],
            contact_last_seen_at: times[4],
            agent_last_seen_at: times[5],
            csat_responses_count: i32::from(csat.is_some()),
            csat,
            details,
        }
    })
}

pub(crate) fn any_source() -> impl Strategy<Value = AnySource> {
    let timezone = prop::sample::select(&chrono_tz::TZ_VARIANTS[..]);
    (
        any::<i32>(),
        timezone,
        any_conversation(),
        any_messages(),
        option::of(any_text()),
    )
        .prop_map(
            |(tenant_id, timezone, conversation, messages, client_phone)| AnySource {
                tenant: TenantContext {
                    tenant_id,
                    timezone,
                    privacy: Arc::default(),
                },
                conversation,
                messages,
                client_phone,
            },
        )
}
