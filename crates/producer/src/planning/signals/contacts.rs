//! Changed contacts. Tenants can share an account, so changed contacts are read once and split by tenant here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;
use sqlx::{AssertSqlSafe, FromRow};
use tidemark_shared::ids::TenantId;
use tidemark_source::SourceError;
use tidemark_source::digest::contact_digest;

use crate::planning::last_change::LastChange;
use crate::planning::signals::Signals;
use crate::planning::signals::inboxes::Inboxes;

// $1 inboxes, $2 the earliest instant, $3 the latest time of interest (later times are cut to it, since chrono cannot hold all of
// them), $4 excluded conversations, $5 and $6 contacts that are older than this age and not later than this time are covered
// (NULL: none is). {age} stands for the age of the contact's version, {digest} for the digest of its values, and
// {conversations} for one of the two joins below
const CONTACTS: &str = "SELECT k.id::bigint AS id, k.account_id::integer AS account_id, \
            least(k.updated_at::timestamp, $3) AS changed_at, {age} AS age, {digest} AS digest, c.id::bigint AS conversation_id, c.inbox_id::integer AS inbox_id \
     FROM contacts k LEFT JOIN {conversations} \
     WHERE k.updated_at >= $2 AND ($5::integer IS NULL OR {age} <= $5 OR k.updated_at > $6) \
       AND (c.id IS NOT NULL OR k.account_id IN (SELECT account_id FROM inboxes WHERE id = ANY($1)))";
/// Few contacts have changed since the last plan. PostgreSQL expects as many as the lookback has, and would read all conversations.
const CONVERSATIONS_BY_INDEX: &str = "LATERAL (SELECT c.id, c.inbox_id FROM conversations c \
     WHERE c.contact_id = k.id AND c.inbox_id = ANY($1) AND c.id <> ALL($4::bigint[]) OFFSET 0) c ON true";
const CONVERSATIONS_BY_JOIN: &str =
    "conversations c ON c.contact_id = k.id AND c.inbox_id = ANY($1) AND c.id <> ALL($4::bigint[])";
const ACCOUNTS: &str = "SELECT id::integer, account_id::integer FROM inboxes WHERE id = ANY($1)";

/// A tenant's changed contacts, and their conversations.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ChangedContacts {
    pub ids: BTreeSet<i64>,
    pub conversations: BTreeMap<i64, NamedByContact>,
}

/// The contact of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedByContact {
    pub change: LastChange,
    /// See `contact_digest` of the source. A row with another one was made from other values.
    pub digest: Option<i64>,
}

/// A changed contact with one of its conversations, if it has any.
#[derive(Debug, FromRow)]
struct ChangedContact {
    id: i64,
    /// `None` where the source does not keep it.
    account_id: Option<i32>,
    /// At most [`Inboxes::latest`].
    changed_at: NaiveDateTime,
    age: i32,
    digest: Option<i64>,
    conversation_id: Option<i64>,
    inbox_id: Option<i32>,
}

impl ChangedContact {
    const fn change(&self) -> LastChange {
        LastChange {
            age: self.age,
            changed_at: Some(self.changed_at),
        }
    }
}

impl Signals<'_> {
    /// Contacts of the tenants' accounts that changed since. In a merged installation also contacts of other accounts that have
    /// a conversation with the tenant.
    pub(crate) async fn contacts(
        &mut self,
        inboxes: &Inboxes,
        earliest: NaiveDateTime,
    ) -> Result<BTreeMap<TenantId, ChangedContacts>, SourceError> {
        let changed = match self.changed_contacts(inboxes, earliest, &contact_digest()).await {
            // a value that has no digest: all conversations of changed contacts are read
            Err(error) if error.is_data() => {
                self.recover().await?;
                self.changed_contacts(inboxes, earliest, "NULL::bigint").await?
            }
            changed => changed?,
        };
        if changed.is_empty() {
            return Ok(BTreeMap::new());
        }
        let accounts: Vec<(i32, i32)> =
            sqlx::query_as(AssertSqlSafe(self.shape.on_tables(ACCOUNTS).as_ref()))
                .bind(&inboxes.ids)
                .fetch_all(self.tx.connection())
                .await
                .map_err(self.source.query_error("look up the accounts of its inboxes"))?;
        Ok(split_by_tenant(inboxes, &accounts, &changed))
    }

    async fn changed_contacts(
        &mut self,
        inboxes: &Inboxes,
        earliest: NaiveDateTime,
        digest: &str,
    ) -> Result<Vec<ChangedContact>, SourceError> {
        let covered = inboxes.covered_by_all();
        let conversations = match self.shape.is_indexed("conversations", "contact_id") {
            true => CONVERSATIONS_BY_INDEX,
            false => CONVERSATIONS_BY_JOIN,
        };
        let statement = self
            .aged(CONTACTS, "{age}", "contacts", "k")
            .replace("{digest}", digest)
            .replace("{conversations}", conversations);
        sqlx::query_as(AssertSqlSafe(self.shape.on_tables(&statement).as_ref()))
            .bind(&inboxes.ids)
            .bind(earliest)
            .bind(inboxes.latest())
            .bind(&self.unreadable)
            .bind(covered.map(|covered| covered.age))
            .bind(covered.map(|covered| covered.until))
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed contacts"))
    }
}

/// Gives each tenant the changed contacts of its accounts, since they may write in conversations of other accounts, and its own
/// conversations with any changed contact. `accounts` are pairs of inbox and account.
fn split_by_tenant(
    inboxes: &Inboxes,
    accounts: &[(i32, i32)],
    changed: &[ChangedContact],
) -> BTreeMap<TenantId, ChangedContacts> {
    let accounts: BTreeMap<i32, i32> = accounts.iter().copied().collect();
    let covered = inboxes.covered_by_tenant();
    let concerns = |tenant: TenantId, since: NaiveDateTime, contact: &ChangedContact| {
        let covered = covered.get(&tenant);
        contact.changed_at >= since
            && !covered.is_some_and(|covered| covered.has(contact.age, Some(contact.changed_at)))
    };
    let owners: BTreeMap<i32, (TenantId, NaiveDateTime)> = inboxes
        .ids
        .iter()
        .zip(&inboxes.tenants)
        .zip(&inboxes.since)
        .filter_map(|((inbox, tenant), since)| Some((*inbox, (*tenant, (*since)?))))
        .collect();
    // one entry for a tenant with several inboxes of one account
    let interested: BTreeSet<(TenantId, i32, NaiveDateTime)> = inboxes
        .ids
        .iter()
        .zip(&inboxes.tenants)
        .zip(&inboxes.since)
        .filter_map(|((inbox, tenant), since)| Some((*tenant, *accounts.get(inbox)?, (*since)?)))
        .collect();
    let mut of_account: BTreeMap<i32, Vec<&ChangedContact>> = BTreeMap::new();
    for contact in changed {
        if let Some(account) = contact.account_id {
            of_account.entry(account).or_default().push(contact);
        }
    }
    let mut found: BTreeMap<TenantId, ChangedContacts> = BTreeMap::new();
    for (tenant, account, since) in interested {
        let contacts = of_account.get(&account).into_iter().flatten();
        for contact in contacts.filter(|contact| concerns(tenant, since, contact)) {
            found.entry(tenant).or_default().ids.insert(contact.id);
        }
    }
    for contact in changed {
        let owner = contact.inbox_id.and_then(|inbox| owners.get(&inbox));
        if let Some((tenant, _)) = owner.filter(|(tenant, since)| concerns(*tenant, *since, contact)) {
            let theirs = found.entry(*tenant).or_default();
            theirs.ids.insert(contact.id);
            let named = NamedByContact {
                change: contact.change(),
                digest: contact.digest,
            };
            theirs
                .conversations
                .extend(contact.conversation_id.map(|id| (id, named)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u32) -> NaiveDateTime {
        chrono::NaiveDate::from_ymd_opt(2026, 11, 22)
            .unwrap()
            .and_hms_opt(hour, 0, 0)
            .unwrap()
    }

    fn contact(id: i64, account_id: i32, hour: u32, conversation: Option<(i64, i32)>) -> ChangedContact {
        ChangedContact {
            id,
            account_id: Some(account_id),
            changed_at: at(hour),
            age: 7,
            digest: Some(id * 3),
            conversation_id: conversation.map(|(id, _)| id),
            inbox_id: conversation.map(|(_, inbox)| inbox),
        }
    }

    #[test]
    fn tenants_that_share_an_account_each_get_its_contacts_and_their_own_conversations() {
        // tenants 1 and 2 share account 7, tenant 1 has two inboxes of it, tenant 3 has another account
        let inboxes = Inboxes {
            ids: vec![11, 12, 21, 31],
            tenants: vec![TenantId(1), TenantId(1), TenantId(2), TenantId(3)],
            since: vec![Some(at(9)), Some(at(9)), Some(at(11)), None],
            ..Inboxes::default()
        };
        let accounts = [(11, 7), (12, 7), (21, 7), (31, 8)];
        let changed = [
            contact(100, 7, 10, Some((1_000, 12))),
            contact(101, 7, 12, Some((1_001, 21))),
            contact(101, 7, 12, Some((1_002, 11))),
            contact(102, 7, 12, None),
            contact(103, 8, 12, Some((1_003, 31))),
            // of an account that none of these tenants has
            contact(104, 9, 12, Some((1_004, 21))),
            contact(105, 9, 10, Some((1_005, 21))),
        ];
        let found = split_by_tenant(&inboxes, &accounts, &changed);
        let expected = [
            (
                TenantId(1),
                vec![100, 101, 102],
                vec![(1_000, 10, 300), (1_002, 12, 303)],
            ),
            (
                TenantId(2),
                vec![101, 102, 104],
                vec![(1_001, 12, 303), (1_004, 12, 312)],
            ),
        ];
        let expected: BTreeMap<TenantId, ChangedContacts> = expected
            .into_iter()
            .map(|(tenant, ids, conversations)| {
                let contacts = ChangedContacts {
                    ids: ids.into_iter().collect(),
                    conversations: conversations
                        .into_iter()
                        .map(|(id, hour, digest)| {
                            let change = LastChange {
                                age: 7,
                                changed_at: Some(at(hour)),
                            };
                            let digest = Some(digest);
                            (id, NamedByContact { change, digest })
                        })
                        .collect(),
                };
                (tenant, contacts)
            })
            .collect();
        assert_eq!(found, expected);
    }
}
