//! The columns that are read from the view.

use tidemark_shared::chatwoot::{Version, first_with};
use tidemark_shared::selection::NameOf;

use crate::digest::{HashKind, HashedColumn};
use crate::kind::Kind;

/// The part of a target row that a column belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The conversation, its contact or its satisfaction answer.
    Conversation,
    /// Names that many conversations share. Not part of the digest: renaming an inbox must not make the next run read all
    /// of its conversations. Full runs and verification find such changes.
    SharedName,
    /// Further columns of the conversation and of rows that it refers to. Not part of the digest, so that an upgrade of
    /// Tidemark that reads more of a view is no change of every row.
    Further,
    /// Aggregated from messages by the view: read by key only.
    Messages,
    /// As [`Self::Further`], and aggregated from other rows by the view: read by key only.
    FurtherRows,
}

pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub part: Part,
}

impl Column {
    /// Whether views for earlier releases did not need to show it.
    pub fn is_further(&self) -> bool {
        matches!(self.part, Part::Further | Part::FurtherRows)
    }
}

macro_rules! columns {
    ($($name:ident: $kind:ident $part:ident),* $(,)?) => {
        [$(Column { name: stringify!($name), kind: Kind::$kind, part: Part::$part }),*]
    };
}

/// Every column that is read.
pub(super) static COLUMNS: [Column; 60] = columns! {
    conversation_id: BigInt Conversation,
    display_id: Integer Conversation,
    conversation_uuid: Uuid Conversation,
    account_id: Integer Conversation,
    account_name: Text SharedName,
    inbox_id: Integer Conversation,
    inbox_name: Text SharedName,
    inbox_channel_type: Text SharedName,
    inbox_timezone: Text SharedName,
    status: Integer Conversation,
    priority: Integer Conversation,
    snoozed_until: Time Conversation,
    assignee_id: Integer Conversation,
    assignee_name: Text SharedName,
    assignee_email: Text SharedName,
    team_id: BigInt Conversation,
    team_name: Text SharedName,
    campaign_id: BigInt Conversation,
    contact_id: BigInt Conversation,
    contact_name: Text Conversation,
    contact_email: Text Conversation,
    contact_phone: Text Conversation,
    contact_identifier: Text Conversation,
    conversation_created_at: Time Conversation,
    conversation_updated_at: Time Conversation,
    last_activity_at: Time Conversation,
    first_reply_created_at: Time Conversation,
    waiting_since: Time Conversation,
    contact_last_seen_at: Time Conversation,
    agent_last_seen_at: Time Conversation,
    cached_label_list: Text Conversation,
    conversation_custom_attributes: Json Conversation,
    client_sender_id: BigInt Messages,
    client_phone: Text Messages,
    message_compiled: Messages Messages,
    csat_response_id: BigInt Conversation,
    csat_rating: Integer Conversation,
    csat_feedback: Text Conversation,
    csat_created_at: Time Conversation,
    csat_responses_count: Integer FurtherRows,
    csat_assigned_agent_id: BigInt Further,
    csat_assigned_agent_name: Text Further,
    conversation_identifier: Text Further,
    conversation_additional_attributes: Json Further,
    sla_policy_id: BigInt Further,
    sla_policy_name: Text Further,
    sla_status: Integer Further,
    campaign_title: Text Further,
    assignee_display_name: Text Further,
    contact_custom_attributes: Json Further,
    contact_additional_attributes: Json Further,
    contact_country_code: Text Further,
    contact_blocked: Boolean Further,
    contact_created_at: Time Further,
    assignee_agent_bot_id: BigInt Further,
    assignee_agent_bot_name: Text Further,
    attachments_count: Integer FurtherRows,
    participants: Integers FurtherRows,
    inbox_working_hours: Integers Further,
    events_compiled: Messages FurtherRows,
};

pub(super) const REQUIRED: [&str; 5] = [
    "conversation_id",
    "inbox_id",
    "conversation_created_at",
    "conversation_updated_at",
    "message_compiled",
];

/// Times that show a change. Only full runs and verification find an edited message that moves none of them: the view
/// shows the edit only in `message_compiled`, which is too expensive to read for every conversation.
pub(super) const CHANGE_TIMES: [&str; 7] = [
    "conversation_updated_at",
    "last_activity_at",
    "waiting_since",
    "first_reply_created_at",
    "contact_last_seen_at",
    "agent_last_seen_at",
    "csat_created_at",
];

/// Owners of shared names: the column of the id, and the columns of the texts in the order of the target's columns.
pub(super) const NAMES: [(NameOf, &str, &[&str]); 4] = [
    (
        NameOf::Inbox,
        "inbox_id",
        &["inbox_name", "inbox_channel_type", "inbox_timezone"],
    ),
    (NameOf::Account, "account_id", &["account_name"]),
    (NameOf::User, "assignee_id", &["assignee_name", "assignee_email"]),
    (NameOf::Team, "team_id", &["team_name"]),
];

/// How a column is hashed. No value makes these functions fail.
pub(super) fn hashed(column: &Column) -> HashedColumn {
    let name = column.name;
    match column.kind {
        Kind::Integer | Kind::BigInt => HashedColumn::new(HashKind::Int8, format!("v.{name}::bigint")),
        Kind::Time => HashedColumn::new(HashKind::Time, format!("v.{name}::timestamp")),
        // the only text that the target keeps when it is empty; a UUID or JSON is never an empty text
        Kind::Text if name == "csat_feedback" => HashedColumn::new(HashKind::Text, format!("v.{name}::text")),
        Kind::Text
        | Kind::Uuid
        | Kind::Boolean
        | Kind::Float
        | Kind::Integers
        | Kind::Json
        | Kind::Messages => HashedColumn::new(HashKind::Text, format!("v.{name}::text")).unambiguous(),
    }
}

/// The first version of Chatwoot whose tables have what the column shows; `None` for what a view computes.
pub(super) fn first_version(name: &str) -> Option<Version> {
    let (table, column) = match name {
        "conversation_custom_attributes" => ("conversations", "custom_attributes"),
        "inbox_timezone" => ("inboxes", "timezone"),
        "team_name" => ("teams", "name"),
        "csat_response_id" => ("csat_survey_responses", "id"),
        "csat_rating" => ("csat_survey_responses", "rating"),
        "csat_feedback" => ("csat_survey_responses", "feedback_message"),
        "csat_created_at" => ("csat_survey_responses", "created_at"),
        name => ("conversations", name),
    };
    first_with(table, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_columns_exist() {
        let names = NAMES.iter().flat_map(|(_, id, texts)| texts.iter().chain([id]));
        for name in REQUIRED.iter().chain(&CHANGE_TIMES).chain(names) {
            assert!(COLUMNS.iter().any(|column| column.name == *name), "{name}");
        }
    }
}
