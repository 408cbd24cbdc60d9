//! Maps inboxes to tenants, and unmaps them.

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::Inbox;
use tidemark_shared::tenant::Tenant;
use tidemark_source::Sources;

use crate::error::{OperationError, OperationResult};

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

pub async fn map(
    db: &DbPool,
    sources: Option<&Sources>,
    tenant: &Tenant,
    mut ids: Vec<i32>,
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
    let mut previous_owners = ledger::inbox::list_owners(db, &tenant.source, &ids).await?;
    previous_owners.retain(|(_, owner)| *owner != tenant.id);
    Ok(MappedInboxes {
        requested: ids.len(),
        unknown: unknown.filter(|_| known.is_some()).collect(),
        changed: ledger::inbox::map(db, &tenant.source, tenant.id, &inboxes).await?,
        previous_owners,
        nameless,
    })
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

pub async fn unmap(db: &DbPool, tenant: &Tenant, ids: &[i32]) -> OperationResult<UnmappedInboxes> {
    let unmapped = ledger::inbox::unmap(db, &tenant.source, tenant.id, ids).await?;
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
        ledger::inbox::map(db, &tenant.source, tenant.id, &free).await?;
    }
    let discovered = found.into_iter().map(|inbox| {
        let tenant_id = owner(inbox.id).or((!dry_run).then_some(tenant.id));
        DiscoveredInbox { inbox, tenant_id }
    });
    Ok((discovered.collect(), free.len()))
}

fn account_of(tenant: &Tenant) -> OperationResult<i32> {
    tenant.account_id.ok_or_else(|| {
        OperationError::NotSetUp(format!(
            "tenant {0} has no account id: map its inboxes with `tidemark inbox map --tenant {0} --inbox …`",
            tenant.id
        ))
    })
}
