//! The policy for storing a tenant's personal data.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The treatment of a column, from the mildest to the strictest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// Stored as it is.
    #[default]
    Keep,
    /// Replaced by a hash with the tenant's key, which only shows which values are equal.
    Hash,
    /// Not stored.
    Null,
}

impl Treatment {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Hash => "hash",
            Self::Null => "null",
        }
    }
}

/// A column with personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonalColumn {
    ContactName,
    ContactEmail,
    ContactPhone,
    ContactIdentifier,
    ClientPhone,
    /// Texts of messages: in `message_compiled`, and the columns of the first and last text.
    MessageText,
    CsatFeedback,
    /// `contact_custom_attributes` and `contact_additional_attributes`.
    ContactAttributes,
}

impl PersonalColumn {
    pub const ALL: [Self; 8] = [
        Self::ContactName,
        Self::ContactEmail,
        Self::ContactPhone,
        Self::ContactIdentifier,
        Self::ClientPhone,
        Self::MessageText,
        Self::CsatFeedback,
        Self::ContactAttributes,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContactName => "contact_name",
            Self::ContactEmail => "contact_email",
            Self::ContactPhone => "contact_phone",
            Self::ContactIdentifier => "contact_identifier",
            Self::ClientPhone => "client_phone",
            Self::MessageText => "message_text",
            Self::CsatFeedback => "csat_feedback",
            Self::ContactAttributes => "contact_attributes",
        }
    }
}

/// A tenant's policy (`tenants.privacy`). Columns that are not in it are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivacyPolicy(BTreeMap<PersonalColumn, Treatment>);

impl PrivacyPolicy {
    #[must_use]
    pub fn of(&self, personal: PersonalColumn) -> Treatment {
        self.0.get(&personal).copied().unwrap_or_default()
    }

    /// The policy after a change. Columns that the change does not name stay as they are.
    #[must_use]
    pub fn with(mut self, change: &PrivacyChange) -> Self {
        for (personal, treatment) in &change.0 {
            match treatment {
                Treatment::Keep => self.0.remove(personal),
                other => self.0.insert(*personal, *other),
            };
        }
        self
    }

    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any column is hashed.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        self.0.values().any(|treatment| *treatment == Treatment::Hash)
    }
}

impl fmt::Display for PrivacyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keeps_all() {
            return f.write_str("everything is kept");
        }
        for (position, (personal, treatment)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{}={}", personal.as_str(), treatment.as_str())?;
        }
        Ok(())
    }
}

/// A change of a policy, written as `contact_email=hash,message_text=null`; `all=keep` names every column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacyChange(Vec<(PersonalColumn, Treatment)>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivacyChangeError {
    #[error("`{0}` is not COLUMN=TREATMENT: write for example contact_email=hash,message_text=null")]
    Form(String),
    #[error("unknown column `{0}`: use one of {known}, all", known = PersonalColumn::ALL.map(PersonalColumn::as_str).join(", "))]
    Column(String),
    #[error("unknown treatment `{0}`: use one of keep, null, hash")]
    Treatment(String),
}

impl FromStr for PrivacyChange {
    type Err = PrivacyChangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut change = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (column, treatment) = part
                .split_once('=')
                .ok_or_else(|| PrivacyChangeError::Form(part.to_owned()))?;
            let treatment = [Treatment::Keep, Treatment::Hash, Treatment::Null]
                .into_iter()
                .find(|known| known.as_str() == treatment)
                .ok_or_else(|| PrivacyChangeError::Treatment(treatment.to_owned()))?;
            let named: Vec<PersonalColumn> = PersonalColumn::ALL
                .into_iter()
                .filter(|personal| column == "all" || column == personal.as_str())
                .collect();
            if named.is_empty() {
                return Err(PrivacyChangeError::Column(column.to_owned()));
            }
            change.extend(named.into_iter().map(|personal| (personal, treatment)));
        }
        Ok(Self(change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> PrivacyChange {
        text.parse().unwrap()
    }

    #[test]
    fn a_change_names_columns_and_leaves_the_others() {
        let policy = PrivacyPolicy::default().with(&change("contact_email=hash, message_text=null"));
        assert_eq!(policy.of(PersonalColumn::ContactEmail), Treatment::Hash);
        assert_eq!(policy.of(PersonalColumn::ContactName), Treatment::Keep);
        assert!(policy.needs_key());
        let policy = policy.with(&change("contact_email=null"));
        assert_eq!(policy.to_string(), "contact_email=null, message_text=null");
        assert!(!policy.needs_key());
        assert!(policy.with(&change("all=keep")).keeps_all());
        for text in [
            "",
            "contact_email",
            "email=hash",
            "contact_email=gone",
            "contact_email=hash,",
        ] {
            assert!(text.parse::<PrivacyChange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_is_read_back_from_the_ledger() {
        let policy = PrivacyPolicy::default().with(&change("all=hash,message_text=null"));
        let text = serde_json::to_string(&policy).unwrap();
        assert!(text.contains(r#""contact_email":"hash""#) && text.contains(r#""message_text":"null""#));
        assert_eq!(serde_json::from_str::<PrivacyPolicy>(&text).unwrap(), policy);
        assert!(serde_json::from_str::<PrivacyPolicy>(r#"{"status":"null"}"#).is_err());
    }

    #[test]
    fn the_stricter_of_two_treatments_is_the_greater() {
        assert!(Treatment::Keep < Treatment::Hash && Treatment::Hash < Treatment::Null);
    }
}
