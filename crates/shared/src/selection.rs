//! The conversations of a run that does not follow the watermark (part of `etl_control.request`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The limit for ids in one selection, which is one value in the ledger. More ids become several runs.
pub const MAX_IDS_PER_RUN: usize = 100_000;

/// A part of a tenant's conversations. Lists are ascending and distinct, so that equal requests have equal selections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// These conversations, including those that the source no longer has.
    Ids { ids: Vec<i64> },
    /// Conversations created or changed in `from..=to`, by their own timestamps.
    Time {
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        /// Only conversations that are in these inboxes in the source. Empty: all inboxes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inboxes: Vec<i32>,
    },
    /// Conversations of these inboxes, in source or target.
    Inboxes { inboxes: Vec<i32> },
    /// Conversations whose rows have these names, which have changed in the source.
    Renamed { names: Vec<Name> },
    /// Conversations with messages of these senders, which the source no longer has.
    Senders { senders: Vec<Sender> },
    /// All conversations, because the rules for personal data changed with this version of the mapping.
    Policy { version: i64 },
}

impl Selection {
    /// Whether it selects all conversations. Such a run is planned like a full one.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        matches!(self, Self::Policy { .. })
    }

    /// Its name among a run's signals.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ids { .. } => "ids",
            Self::Time { .. } => "time",
            Self::Inboxes { .. } => "inboxes",
            Self::Renamed { .. } => "renamed",
            Self::Senders { .. } => "senders",
            Self::Policy { .. } => "policy",
        }
    }
}

/// The kinds of things whose names are copied into conversations' rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameOf {
    Inbox,
    Account,
    User,
    Team,
}

impl NameOf {
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Account, Self::User, Self::Team];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Account => "account",
            Self::User => "user",
            Self::Team => "team",
        }
    }
}

/// A name that is copied into rows. The ledger only stores a digest, since it may be the name of a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name {
    pub of: NameOf,
    pub id: i64,
    pub digest: String,
}

/// A sender of messages: an agent, a bot or an assistant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sender {
    pub sender_type: String,
    pub id: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_read_back_from_the_ledger_and_an_unknown_field_is_refused() {
        let selection = Selection::Renamed {
            names: vec![Name {
                of: NameOf::Inbox,
                id: 7,
                digest: "d".into(),
            }],
        };
        let text = serde_json::to_string(&selection).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"renamed","names":[{"of":"inbox","id":7,"digest":"d"}]}"#
        );
        assert_eq!(serde_json::from_str::<Selection>(&text).unwrap(), selection);
        assert!(serde_json::from_str::<Selection>(r#"{"kind":"ids","ids":[1],"all":true}"#).is_err());
    }
}
