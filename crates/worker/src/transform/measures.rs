//! Chatwoot's own measures: the columns made from its reporting events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemark_postgres::source_time::SourceTime;

use super::error::TransformError;
use super::json::{self, WriteJson};
use super::round::divide;
use super::text;
use crate::row::columns::Measures;
use crate::row::value::{Json, Numeric};

const COLUMN: &str = "events_compiled";
const FIRST_RESPONSE: &str = "first_response";
const REPLY: &str = "reply_time";
const RESOLVED: &str = "conversation_resolved";
const BOT_RESOLVED: &str = "conversation_bot_resolved";
const BOT_HANDOFF: &str = "conversation_bot_handoff";

/// An event as the source has it.
#[derive(Deserialize)]
struct Event<'a> {
    event_id: i64,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    value_in_business_hours: Option<&'a RawValue>,
    user_id: Option<i64>,
    inbox_id: Option<i64>,
    #[serde(borrow)]
    started_at: Option<Text<'a>>,
    #[serde(borrow)]
    ended_at: Option<Text<'a>>,
    #[serde(borrow)]
    created_at: Text<'a>,
}

/// A text that is borrowed where it has no escapes, within an `Option` too.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl WriteJson for Text<'_> {
    fn write_json(&self, out: &mut String) {
        self.0.as_ref().write_json(out);
    }
}

impl Event<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.as_ref().is_some_and(|own| own.0 == name)
    }

    /// When it happened.
    fn happened_at(&self) -> Option<SourceTime> {
        self.ended_at.as_ref().unwrap_or(&self.created_at).0.parse().ok()
    }
}

impl WriteJson for Event<'_> {
    fn write_json(&self, out: &mut String) {
        // the keys are in the order of jsonb, by length and then by bytes
        json::field(out, "{\"name\":", &self.name);
        json::field(out, ",\"value\":", &self.value);
        json::field(out, ",\"user_id\":", &self.user_id);
        json::field(out, ",\"ended_at\":", &self.ended_at);
        json::field(out, ",\"event_id\":", &self.event_id);
        json::field(out, ",\"inbox_id\":", &self.inbox_id);
        json::field(out, ",\"created_at\":", &self.created_at);
        json::field(out, ",\"started_at\":", &self.started_at);
        json::field(
            out,
            ",\"value_in_business_hours\":",
            &self.value_in_business_hours,
        );
        out.push('}');
    }
}

pub(super) fn measures(events: Option<&str>, is_resolved: bool) -> Result<Measures, TransformError> {
    let unreadable = || TransformError::InvalidJson { column: COLUMN };
    let events: Option<Vec<Event<'_>>> = match text::whole(COLUMN, events)? {
        Some(json) => serde_json::from_str(json).map_err(|_| unreadable())?,
        None => None,
    };
    let mut ordered = events
        .unwrap_or_default()
        .into_iter()
        .map(|event| {
            let created_at = event.created_at.0.parse().map_err(|_| unreadable())?;
            Ok(((created_at, event.event_id), event))
        })
        .collect::<Result<Vec<((SourceTime, i64), Event<'_>)>, TransformError>>()?;
    ordered.sort_by_key(|(order, _)| *order);
    // joins of a view repeat events
    ordered.dedup_by_key(|(order, _)| *order);
    let events: Vec<Event<'_>> = ordered.into_iter().map(|(_, event)| event).collect();

    let named = |name: &'static str| events.iter().filter(move |event| event.is(name));
    let first_response = named(FIRST_RESPONSE).next();
    let (first_resolution, last_resolution) = (named(RESOLVED).next(), named(RESOLVED).next_back());
    let last_resolved_at = last_resolution.and_then(Event::happened_at);
    let reply_count = count(named(REPLY).count());
    let resolution_count = count(named(RESOLVED).count());
    let is_reopened = resolution_count > 0 && !is_resolved;

    Ok(Measures {
        reported_first_response_seconds: first_response.and_then(|event| seconds(event.value)),
        reported_first_response_business_seconds: first_response
            .and_then(|event| seconds(event.value_in_business_hours)),
        first_responder_id: first_response
            .and_then(|event| event.user_id)
            .and_then(|id| i32::try_from(id).ok()),
        reported_reply_seconds_avg: mean(named(REPLY).filter_map(|event| event.value)),
        reply_count,
        resolution_count,
        first_resolved_at: first_resolution.and_then(Event::happened_at),
        last_resolved_at,
        resolved_at: last_resolved_at.filter(|_| is_resolved),
        reported_resolution_seconds: last_resolution.and_then(|event| seconds(event.value)),
        reported_resolution_business_seconds: last_resolution
            .and_then(|event| seconds(event.value_in_business_hours)),
        reopened_count: (resolution_count - 1).max(0) + i32::from(is_reopened),
        bot_handoff_at: named(BOT_HANDOFF).next_back().and_then(Event::happened_at),
        // Chatwoot copies the event of the resolution, so both have the same end
        was_bot_resolved: last_resolved_at
            .is_some_and(|at| named(BOT_RESOLVED).any(|event| event.happened_at() == Some(at))),
        events_compiled: compile(&events)?,
    })
}

fn compile(events: &[Event<'_>]) -> Result<Option<Json<String>>, TransformError> {
    if events.is_empty() {
        return Ok(None);
    }
    let mut compiled = String::new();
    for event in events {
        compiled.push(if compiled.is_empty() { '[' } else { ',' });
        event.write_json(&mut compiled);
    }
    compiled.push(']');
    if compiled.len() >= text::MAX_BYTES {
        return Err(TransformError::TooLong { column: COLUMN });
    }
    Ok(Some(Json(compiled)))
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Decimal places that are computed with, more than a column shows.
const PLACES: u32 = 12;

/// A number of seconds with one decimal place; `None` for NULL, for what is no number, and for what does not fit.
fn seconds(value: Option<&RawValue>) -> Option<Numeric<12, 1>> {
    round(decimal(value?.get())?, 1)
}

fn mean<'a>(values: impl Iterator<Item = &'a RawValue>) -> Option<Numeric<12, 1>> {
    let (mut sum, mut count) = (0_i128, 0_i128);
    for value in values {
        if value.get() != "null" {
            sum = sum.checked_add(decimal(value.get())?)?;
            count += 1;
        }
    }
    (count > 0).then(|| round(sum, count)).flatten()
}

/// `units / count`, where `units` has [`PLACES`] decimal places.
fn round(units: i128, count: i128) -> Option<Numeric<12, 1>> {
    Numeric::from_scaled(divide(units, count.checked_mul(10_i128.pow(PLACES - 1))?))
}

/// A JSON number in units of the last of [`PLACES`] decimal places, further places cut off.
fn decimal(number: &str) -> Option<i128> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent
        .checked_add(PLACES.cast_signed())?
        .checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let units = match u32::try_from(shift) {
        Ok(shift) => digits.checked_mul(10_i128.checked_pow(shift)?)?,
        Err(_) => 10_i128
            .checked_pow(shift.unsigned_abs())
            .map_or(0, |divisor| digits / divisor),
    };
    Some(sign * units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: i64, name: &str, value: &str, ended_at: Option<&str>) -> String {
        let ended_at = ended_at.map_or("null".to_owned(), |time| format!("\"{time}\""));
        format!(
            r#"{{"event_id": {id}, "name": "{name}", "value": {value}, "value_in_business_hours": 1.25, "user_id": {id},
                "inbox_id": 1, "started_at": null, "ended_at": {ended_at}, "created_at": "2024-03-06T10:00:{id:02}"}}"#
        )
    }

    fn of(events: &[String], is_resolved: bool) -> Measures {
        measures(Some(&format!("[{}]", events.join(", "))), is_resolved).unwrap()
    }

    fn at(text: &str) -> Option<SourceTime> {
        Some(text.parse().unwrap())
    }

    fn tenths(scaled: i128) -> Option<Numeric<12, 1>> {
        Numeric::from_scaled(scaled)
    }

    #[test]
    fn a_conversation_without_events_has_none_of_the_measures() {
        for events in [None, Some("null"), Some("[]")] {
            let measures = measures(events, true).unwrap();
            assert_eq!(measures.events_compiled, None);
            assert_eq!(
                (
                    measures.reply_count,
                    measures.resolution_count,
                    measures.reopened_count
                ),
                (0, 0, 0)
            );
            assert!(measures.resolved_at.is_none() && !measures.was_bot_resolved);
        }
    }

    #[test]
    fn the_first_response_counts_and_the_mean_of_all_replies() {
        let measures = of(
            &[
                event(4, FIRST_RESPONSE, "99", None),
                event(2, FIRST_RESPONSE, "62.25", None),
                event(3, REPLY, "1", None),
                event(5, REPLY, "null", None),
                event(6, REPLY, "2.5", None),
            ],
            false,
        );
        assert_eq!(measures.reported_first_response_seconds, tenths(623));
        assert_eq!(measures.reported_first_response_business_seconds, tenths(13));
        assert_eq!(measures.first_responder_id, Some(2));
        assert_eq!(
            (measures.reported_reply_seconds_avg, measures.reply_count),
            (tenths(18), 3)
        );
    }

    #[test]
    fn a_resolution_has_the_time_of_its_end_and_is_over_when_reopened() {
        let events = [
            event(1, RESOLVED, "10", Some("2024-03-06T09:00:00")),
            event(2, BOT_RESOLVED, "10", Some("2024-03-06T09:00:00")),
            event(3, RESOLVED, "20", None),
        ];
        let resolved = of(&events, true);
        assert_eq!(resolved.first_resolved_at, at("2024-03-06T09:00:00"));
        assert_eq!(resolved.resolved_at, at("2024-03-06T10:00:03"));
        assert_eq!(resolved.reported_resolution_seconds, tenths(200));
        assert_eq!((resolved.resolution_count, resolved.reopened_count), (2, 1));
        assert!(!resolved.was_bot_resolved, "the bot resolved it the first time");
        let reopened = of(&events, false);
        assert_eq!((reopened.resolved_at, reopened.reopened_count), (None, 2));
        assert!(of(&events[..2], true).was_bot_resolved);
    }

    #[test]
    fn events_are_compiled_in_order_once_each_with_their_numbers_as_they_are() {
        let twice = [
            event(2, "x", "1e+20", None),
            event(1, "y", "0.10", None),
            event(2, "x", "1e+20", None),
        ];
        let Some(Json(compiled)) = of(&twice, false).events_compiled else {
            panic!("there are events")
        };
        let first = compiled
            .find("\"value\":0.10,")
            .expect("the number keeps its spelling");
        let second = compiled
            .find("\"value\":1e+20,")
            .expect("the number keeps its spelling");
        assert!(
            first < second && compiled.matches("event_id").count() == 2,
            "{compiled}"
        );
    }

    #[test]
    fn numbers_are_rounded_half_away_from_zero_and_too_large_ones_are_null() {
        for (number, expected) in [
            ("0", tenths(0)),
            ("0.05", tenths(1)),
            ("-0.05", tenths(-1)),
            ("0.049999999999999996", tenths(0)),
            ("1234.449", tenths(12_344)),
            ("1.5e3", tenths(15_000)),
            ("15e-1", tenths(15)),
            ("1e-40", tenths(0)),
            ("99999999999.94", tenths(999_999_999_999)),
            ("99999999999.95", None),
            ("1e40", None),
            ("\"NaN\"", None),
            ("true", None),
        ] {
            assert_eq!(
                seconds(Some(&RawValue::from_string(number.to_owned()).unwrap())),
                expected,
                "{number}"
            );
        }
    }

    #[test]
    fn what_is_no_array_of_events_refuses_the_conversation() {
        for events in [
            "{}",
            "[1]",
            r#"[{"event_id": 1}]"#,
            r#"[{"event_id": 1, "created_at": "yesterday"}]"#,
        ] {
            assert_eq!(
                measures(Some(events), false).unwrap_err(),
                TransformError::InvalidJson { column: COLUMN }
            );
        }
    }
}
