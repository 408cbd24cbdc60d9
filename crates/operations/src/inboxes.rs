//! Maps inboxes to tenants, and unmaps them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::unsynced::{AccountInbox, ListedAccount};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::{Inbox, UnsyncedInbox};
use tidemark_shared::tenant::Tenant;
use tidemark_source::Sources;

use crate::error::OperationResult;
use crate::refusal::Refusal;

/// The outcome of mapping inboxes to a tenant.
#[derive(Debug)]
pub struct MappedInboxes {
    pub requested: usize,
    /// Inboxes that the tenant did not have before.
    pub changed: u64,
    /// Inboxes taken from another tenant.
    pub previous_owners: Vec<(i32, TenantId)>,
    /// Inboxes that the source does not list at present. Conversations may outlive their inbox, so this is no error.
    pub unknown: Vec<i32>,
    /// The reason why the inboxes were mapped without their names.
    pub nameless: Option<String>,
}

/// Gives inboxes to a tenant. Inboxes of another tenant are refused unless it is `from`.
pub async fn map(
    db: &DbPool,
    actor: &Actor,
    sources: Option<&Sources>,
    tenant: &Tenant,
    mut ids: Vec<i32>,
    from: Option<TenantId>,
) -> OperationResult<MappedInboxes> {
    ids.sort_unstable();
    ids.dedup();
    // mapping needs only the ids, so a source that is not configured here or does not answer is no error
    let source = sources.and_then(|sources| sources.get(&tenant.source).ok());
    let (known, nameless) = match source {
        None => (None, None),
        Some(source) => match source.inboxes(None, Some(&ids)).await {
            Ok(inboxes) => (Some(inboxes), None),
            Err(error) => (None, Some(report(&error))),
        },
    };
    let name_of = |id: i32| known.iter().flatten().find(|inbox| inbox.id == id);
    let inboxes: Vec<Inbox> = ids
        .iter()
        .map(|id| {
            name_of(*id).cloned().unwrap_or(Inbox {
                id: *id,
                name: None,
                channel_type: None,
            })
        })
        .collect();
    let unknown = ids.iter().copied().filter(|id| name_of(*id).is_none());
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let mut previous_owners = ledger::inbox::lock_owners(&mut tx, &tenant.source, &ids).await?;
    previous_owners.retain(|(_, owner)| *owner != tenant.id);
    let others: Vec<(i32, TenantId)> = previous_owners
        .iter()
        .filter(|(_, owner)| Some(*owner) != from)
        .copied()
        .collect();
    let entry = Entry::new(Action::InboxMap)
        .tenant(tenant.id)
        .subject(subject(&ids))
        .before(owners_of(&previous_owners));
    if let Err(refused) = refuse_foreign(tenant, &others) {
        ledger::audit::record(&mut *tx, actor, &entry.result(ActionResult::Refused)).await?;
        tx.commit().await.attempt("record the refusal")?;
        return Err(refused);
    }
    let changed = ledger::inbox::map(&mut *tx, &tenant.source, tenant.id, &inboxes, from).await?;
    let entry = entry.after(json!({"newly_mapped": changed}));
    let entry = match changed {
        0 => entry.result(ActionResult::Unchanged),
        _ => entry,
    };
    ledger::audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("map the inboxes")?;
    Ok(MappedInboxes {
        requested: ids.len(),
        unknown: unknown.filter(|_| known.is_some()).collect(),
        changed,
        previous_owners,
        nameless,
    })
}

fn subject(inboxes: &[i32]) -> String {
    let ids: Vec<String> = inboxes.iter().map(ToString::to_string).collect();
    format!("inbox {}", ids.join(","))
}

/// The tenants that had inboxes; `None` for none.
fn owners_of(inboxes: &[(i32, TenantId)]) -> Option<serde_json::Value> {
    let owners: BTreeMap<i32, TenantId> = inboxes.iter().copied().collect();
    (!owners.is_empty()).then(|| json!({"tenants": owners}))
}

/// Names the owners of the inboxes, and the command for those of the first.
fn refuse_foreign(tenant: &Tenant, others: &[(i32, TenantId)]) -> OperationResult<()> {
    let Some((_, from)) = others.first().copied() else {
        return Ok(());
    };
    let of_first = others.iter().filter(|(_, owner)| *owner == from);
    Err(Refusal::InboxesOfOthers {
        tenant: tenant.id,
        from,
        inboxes: of_first.map(|(inbox, _)| *inbox).collect(),
        others: others.to_vec(),
    }
    .into())
}

/// The outcome of unmapping inboxes; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct UnmappedInboxes {
    pub tenant_id: TenantId,
    pub unmapped: Vec<i32>,
    /// The tenant has other inboxes, so its next run marks the rows of the unmapped ones deleted.
    #[serde(skip)]
    pub has_others: bool,
}

pub async fn unmap(
    db: &DbPool,
    actor: &Actor,
    tenant: &Tenant,
    ids: &[i32],
) -> OperationResult<UnmappedInboxes> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let mut unmapped = ledger::inbox::unmap(&mut *tx, &tenant.source, tenant.id, ids).await?;
    unmapped.sort_unstable();
    let entry = Entry::new(Action::InboxUnmap)
        .tenant(tenant.id)
        .subject(subject(ids))
        .before(json!({"mapped": unmapped}))
        .result(match unmapped.is_empty() {
            true => ActionResult::Unchanged,
            false => ActionResult::Done,
        });
    ledger::audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("unmap the inboxes")?;
    let left = ledger::inbox::list_active(db, tenant.id, &tenant.source).await?;
    Ok(UnmappedInboxes {
        tenant_id: tenant.id,
        unmapped,
        has_others: !left.is_empty(),
    })
}

/// An inbox found at the source, with its tenant; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct DiscoveredInbox {
    #[serde(flatten)]
    pub inbox: Inbox,
    pub tenant_id: Option<TenantId>,
}

/// Finds the inboxes of the tenant's Chatwoot account and maps those that no tenant has. Returns all that were found,
/// and the number of those that are, or with `dry_run` would be, newly mapped.
pub async fn discover(
    db: &DbPool,
    actor: &Actor,
    sources: &Sources,
    tenant: &Tenant,
    dry_run: bool,
) -> OperationResult<(Vec<DiscoveredInbox>, usize)> {
    let account = account_of(tenant)?;
    let found = sources.get(&tenant.source)?.inboxes(Some(account), None).await?;
    let ids: Vec<i32> = found.iter().map(|inbox| inbox.id).collect();
    let owners = ledger::inbox::list_owners(db, &tenant.source, &ids).await?;
    let owner = |id: i32| {
        owners
            .iter()
            .find(|(inbox, _)| *inbox == id)
            .map(|(_, tenant)| *tenant)
    };
    let free: Vec<Inbox> = found
        .iter()
        .filter(|inbox| owner(inbox.id).is_none())
        .cloned()
        .collect();
    if !dry_run {
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        ledger::inbox::map(&mut *tx, &tenant.source, tenant.id, &free, None).await?;
        let mapped: Vec<i32> = free.iter().map(|inbox| inbox.id).collect();
        record_discovered(&mut tx, actor, tenant.id, account, &mapped).await?;
        tx.commit().await.attempt("map the inboxes")?;
    }
    let discovered = found.into_iter().map(|inbox| {
        let tenant_id = owner(inbox.id).or((!dry_run).then_some(tenant.id));
        DiscoveredInbox { inbox, tenant_id }
    });
    Ok((discovered.collect(), free.len()))
}

async fn record_discovered(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    tenant: TenantId,
    account: i32,
    mapped: &[i32],
) -> OperationResult<()> {
    let entry = Entry::new(Action::InboxDiscover)
        .tenant(tenant)
        .subject(format!("account {account}"))
        .after(json!({"newly_mapped": mapped}))
        .result(match mapped {
            [] => ActionResult::Unchanged,
            _ => ActionResult::Done,
        });
    Ok(ledger::audit::record(&mut **tx, actor, &entry).await?)
}

/// What was found when a tenant's account was looked up.
#[derive(Debug)]
pub struct AccountLookup {
    pub account: i32,
    /// Inboxes of the account at the source.
    pub found: usize,
    /// Inboxes that the tenant has taken.
    pub taken: Vec<i32>,
    /// Inboxes of other tenants.
    pub of_others: Vec<(i32, TenantId)>,
    /// Inboxes that no tenant has, with the reason.
    pub unsynced: Vec<UnsyncedInbox>,
}

/// Does for a tenant's account what its next plan would do: maps the inboxes that no tenant has, and records the others.
/// `None` for a tenant without an account.
pub async fn look_up_account(
    db: &DbPool,
    actor: &Actor,
    sources: &Sources,
    tenant: &Tenant,
) -> OperationResult<Option<AccountLookup>> {
    let Some(account) = tenant.account_id else {
        return Ok(None);
    };
    let source = sources.get(&tenant.source)?;
    // says at once why a source does not answer
    source.check().await?;
    let inboxes = source.inboxes(Some(account), None).await?;
    let found: Vec<AccountInbox> = inboxes
        .into_iter()
        .map(|inbox| AccountInbox {
            account_id: account,
            inbox,
        })
        .collect();
    let ids: Vec<i32> = found.iter().map(|found| found.inbox.id).collect();
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let taken = ledger::unsynced::take(&mut *tx, &tenant.source, &found).await?;
    let mut by_taker: BTreeMap<TenantId, Vec<i32>> = BTreeMap::new();
    for (inbox, taker) in &taken {
        by_taker.entry(*taker).or_default().push(*inbox);
    }
    for (taker, mapped) in &by_taker {
        record_discovered(&mut tx, actor, *taker, account, mapped).await?;
    }
    tx.commit().await.attempt("map the inboxes")?;
    let listed = ListedAccount {
        id: account,
        known_by: None,
    };
    ledger::unsynced::record(db, &tenant.source, &[listed], &found).await?;
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let mut of_others = ledger::inbox::lock_owners(&mut tx, &tenant.source, &ids).await?;
    of_others.retain(|(_, owner)| *owner != tenant.id);
    tx.rollback().await.attempt("end the transaction")?;
    let mut unsynced = ledger::unsynced::list(db, Some(&tenant.source)).await?;
    unsynced.retain(|inbox| inbox.account_id == account);
    Ok(Some(AccountLookup {
        account,
        found: ids.len(),
        taken: taken
            .into_iter()
            .filter(|(_, taker)| *taker == tenant.id)
            .map(|(inbox, _)| inbox)
            .collect(),
        of_others,
        unsynced,
    }))
}

fn account_of(tenant: &Tenant) -> OperationResult<i32> {
    Ok(tenant.account_id.ok_or(Refusal::NoAccount(tenant.id))?)
}
