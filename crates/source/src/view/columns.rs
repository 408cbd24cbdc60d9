//! The columns of the view that are read.

use tidemark_shared::selection::NameOf;

use crate::digest::{Hashed, HashedColumn};

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    BigInt,
    Text,
    Uuid,
    Time,
    Json,
    Messages,
}

/// What a column is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The conversation, its contact, its satisfaction answer.
    Conversation,
    /// What many conversations share. Left out of the digest: renaming an inbox must not call for all of its
    /// conversations in the next run. Full runs and verification find it.
    Place,
    /// What the view aggregates from messages: read by key only.
    Messages,
}

pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub part: Part,
}

macro_rules! columns {
    ($($name:ident: $kind:ident $part:ident),* $(,)?) => {
        [$(Column { name: stringify!($name), kind: Kind::$kind, part: Part::$part }),*]
    };
}

/// Every column that is read.
pub(super) static COLUMNS: [Column; 39] = columns! {
    conversation_id: BigInt Conversation,
    display_id: Integer Conversation,
    conversation_uuid: Uuid Conversation,
    account_id: Integer Conversation,
    account_name: Text Place,
    inbox_id: Integer Conversation,
    inbox_name: Text Place,
    inbox_channel_type: Text Place,
    inbox_timezone: Text Place,
    status: Integer Conversation,
    priority: Integer Conversation,
    snoozed_until: Time Conversation,
    assignee_id: Integer Conversation,
    assignee_name: Text Place,
    assignee_email: Text Place,
    team_id: BigInt Conversation,
    team_name: Text Place,
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
};

pub(super) const REQUIRED: [&str; 5] = [
    "conversation_id",
    "inbox_id",
    "conversation_created_at",
    "conversation_updated_at",
    "message_compiled",
];

/// Times that tell of a change. An edit of a message that moves none of them is found by full runs and verification
/// only: the view shows it nowhere but in `message_compiled`, which is too dear to read for every conversation.
pub(super) const CHANGE_TIMES: [&str; 7] = [
    "conversation_updated_at",
    "last_activity_at",
    "waiting_since",
    "first_reply_created_at",
    "contact_last_seen_at",
    "agent_last_seen_at",
    "csat_created_at",
];

/// Whose names are shown, the column of its id, and those of its texts in the order of the target's columns.
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

impl Kind {
    /// Whether a column of this type can be read as this kind. `category` is `pg_type.typcategory`.
    pub fn takes(self, type_name: &str, category: &str) -> bool {
        match self {
            Self::Integer | Self::BigInt => matches!(type_name, "smallint" | "integer" | "bigint"),
            // strings of any type, and enums
            Self::Text => matches!(category, "S" | "E"),
            Self::Uuid => type_name == "uuid" || category == "S",
            Self::Time => type_name.starts_with("timestamp "),
            Self::Json => matches!(type_name, "json" | "jsonb"),
            Self::Messages => matches!(type_name, "json" | "jsonb" | "json[]" | "jsonb[]"),
        }
    }

    /// The type that the column should have, for people.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Json => "jsonb",
            Self::Messages => "jsonb or jsonb[]",
            _ => self.read_type(),
        }
    }

    /// The type of [`Self::read`].
    pub const fn read_type(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Text | Self::Json | Self::Messages => "text",
            Self::Uuid => "uuid",
            Self::Time => "timestamp",
        }
    }

    /// The column as it is read. JSON comes as `jsonb` prints it, so that the same value has the same text.
    pub fn read(self, column: &str) -> String {
        match self {
            Self::Json => format!("{column}::jsonb::text"),
            Self::Messages => format!("to_jsonb({column})::text"),
            _ => format!("{column}::{}", self.read_type()),
        }
    }

    /// How the column is hashed, by functions that no value makes fail.
    pub fn hashed(self, name: &str) -> HashedColumn {
        match self {
            Self::Integer | Self::BigInt => HashedColumn::new(Hashed::Int8, format!("v.{name}::bigint")),
            Self::Time => HashedColumn::new(Hashed::Time, format!("v.{name}::timestamp")),
            // of the texts this one alone is kept when it is empty; no UUID and no JSON is an empty text
            Self::Text if name == "csat_feedback" => {
                HashedColumn::new(Hashed::Text, format!("v.{name}::text"))
            }
            Self::Text | Self::Uuid | Self::Json | Self::Messages => {
                HashedColumn::new(Hashed::Text, format!("v.{name}::text")).unambiguous()
            }
        }
    }
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

    #[test]
    fn a_type_fits_when_each_of_its_values_can_be_read() {
        for (kind, type_name, category, fits) in [
            (Kind::Integer, "bigint", "N", true),
            (Kind::BigInt, "smallint", "N", true),
            (Kind::BigInt, "numeric", "N", false),
            (Kind::Integer, "text", "S", false),
            (Kind::Text, "citext", "S", true),
            (Kind::Text, "bytea", "U", false),
            (Kind::Uuid, "character varying", "S", true),
            (Kind::Time, "timestamp with time zone", "D", true),
            (Kind::Time, "date", "D", false),
            (Kind::Json, "jsonb[]", "A", false),
            (Kind::Messages, "json[]", "A", true),
            (Kind::Messages, "text", "S", false),
        ] {
            assert_eq!(kind.takes(type_name, category), fits, "{type_name} as {kind:?}");
        }
    }
}
