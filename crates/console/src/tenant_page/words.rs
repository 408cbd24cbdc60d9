//! How a tenant's page writes dates, shares and states, on the screen as in CSV files.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tidemark_ledger::tenant_page::rows::{Counted, Row};

use crate::context::Cx;
use crate::i18n::Language;

/// What stands in the place of a value that is not shown.
const MASK: &str = "••••••";

pub fn date(cx: &Cx, day: NaiveDate) -> String {
    let format = match cx.preferences.language {
        Language::English => "%Y-%m-%d",
        Language::Portuguese => "%d/%m/%Y",
    };
    day.format(format).to_string()
}

/// Without the year, for axes.
pub fn short_date(cx: &Cx, day: NaiveDate) -> String {
    let format = match cx.preferences.language {
        Language::English => "%b %-d",
        Language::Portuguese => "%d/%m",
    };
    day.format(format).to_string()
}

/// A time of the tenant, to the minute.
pub fn minute(cx: &Cx, at: DateTime<Utc>) -> String {
    let format = match cx.preferences.language {
        Language::English => "%Y-%m-%d %H:%M",
        Language::Portuguese => "%d/%m/%Y %H:%M",
    };
    at.with_timezone(&cx.zone()).format(format).to_string()
}

/// A share as a percentage with one decimal; `None` of nothing.
pub fn percent(cx: &Cx, part: i64, all: i64) -> Option<String> {
    share(part, all).map(|share| format!("{} %", cx.t.decimal(share)))
}

/// A share in percent.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of conversations for a percentage"
)]
pub fn share(part: i64, all: i64) -> Option<f64> {
    (all > 0).then(|| part as f64 * 100.0 / all as f64)
}

/// The mean of ratings.
#[expect(clippy::cast_precision_loss, reason = "counts of conversations for a mean")]
pub fn mean(sum: i64, count: i64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}

pub fn seconds(cx: &Cx, seconds: f64) -> String {
    cx.t.span(span(seconds))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "seconds of a conversation, rounded"
)]
pub fn span(seconds: f64) -> TimeDelta {
    TimeDelta::try_seconds(seconds.round() as i64).unwrap_or_default()
}

/// A channel without Chatwoot's prefix, as people call it.
pub fn channel(cx: &Cx, kind: &str) -> String {
    match kind.strip_prefix("Channel::").unwrap_or(kind) {
        "WebWidget" => cx.t.visit.website.to_owned(),
        "Whatsapp" => "WhatsApp".to_owned(),
        "Email" => cx.t.visit.email.to_owned(),
        "Api" => "API".to_owned(),
        "FacebookPage" => "Facebook".to_owned(),
        "TwilioSms" => "Twilio".to_owned(),
        "Sms" => "SMS".to_owned(),
        other => other.to_owned(),
    }
}

pub const fn status(cx: &Cx, status: Option<i32>) -> &'static str {
    let visit = &cx.t.visit;
    match status {
        Some(0) => visit.open,
        Some(1) => visit.resolved,
        Some(2) => visit.pending,
        Some(3) => visit.snoozed,
        _ => visit.unknown_status,
    }
}

pub fn handler<'a>(cx: &Cx, handled_by: &'a str) -> &'a str {
    let visit = &cx.t.visit;
    match handled_by {
        "human" => visit.human,
        "mixed" => visit.mixed,
        "bot" => visit.bot,
        "nobody" => visit.nobody,
        other => other,
    }
}

/// The days of a week, Sunday first.
pub fn weekdays(cx: &Cx) -> Vec<&'static str> {
    cx.t.visit.weekdays.split(',').collect()
}

/// The title of the list behind a number.
pub const fn counted(cx: &Cx, counted: Counted) -> &'static str {
    let visit = &cx.t.visit;
    match counted {
        Counted::All | Counted::Contacts => visit.conversations,
        Counted::Resolved => visit.resolved_rows,
        Counted::Unresolved => visit.unresolved_rows,
        Counted::Unanswered => visit.unanswered_rows,
        Counted::Responded => visit.responded_rows,
        Counted::Rated => visit.rated,
        Counted::Satisfied => visit.satisfied_rows,
        Counted::Waiting => visit.waiting_rows,
    }
}

/// A value of a person, or its place.
pub fn personal(value: Option<&str>, shows: bool) -> Option<String> {
    value.map(|value| if shows { value.to_owned() } else { MASK.to_owned() })
}

/// The columns of a list: on the screen and in the file.
pub const fn columns(cx: &Cx) -> [&'static str; 14] {
    let visit = &cx.t.visit;
    [
        visit.conversation,
        visit.begun,
        visit.contact,
        visit.phone,
        visit.inbox,
        visit.channel,
        visit.team,
        visit.agent,
        visit.status,
        visit.handled,
        visit.first_response,
        visit.resolution,
        visit.rating,
        visit.since,
    ]
}

/// The cells of a conversation, in the order of [`columns`]; an empty one has no value.
pub fn cells(cx: &Cx, row: &Row, shows: bool) -> [Option<String>; 14] {
    let number = row.display_id.map_or(row.conversation_id, i64::from);
    [
        Some(number.to_string()),
        row.conversation_created_at.map(|at| minute(cx, at)),
        personal(row.contact_name.as_deref(), shows),
        personal(row.contact_phone.as_deref(), shows),
        row.inbox_name.clone(),
        row.inbox_channel_type.as_deref().map(|kind| channel(cx, kind)),
        row.team_name.clone(),
        row.assignee_name.clone(),
        Some(status(cx, row.status).to_owned()),
        row.handled_by.as_deref().map(|by| handler(cx, by).to_owned()),
        row.response_seconds.map(|one| seconds(cx, one)),
        row.resolution_seconds.map(|one| seconds(cx, one)),
        row.csat_rating.map(|rating| rating.to_string()),
        row.waiting_since.map(|at| minute(cx, at)),
    ]
}

pub fn heat_cell(cx: &Cx, weekday: usize, hour: usize, count: i64) -> String {
    let day = weekdays(cx).get(weekday).copied().unwrap_or_default();
    let text = cx.t.visit.heat_cell.replace("{day}", day);
    text.replace("{hour}", &format!("{hour} h"))
        .replace("{count}", &cx.count(count))
}
