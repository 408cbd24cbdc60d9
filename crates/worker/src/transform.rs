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
mod error;
pub mod fold;
mod identity;
pub mod privacy;
mod round;
mod satisfaction;
mod status;
mod text;
mod times;

#[cfg(test)]
pub(crate) mod tests;

pub use error::TransformError;
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
    pub fn digest_seed(&self) -> String {
        match self.privacy.fingerprint() {
            Some(fingerprint) => format!("{} {fingerprint}", self.timezone.name()),
            None => self.timezone.name().to_owned(),
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
        identity: identity::identity(tenant.tenant_id, conversation)?,
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
