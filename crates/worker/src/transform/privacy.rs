//! Applies the rules for personal data: the tenant's policy, and forgotten contacts.
//!
//! Ids are always stored. Counts and lengths are computed from the source's texts, so that reports do not change.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tidemark_shared::privacy::{PersonalColumn, PrivacyPolicy, Treatment};

use super::error::TransformError;
use crate::row::source::SourceMessage;

/// Characters of a hash: 128 bits in hexadecimal digits, which fit in every column.
pub const HASH_LENGTH: usize = 32;

/// The policy hashes a column, and there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingKey;

/// A tenant's rules for personal data.
#[derive(Default)]
pub struct Privacy {
    policy: PrivacyPolicy,
    /// Set when the policy hashes a column.
    key: Option<Hmac<Sha256>>,
    forgotten: HashSet<i64>,
}

impl fmt::Debug for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Privacy")
            .field("policy", &self.policy)
            .field("forgotten", &self.forgotten)
            .finish_non_exhaustive()
    }
}

impl Privacy {
    /// `secret` belongs to the installation; each tenant's key is derived from it.
    ///
    /// # Errors
    /// When the policy hashes a column and there is no secret.
    pub fn new(
        tenant_id: i32,
        policy: PrivacyPolicy,
        forgotten: impl IntoIterator<Item = i64>,
        secret: Option<&SecretString>,
    ) -> Result<Self, MissingKey> {
        let key = match (policy.needs_key(), secret) {
            (false, _) => None,
            (true, None) => return Err(MissingKey),
            (true, Some(secret)) => Some(tenant_key(tenant_id, secret)),
        };
        Ok(Self {
            policy,
            key,
            forgotten: forgotten.into_iter().collect(),
        })
    }

    #[must_use]
    pub const fn policy(&self) -> &PrivacyPolicy {
        &self.policy
    }

    /// Identifies the policy and its key; `None` when everything is kept.
    pub(super) fn fingerprint(&self) -> Option<String> {
        if self.policy.keeps_all() {
            return None;
        }
        let key = self.key.as_ref().map(|key| hex_hmac(key, "fingerprint", ""));
        Some(format!("{} {}", self.policy, key.unwrap_or_default()))
    }

    /// Whether any contact is forgotten.
    #[must_use]
    pub fn has_forgotten(&self) -> bool {
        !self.forgotten.is_empty()
    }

    /// The contact, when it is forgotten.
    #[must_use]
    pub fn forgotten(&self, contact: Option<i64>) -> Option<i64> {
        contact.filter(|contact| self.forgotten.contains(contact))
    }

    /// The text of a message as it is stored.
    pub(super) fn message_text<'a>(&self, message: &SourceMessage<'a>) -> Option<Cow<'a, str>> {
        let is_theirs = message.sender_type == Some("Contact") && self.forgotten(message.sender_id).is_some();
        let text = message.content.filter(|_| !is_theirs)?;
        match self.policy.of(PersonalColumn::MessageText) {
            Treatment::Keep => Some(Cow::Borrowed(text)),
            Treatment::Hash => Some(self.hash(PersonalColumn::MessageText, text)),
            Treatment::Null => None,
        }
    }

    /// A text as it is stored in its column. A text that is kept must pass `check`.
    pub(super) fn text<'a>(
        &self,
        personal: PersonalColumn,
        text: Option<&'a str>,
        check: impl FnOnce(Option<&'a str>) -> Result<Option<&'a str>, TransformError>,
    ) -> Result<Option<Cow<'a, str>>, TransformError> {
        self.apply_treatment(personal, self.policy.of(personal), text, check)
    }

    /// JSON as it is stored in its column: a hash becomes a JSON string. JSON that is kept must pass `check`.
    pub(super) fn json<'a>(
        &self,
        personal: PersonalColumn,
        json: Option<&'a str>,
        check: impl FnOnce(Option<&'a str>) -> Result<Option<&'a str>, TransformError>,
    ) -> Result<Option<Cow<'a, str>>, TransformError> {
        match (self.policy.of(personal), json) {
            // an empty object identifies nobody
            (Treatment::Hash, Some(json)) if json != "{}" => {
                Ok(Some(Cow::Owned(format!("\"{}\"", self.hash(personal, json)))))
            }
            (Treatment::Null, _) => Ok(None),
            (Treatment::Hash | Treatment::Keep, json) => Ok(check(json)?.map(Cow::Borrowed)),
        }
    }

    /// The phone number of the contact. Without one it is the client's, and then the stricter treatment of the two
    /// applies.
    pub(super) fn contact_phone<'a>(
        &self,
        contact: Option<&'a str>,
        client: Option<&'a str>,
        check: impl FnOnce(Option<&'a str>) -> Result<Option<&'a str>, TransformError>,
    ) -> Result<Option<Cow<'a, str>>, TransformError> {
        let mut treatment = self.policy.of(PersonalColumn::ContactPhone);
        if contact.is_none() {
            treatment = treatment.max(self.policy.of(PersonalColumn::ClientPhone));
        }
        self.apply_treatment(PersonalColumn::ContactPhone, treatment, contact.or(client), check)
    }

    fn apply_treatment<'a>(
        &self,
        personal: PersonalColumn,
        treatment: Treatment,
        text: Option<&'a str>,
        check: impl FnOnce(Option<&'a str>) -> Result<Option<&'a str>, TransformError>,
    ) -> Result<Option<Cow<'a, str>>, TransformError> {
        match (treatment, text) {
            (Treatment::Null, _) => Ok(None),
            // an empty text is not hashed: it identifies nobody
            (Treatment::Hash, Some(text)) if !text.is_empty() => Ok(Some(self.hash(personal, text))),
            (Treatment::Hash | Treatment::Keep, text) => Ok(check(text)?.map(Cow::Borrowed)),
        }
    }

    fn hash<'a>(&self, personal: PersonalColumn, text: &'a str) -> Cow<'a, str> {
        if text.is_empty() {
            return Cow::Borrowed(text);
        }
        let key = self
            .key
            .as_ref()
            .expect("`Privacy::new` requires a key for a policy that hashes");
        // the same number has the same hash in both phone columns
        let domain = match personal {
            PersonalColumn::ContactPhone | PersonalColumn::ClientPhone => "phone",
            other => other.as_str(),
        };
        Cow::Owned(hex_hmac(key, domain, text))
    }
}

fn hex_hmac(key: &Hmac<Sha256>, domain: &str, text: &str) -> String {
    let mut mac = key.clone();
    mac.update(domain.as_bytes());
    mac.update(&[0]);
    mac.update(text.as_bytes());
    let tag = mac.finalize().into_bytes();
    tag.iter()
        .take(HASH_LENGTH / 2)
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// HMAC-SHA-256 with a key that is itself derived by HMAC: a tenant's key does not reveal another's.
fn tenant_key(tenant_id: i32, secret: &SecretString) -> Hmac<Sha256> {
    let mut mac = hmac_with_key(secret.expose_secret().as_bytes());
    mac.update(b"tidemark tenant key");
    mac.update(&tenant_id.to_be_bytes());
    hmac_with_key(&mac.finalize().into_bytes())
}

fn hmac_with_key(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}
