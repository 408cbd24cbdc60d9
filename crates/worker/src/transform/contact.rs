//! The customer.

use tidemark_shared::privacy::PersonalColumn;

use super::error::TransformError;
use super::privacy::Privacy;
use super::text;
use crate::row::columns::Contact;
use crate::row::source::SourceConversation;

pub(super) fn contact<'a>(
    privacy: &Privacy,
    source: &'a SourceConversation,
    client_sender_id: Option<i64>,
    client_phone: Option<&'a str>,
) -> Result<Contact<'a>, TransformError> {
    let client_phone = client_phone.filter(|_| privacy.forgotten(client_sender_id).is_none());
    let named = |personal: PersonalColumn, text: Option<&'a str>| {
        privacy.text(personal, text, |text| text::name(personal.as_str(), text, 255))
    };
    Ok(Contact {
        contact_id: source.contact_id,
        contact_name: named(PersonalColumn::ContactName, source.contact_name.as_deref())?,
        contact_email: named(PersonalColumn::ContactEmail, source.contact_email.as_deref())?,
        contact_identifier: named(
            PersonalColumn::ContactIdentifier,
            source.contact_identifier.as_deref(),
        )?,
        client_sender_id,
        client_phone: privacy.text(PersonalColumn::ClientPhone, client_phone, |text| {
            text::limited("client_phone", text, 50)
        })?,
        contact_phone: privacy.contact_phone(source.contact_phone.as_deref(), client_phone, |text| {
            text::name("contact_phone", text, 50)
        })?,
    })
}
