//! From what the source holds to what the target holds: pure, synchronous, and the same for both ways to read.
//!
//! What a bad import leaves behind must not cost the row: an infinite time, or a difference that its column
//! cannot hold, makes the columns that follow from it NULL. A row is refused, and then alone, for what
//! PostgreSQL would refuse too, or for messages that its reader gave in the wrong order.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::row::columns::TargetRow;
use crate::row::source::SourceConversation;

mod calendar;
mod contact;
pub mod fold;
mod place;
pub mod privacy;
mod round;
mod satisfaction;
mod status;
mod text;
mod times;

#[cfg(test)]
pub(crate) mod tests;

use fold::MessageFold;
use privacy::Privacy;

/// What a transform needs to know of the tenant.
#[derive(Debug, Clone)]
pub struct TenantContext {
    pub tenant_id: i32,
    /// Decides the calendar columns.
    pub timezone: Tz,
    /// Decides what of a person is stored.
    pub privacy: Arc<Privacy>,
}

impl TenantContext {
    /// What a row is made by beside its source. It seeds the row's digests, so that verification knows rows of before a
    /// change for stale.
    #[must_use]
    pub fn rules(&self) -> String {
        match self.privacy.fingerprint() {
            Some(fingerprint) => format!("{} {fingerprint}", self.timezone.name()),
            None => self.timezone.name().to_owned(),
        }
    }
}

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

/// Makes the row of a conversation from its record and its messages.
///
/// `client_phone` is the phone number of the contact with the id [`MessageFold::client_sender_id`]. The messages are folded
/// under the same [`Privacy`].
///
/// # Errors
/// When the record or a message holds what no target row can: see [`TransformError`].
pub fn transform<'a>(
    tenant: &TenantContext,
    conversation: &'a SourceConversation,
    messages: MessageFold,
    client_phone: Option<&'a str>,
) -> Result<TargetRow<'a>, TransformError> {
    let status = status::status(conversation)?;
    Ok(TargetRow {
        place: place::place(tenant.tenant_id, conversation)?,
        contact: contact::contact(
            &tenant.privacy,
            conversation,
            messages.client_sender_id(),
            client_phone,
        )?,
        times: times::times(conversation, status.is_resolved),
        messages: messages.finish(status.is_resolved)?,
        satisfaction: satisfaction::satisfaction(&tenant.privacy, conversation.csat.as_ref())?,
        calendar: calendar::calendar(conversation.created_at, tenant.timezone),
        status,
    })
}
