//! Transform: makes a target row from a conversation of the source. Pure and synchronous, and the same for tables and
//! views.
//!
//! Bad values do not cost the row: an infinite time, or a difference too large for its column, makes the computed
//! columns NULL. A row is only refused for values that PostgreSQL would refuse too, or for messages in the wrong order.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::row::columns::TargetRow;
use crate::row::source::SourceConversation;

mod calendar;
mod contact;
mod details;
mod error;
pub mod fold;
mod handling;
mod identity;
mod json;
mod measures;
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

/// The settings of a tenant that a transform needs.
#[derive(Debug, Clone)]
pub struct TenantContext {
    pub tenant_id: i32,
    /// The time zone of the calendar columns.
    pub timezone: Tz,
    /// The rules for personal data.
    pub privacy: Arc<Privacy>,
}

impl TenantContext {
    /// The settings that a row depends on beside its source, as the seed of the row's digests: so verification treats
    /// rows written under the old settings as stale.
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
/// `client_phone` is the phone number of the contact [`MessageFold::client_sender_id`]. The messages must be folded
/// with the same [`Privacy`].
pub fn transform<'a>(
    tenant: &TenantContext,
    conversation: &'a SourceConversation,
    messages: MessageFold,
    client_phone: Option<&'a str>,
) -> Result<TargetRow<'a>, TransformError> {
    let status = status::status(conversation)?;
    let client_sender_id = messages.client_sender_id();
    let (messages, handlers) = messages.finish(status.is_resolved)?;
    Ok(TargetRow {
        identity: identity::identity(tenant.tenant_id, conversation)?,
        contact: contact::contact(&tenant.privacy, conversation, client_sender_id, client_phone)?,
        times: times::times(conversation, status.is_resolved),
        messages,
        measures: measures::measures(conversation.details.events.as_deref(), status.is_resolved)?,
        handling: handling::handling(conversation, handlers, status.is_open)?,
        details: details::details(&tenant.privacy, conversation)?,
        satisfaction: satisfaction::satisfaction(&tenant.privacy, conversation.csat.as_ref())?,
        calendar: calendar::calendar(conversation.created_at, tenant.timezone),
        status,
    })
}
