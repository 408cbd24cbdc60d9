//! Which conversations a run takes that follows no watermark (part of `etl_control.request`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Ids in one selection: it is one value of the ledger, and more are cut into several runs.
pub const IDS_A_RUN: usize = 100_000;

/// A part of a tenant's conversations. Equal selections are equal requests, so lists are ascending and distinct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// These, also those that the source no longer has.
    Ids { ids: Vec<i64> },
    /// Those created or changed in `from..=to`, as the conversation's own timestamps tell.
    Time {
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        /// Only those of these inboxes at the source; empty: of all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inboxes: Vec<i32>,
    },
    /// Those of these inboxes, at the source or in the target.
    Inboxes { inboxes: Vec<i32> },
    /// Those that carry these names.
    Renamed { names: Vec<Name> },
    /// Those with messages of these senders, which the source no longer has.
    Senders { senders: Vec<Sender> },
    /// All of them, since what is stored of them is decided otherwise from this version of the mapping on.
    Policy { version: i64 },
}

impl Selection {
    /// Whether it leaves nothing out: such a run is planned as a full one is.
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

/// Whose names are copied into conversations' rows.
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

/// Something with a name that rows carry. The ledger keeps a digest: names of people stay in the data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name {
    pub of: NameOf,
    pub id: i64,
    pub digest: String,
}

/// An agent, a bot or an assistant, as messages name who sent them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sender {
    pub sender_type: String,
    pub id: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_read_back_from_the_ledger_and_a_field_too_many_is_refused() {
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
