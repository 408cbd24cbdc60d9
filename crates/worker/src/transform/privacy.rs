//! What of a person may be stored: the tenant's policy, and contacts that are forgotten.
//!
//! Counts, lengths and what else follows from a text are computed from what the source has: they say little of a person, and
//! reports stay what they were. Ids stay too.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tidemark_shared::privacy::{Personal, PrivacyPolicy, Treatment};

use super::error::TransformError;
use crate::row::source::SourceMessage;

/// Characters of a hash: 128 bits in hexadecimal digits, which every column holds.
pub const HASH_LENGTH: usize = 32;

/// Something is to be hashed, and there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingKey;

/// A tenant's rules.
#[derive(Default)]
pub struct Privacy {
    policy: PrivacyPolicy,
    /// Set where something is hashed.
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
    /// `secret` is the installation's; each tenant's key is derived from it.
    ///
    /// # Errors
    /// When the policy hashes something and there is no secret.
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

    /// Tells this policy from others, and its key from other keys; `None` where everything is kept.
    pub(super) fn fingerprint(&self) -> Option<String> {
        if self.policy.keeps_all() {
            return None;
        }
        let key = self.key.as_ref().map(|key| hex_hmac(key, "fingerprint", ""));
        Some(format!("{} {}", self.policy, key.unwrap_or_default()))
    }

    /// Whether any contact stays out.
    #[must_use]
    pub fn has_forgotten(&self) -> bool {
        !self.forgotten.is_empty()
    }

    /// The contact, when it stays out.
    #[must_use]
    pub fn forgotten(&self, contact: Option<i64>) -> Option<i64> {
        contact.filter(|contact| self.forgotten.contains(contact))
    }

    /// The text of a message as it is stored.
    pub(super) fn message_text<'a>(&self, message: &SourceMessage<'a>) -> Option<Cow<'a, str>> {
        let is_theirs = message.sender_type == Some("Contact") && self.forgotten(message.sender_id).is_some();
        let text = message.content.filter(|_| !is_theirs)?;
        match self.policy.of(Personal::MessageText) {
            Treatment::Keep => Some(Cow::Borrowed(text)),
            Treatment::Hash => Some(self.hash(Personal::MessageText, text)),
            Treatment::Null => None,
        }
    }

    /// A text as it is stored in its column. What is stored as it is must pass `check`.
    pub(super) fn text<'a>(
        &self,
        personal: Personal,
        text: Option<&'a str>,
        check: impl FnOnce(Option<&'a str>) -> Result<Option<&'a str>, TransformError>,
    ) -> Result<Option<Cow<'a, str>>, TransformError> {
        self.apply_treatment(personal, self.policy.of(personal), text, check)
    }

    /// The phone number of a contact, or that of the client which stands in for it: then the stricter treatment of the two.
    pub(super) fn contact_phone<'a>(
        &self,
        contact: Option<&'a str>,
        client: Option<&'a str>,
        check: impl FnOnce(Option<&'a str>) -> Result<Option<&'a str>, TransformError>,
    ) -> Result<Option<Cow<'a, str>>, TransformError> {
        let mut treatment = self.policy.of(Personal::ContactPhone);
        if contact.is_none() {
            treatment = treatment.max(self.policy.of(Personal::ClientPhone));
        }
        self.apply_treatment(Personal::ContactPhone, treatment, contact.or(client), check)
    }

    fn apply_treatment<'a>(
        &self,
        personal: Personal,
        treatment: Treatment,
        text: Option<&'a str>,
        check: impl FnOnce(Option<&'a str>) -> Result<Option<&'a str>, TransformError>,
    ) -> Result<Option<Cow<'a, str>>, TransformError> {
        match (treatment, text) {
            (Treatment::Null, _) => Ok(None),
            // nothing is nobody's
            (Treatment::Hash, Some(text)) if !text.is_empty() => Ok(Some(self.hash(personal, text))),
            (Treatment::Hash | Treatment::Keep, text) => Ok(check(text)?.map(Cow::Borrowed)),
        }
    }

    fn hash<'a>(&self, personal: Personal, text: &'a str) -> Cow<'a, str> {
        if text.is_empty() {
            return Cow::Borrowed(text);
        }
        let key = self
            .key
            .as_ref()
            .expect("rules that hash something are not made without a key");
        // the same number is the same in both columns of phones
        let domain = match personal {
            Personal::ContactPhone | Personal::ClientPhone => "phone",
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

/// HMAC-SHA-256 under a key that is itself one: whoever has a tenant's key has no other's.
fn tenant_key(tenant_id: i32, secret: &SecretString) -> Hmac<Sha256> {
    let mut mac = hmac_with_key(secret.expose_secret().as_bytes());
    mac.update(b"tidemark tenant key");
    mac.update(&tenant_id.to_be_bytes());
    hmac_with_key(&mac.finalize().into_bytes())
}

fn hmac_with_key(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}
