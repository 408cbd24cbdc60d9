//! Why a conversation cannot become a row.

/// Why a conversation cannot become a row. Carries no content of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// PostgreSQL's texts cannot hold NUL; a source that is PostgreSQL never has one.
    #[error("column {column} holds a NUL character")]
    NulCharacter { column: &'static str },
    /// The text of a JSON value does not parse. Whether `jsonb` takes what parses is left to the target.
    #[error("column {column} holds invalid JSON")]
    InvalidJson { column: &'static str },
    /// A view has it NULL where a conversation always has a value.
    #[error("column {column} is NULL")]
    Null { column: &'static str },
    /// A view's column of messages is no array, or an element of it lacks its id, its time or whether it is private, or
    /// has a value of another type.
    #[error("column message_compiled holds what is not a message")]
    UnreadableMessage,
    /// A fault of the reader: counting on would give wrong numbers.
    #[error("messages are not in ascending order of (created_at, id)")]
    MessageOrder,
    /// More than the 256 MB of a `jsonb`, refused before it costs the worker its memory.
    #[error("column {column} is longer than 256 MB")]
    TooLong { column: &'static str },
}

impl TransformError {
    /// A name for the ledger, which never changes.
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
