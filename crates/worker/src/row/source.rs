//! A conversation as the source has it, from Chatwoot's tables or from a view.

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
}

/// An answer to a satisfaction survey.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceCsat {
    /// `None` when a view does not have it.
    pub id: Option<i64>,
    pub rating: Option<i32>,
    pub feedback: Option<String>,
    pub created_at: Option<SourceTime>,
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
}
