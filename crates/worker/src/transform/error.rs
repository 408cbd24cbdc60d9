//! Why a conversation cannot become a row.

/// Why a conversation cannot become a row. Has no content of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// PostgreSQL's texts cannot have a NUL character, so a PostgreSQL source never has one.
    #[error("column {column} holds a NUL character")]
    NulCharacter { column: &'static str },
    /// The text of a JSON value does not parse. The target may still refuse a text that parses.
    #[error("column {column} holds invalid JSON")]
    InvalidJson { column: &'static str },
    /// A view has NULL in a column that always has a value in Chatwoot.
    #[error("column {column} is NULL")]
    Null { column: &'static str },
    /// A view's column of messages is no array, or an element lacks its id, its time or its private flag, or has a
    /// value of the wrong type.
    #[error("column message_compiled holds an element that is not a message")]
    UnreadableMessage,
    /// A bug of the reader: the computed columns would be wrong.
    #[error("messages are not in ascending order of (created_at, id)")]
    MessageOrder,
    /// Longer than the 256 MB of a `jsonb`. Refused early, to save the worker's memory.
    #[error("column {column} is longer than 256 MB")]
    TooLong { column: &'static str },
}

impl TransformError {
    /// The name in the ledger. It never changes.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NulCharacter { .. } => "nul_character",
            Self::InvalidJson { .. } => "invalid_json",
            Self::Null { .. } => "null",
            Self::UnreadableMessage => "unreadable_message",
            Self::MessageOrder => "message_order",
            Self::TooLong { .. } => "too_long",
        }
    }
}
