//! Inboxes of Chatwoot.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;

/// An inbox of the source. The texts are `None` when the source was not queried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inbox {
    pub id: i32,
    pub name: Option<String>,
    pub channel_type: Option<String>,
}

/// An inbox that is gone from the source with so many conversations that an operator has to decide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitingInbox {
    pub inbox_id: i32,
    pub name: Option<String>,
    /// Its live rows in the target.
    pub rows: i64,
}

/// For example ``4 `Sales` ``.
struct Named<'a>(i32, Option<&'a str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(name) => write!(f, "{} `{name}`", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What has to be decided about these inboxes of a tenant, with the command; `None` when there are none. `all`: the tenant
/// has no other inbox, and unmapping its last one would leave its rows as they are.
#[must_use]
pub fn decision_about(tenant: TenantId, waiting: &[WaitingInbox], all: bool) -> Option<String> {
    const NAMED: usize = 10;
    if waiting.is_empty() {
        return None;
    }
    let mut named: Vec<String> = waiting
        .iter()
        .take(NAMED)
        .map(|inbox| {
            let name = Named(inbox.inbox_id, inbox.name.as_deref());
            format!("{name} ({} rows)", inbox.rows)
        })
        .collect();
    if waiting.len() > NAMED {
        named.push(format!("{} more", waiting.len() - NAMED));
    }
    let named = named.join(", ");
    let (what, are) = match waiting {
        [_] => ("inbox", "is"),
        _ => ("inboxes", "are"),
    };
    let gone = format!(
        "{what} {named} {are} gone from the source with their conversations, and the rows stay until you decide; to mark them \
         deleted:"
    );
    Some(if all {
        format!("{gone} tidemark sync --tenant {tenant} --allow-mass-delete")
    } else {
        let ids: Vec<String> = waiting.iter().map(|inbox| inbox.inbox_id.to_string()).collect();
        let ids = ids.join(",");
        format!(
            "{gone} tidemark inbox unmap --tenant {tenant} --inbox {ids} and tidemark sync --tenant {tenant}"
        )
    })
}

/// Why no plan maps an inbox of a tenant's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsyncedReason {
    /// An operator unmapped it.
    Unmapped,
    /// The account's tenant takes no new inboxes.
    DiscoverOff,
    /// Several tenants of the account take new inboxes.
    SeveralTenants,
    /// A tenant has inboxes of the account, and no tenant has the account.
    NoAccount,
}

impl UnsyncedReason {
    pub const ALL: [Self; 4] = [
        Self::Unmapped,
        Self::DiscoverOff,
        Self::SeveralTenants,
        Self::NoAccount,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unmapped => "unmapped",
            Self::DiscoverOff => "discover_off",
            Self::SeveralTenants => "several_tenants",
            Self::NoAccount => "no_account",
        }
    }
}

/// An inbox of a tenant's account that no tenant has. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnsyncedInbox {
    pub source: String,
    pub account_id: i32,
    pub inbox_id: i32,
    pub inbox_name: Option<String>,
    pub reason: UnsyncedReason,
    /// The tenant that could have it; `None`: one of several.
    pub tenant_id: Option<TenantId>,
}

impl UnsyncedInbox {
    /// Whether an operator has decided this already.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.reason == UnsyncedReason::Unmapped
    }

    /// The command that brings the inbox.
    #[must_use]
    pub fn command(&self) -> String {
        let (inbox, account) = (self.inbox_id, self.account_id);
        match (self.reason, self.tenant_id) {
            (UnsyncedReason::NoAccount, Some(tenant)) => {
                format!("tidemark tenant set --tenant {tenant} --account-id {account}")
            }
            (_, Some(tenant)) => format!("tidemark inbox map --tenant {tenant} --inbox {inbox}"),
            (_, None) => format!("tidemark inbox map --tenant N --inbox {inbox}"),
        }
    }
}

impl fmt::Display for UnsyncedInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            UnsyncedReason::Unmapped => "an operator unmapped it",
            UnsyncedReason::DiscoverOff => "--discover is off",
            UnsyncedReason::SeveralTenants => "several tenants have the account, choose one",
            UnsyncedReason::NoAccount => "its tenant was added without the account",
        };
        let named = Named(self.inbox_id, self.inbox_name.as_deref());
        write!(
            f,
            "inbox {named} of account {} (source `{}`) is not synced: {why}",
            self.account_id, self.source
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_names_inboxes_and_the_command_that_works() {
        let waiting = |id, name: Option<&str>| WaitingInbox {
            inbox_id: id,
            name: name.map(str::to_owned),
            rows: 120,
        };
        let two = [waiting(4, Some("Sales")), waiting(7, None)];
        assert_eq!(decision_about(TenantId(1), &[], false), None);
        let text = decision_about(TenantId(1), &two[..1], false).unwrap();
        assert!(
            text.starts_with("inbox 4 `Sales` (120 rows) is gone from the source"),
            "{text}"
        );
        assert!(
            text.contains("tidemark inbox unmap --tenant 1 --inbox 4 and"),
            "{text}"
        );
        let text = decision_about(TenantId(1), &two, false).unwrap();
        assert!(text.contains("--inbox 4,7 and"), "{text}");
        // without any inbox no run would be planned
        let text = decision_about(TenantId(1), &two, true).unwrap();
        assert!(
            text.contains("--allow-mass-delete") && !text.contains("unmap"),
            "{text}"
        );
    }
}
