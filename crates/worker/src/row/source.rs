//! A conversation as the source has it, from Chatwoot's tables or from a view.

use serde::Deserialize;
use serde_json::Value;
use tidemark_postgres::source_time::SourceTime;
use uuid::Uuid;

/// A conversation with the rows that it refers to. Texts are as in the source, neither cut nor trimmed.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConversation {
    pub id: i64,
    pub display_id: Option<i32>,
    pub uuid: Option<Uuid>,
    pub account_id: Option<i32>,
    pub account_name: Option<String>,
    pub inbox_id: i32,
    pub inbox_name: Option<String>,
    pub inbox_channel_type: Option<String>,
    pub inbox_timezone: Option<String>,
    pub campaign_id: Option<i64>,
    pub cached_label_list: Option<String>,
    /// JSON as PostgreSQL prints a `jsonb`: another spelling of the same value would change the content hash.
    pub custom_attributes: Option<String>,
    pub status: Option<i32>,
    pub priority: Option<i32>,
    pub snoozed_until: Option<SourceTime>,
    pub assignee_id: Option<i32>,
    pub assignee_name: Option<String>,
    pub assignee_email: Option<String>,
    pub team_id: Option<i64>,
    pub team_name: Option<String>,
    pub contact_id: Option<i64>,
    pub contact_name: Option<String>,
    pub contact_email: Option<String>,
    pub contact_phone: Option<String>,
    pub contact_identifier: Option<String>,
    pub created_at: SourceTime,
    pub updated_at: SourceTime,
    pub last_activity_at: Option<SourceTime>,
    pub first_reply_created_at: Option<SourceTime>,
    pub waiting_since: Option<SourceTime>,
    pub contact_last_seen_at: Option<SourceTime>,
    pub agent_last_seen_at: Option<SourceTime>,
    /// The newest response by `(created_at, id)`.
    pub csat: Option<SourceCsat>,
    pub csat_responses_count: i32,
    /// What reporting and further columns are made of.
    pub details: SourceDetails,
}

/// Columns that not every Chatwoot has. A missing one is `None`, 0 or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceDetails {
    pub identifier: Option<String>,
    /// JSON as PostgreSQL prints a `jsonb`, as the contact's attributes.
    pub additional_attributes: Option<String>,
    pub sla_policy_id: Option<i64>,
    pub sla_policy_name: Option<String>,
    pub sla_status: Option<i32>,
    pub campaign_title: Option<String>,
    pub assignee_display_name: Option<String>,
    pub contact_custom_attributes: Option<String>,
    pub contact_additional_attributes: Option<String>,
    pub contact_country_code: Option<String>,
    pub contact_blocked: Option<bool>,
    pub contact_created_at: Option<SourceTime>,
    pub assignee_agent_bot_id: Option<i64>,
    pub assignee_agent_bot_name: Option<String>,
    pub attachments_count: i32,
    /// Users, ascending.
    pub participants: Vec<i32>,
    pub working_hours: Option<WorkingHours>,
    /// The reporting events as a JSON array, in the form of the column `events_compiled`.
    pub events: Option<String>,
}

/// The hours of an inbox in its own time zone; for each day from Sunday on the first and the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkingHours([Option<(i16, i16)>; 7]);

impl WorkingHours {
    /// From 14 numbers, two for each day. A day is closed when its numbers are missing or the first is after the last.
    #[must_use]
    pub fn from_minutes(minutes: &[Option<i32>]) -> Self {
        let mut days = [None; 7];
        for (day, bounds) in days.iter_mut().zip(minutes.chunks_exact(2)) {
            if let [Some(first), Some(last)] = bounds
                && let (Ok(first), Ok(last)) = (i16::try_from(*first), i16::try_from(*last))
            {
                *day = (first <= last).then_some((first, last));
            }
        }
        Self(days)
    }

    /// The hours of a weekday, where 0 is Sunday.
    #[must_use]
    pub fn of_day(&self, weekday: usize) -> Option<(i16, i16)> {
        self.0.get(weekday).copied().flatten()
    }
}

/// An answer to a satisfaction survey.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceCsat {
    /// `None` when a view does not have it.
    pub id: Option<i64>,
    pub rating: Option<i32>,
    pub feedback: Option<String>,
    pub created_at: Option<SourceTime>,
    pub assigned_agent_id: Option<i64>,
    pub assigned_agent_name: Option<String>,
}

/// One message, borrowed from the buffer that it was read into.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceMessage<'a> {
    pub id: i64,
    pub content: Option<&'a str>,
    pub sender_type: Option<&'a str>,
    pub sender_id: Option<i64>,
    pub created_at: SourceTime,
    pub message_type: Option<i32>,
    pub content_type: Option<i32>,
    pub status: Option<i32>,
    pub private: bool,
    /// JSON as PostgreSQL prints a `jsonb`.
    pub sentiment: Option<&'a str>,
    pub source_id: Option<&'a str>,
    pub marks: MessageMarks,
}

/// What `content_attributes` says of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageMarks {
    /// It was deleted in Chatwoot, which keeps the message.
    pub is_deleted: bool,
    /// An agent wrote it in the channel's own app.
    pub is_external_echo: bool,
    /// An automation rule sent it.
    pub is_automation: bool,
}

impl MessageMarks {
    /// From the text of `content_attributes`. Most Chatwoot versions store a JSON string that contains the object.
    #[must_use]
    pub fn parse(content_attributes: Option<&str>) -> Self {
        let Some(text) = content_attributes else {
            return Self::default();
        };
        match serde_json::from_str::<String>(text) {
            Ok(inner) => Self::of_object(&inner),
            Err(_) => Self::of_object(text),
        }
    }

    fn of_object(json: &str) -> Self {
        let Ok(object) = serde_json::from_str::<ContentAttributes>(json) else {
            return Self::default();
        };
        Self {
            is_deleted: is_truthy(object.deleted.as_ref()),
            is_external_echo: is_truthy(object.external_echo.as_ref()),
            is_automation: is_truthy(object.automation_rule_id.as_ref()),
        }
    }
}

#[derive(Deserialize)]
struct ContentAttributes {
    deleted: Option<Value>,
    external_echo: Option<Value>,
    automation_rule_id: Option<Value>,
}

fn is_truthy(value: Option<&Value>) -> bool {
    !matches!(value, None | Some(Value::Null | Value::Bool(false)))
}
