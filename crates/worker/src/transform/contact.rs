//! The customer.

use super::{TransformError, text};
use crate::extract::record::SourceConversation;
use crate::load::columns::Contact;

pub(super) fn contact<'a>(
    source: &'a SourceConversation,
    client_sender_id: Option<i64>,
    client_phone: Option<&'a str>,
) -> Result<Contact<'a>, TransformError> {
    let contact_phone = source.contact_phone.as_deref().or(client_phone);
    Ok(Contact {
        contact_id: source.contact_id,
        contact_name: text::name("contact_name", source.contact_name.as_deref(), 255)?,
        contact_email: text::name("contact_email", source.contact_email.as_deref(), 255)?,
        contact_identifier: text::name("contact_identifier", source.contact_identifier.as_deref(), 255)?,
        client_sender_id,
        client_phone: text::limited("client_phone", client_phone, 50)?,
        contact_phone: text::name("contact_phone", contact_phone, 50)?,
    })
}
