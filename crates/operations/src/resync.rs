//! Decides which runs a resync needs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_producer::planning::planner::Planner;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunRequest;
use tidemark_shared::selection::{MAX_IDS_PER_RUN, Selection};
use tidemark_shared::tenant::Tenant;

use crate::error::OperationResult;
use crate::refusal::Refusal;

/// Ids that are assigned to several tenants at once.
const IDS_ASSIGNED: usize = 100_000;

/// The ids of each tenant, and those of none of them.
#[derive(Debug)]
pub struct AssignedIds {
    pub parts: Vec<(Tenant, RunRequest)>,
    pub listed: usize,
    pub unknown: Vec<i64>,
}

/// One run for so many ids of a tenant; each run is like `template`.
///
/// A single tenant gets all ids, so that rows whose conversations are gone from the source are marked deleted. Of several
/// tenants each gets its own.
pub async fn parts_by_ids(
    planner: &Planner,
    tenants: Vec<Tenant>,
    ids: Vec<i64>,
    template: &RunRequest,
) -> OperationResult<AssignedIds> {
    let listed = ids.len();
    let (assigned, unknown) = assign(planner, tenants, ids).await?;
    let part = |tenant: &Tenant, ids: &[i64]| {
        let request = RunRequest {
            selection: Some(Selection::Ids { ids: ids.to_vec() }),
            ..template.clone()
        };
        (tenant.clone(), request)
    };
    let parts = assigned
        .iter()
        .flat_map(|(tenant, ids)| ids.chunks(MAX_IDS_PER_RUN).map(move |ids| part(tenant, ids)));
    Ok(AssignedIds {
        parts: parts.collect(),
        listed,
        unknown,
    })
}

async fn assign(
    planner: &Planner,
    tenants: Vec<Tenant>,
    ids: Vec<i64>,
) -> OperationResult<(Vec<(Tenant, Vec<i64>)>, Vec<i64>)> {
    let tenants = match <[Tenant; 1]>::try_from(tenants) {
        Ok([tenant]) => return Ok((vec![(tenant, ids)], Vec::new())),
        Err(tenants) => tenants,
    };
    if ids.len() > IDS_ASSIGNED {
        let (ids, most) = (ids.len(), IDS_ASSIGNED);
        return Err(Refusal::TooManyIds { ids, most }.into());
    }
    let mut found = planner.assign_ids_to_tenants(&tenants, &ids).await?;
    if found.by_tenant.is_empty() {
        return Err(Refusal::NoneOfTheirs(ids.len()).into());
    }
    let assigned = tenants
        .into_iter()
        .filter_map(|tenant| found.by_tenant.remove(&tenant.id).map(|ids| (tenant, ids)));
    Ok((assigned.collect(), found.unknown))
}

/// Whose conversations some ids are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KnownIds {
    /// Of the tenant: at the source in one of its inboxes, or with a live row.
    pub known: usize,
    /// Of another tenant of the same source.
    pub elsewhere: usize,
    /// Of none of them.
    pub unknown: usize,
}

/// Finds out whose conversations the ids are, before a run takes them. `ids` are ascending and distinct.
pub async fn count_known(
    db: &DbPool,
    planner: &Planner,
    tenant: &Tenant,
    ids: &[i64],
) -> OperationResult<KnownIds> {
    let mut others = ledger::tenant::list(db).await?;
    others.retain(|other| other.id != tenant.id && other.source == tenant.source);
    let mut counted = KnownIds::default();
    for part in ids.chunks(IDS_ASSIGNED) {
        let own = planner
            .assign_ids_to_tenants(std::slice::from_ref(tenant), part)
            .await?;
        counted.known += part.len() - own.unknown.len();
        if own.unknown.is_empty() {
            continue;
        }
        let rest = planner.assign_ids_to_tenants(&others, &own.unknown).await?;
        counted.elsewhere += own.unknown.len() - rest.unknown.len();
        counted.unknown += rest.unknown.len();
    }
    Ok(counted)
}

/// One run a tenant, over a range of time, over inboxes, over both, or with neither over everything. A tenant that has none
/// of the inboxes gets no run.
pub async fn parts_by_selection(
    db: &DbPool,
    tenants: Vec<Tenant>,
    time: Option<(DateTime<Utc>, DateTime<Utc>)>,
    inboxes: &[i32],
    template: &RunRequest,
) -> OperationResult<Vec<(Tenant, RunRequest)>> {
    if let Some((from, to)) = time
        && from >= to
    {
        return Err(Refusal::TimesReversed { from, to }.into());
    }
    let mut asked = inboxes.to_vec();
    asked.sort_unstable();
    asked.dedup();
    let mut unowned = asked.clone();
    let ids: Vec<TenantId> = tenants.iter().map(|tenant| tenant.id).collect();
    let mut parts = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let own = ledger::inbox::list_active(db, tenant.id, &tenant.source).await?;
        let inboxes: Vec<i32> = asked
            .iter()
            .filter(|inbox| own.contains(inbox))
            .copied()
            .collect();
        unowned.retain(|inbox| !inboxes.contains(inbox));
        if !asked.is_empty() && inboxes.is_empty() {
            continue;
        }
        let selection = match time {
            Some((from, to)) => Some(Selection::Time { from, to, inboxes }),
            None if inboxes.is_empty() => None,
            None => Some(Selection::Inboxes { inboxes }),
        };
        let request = RunRequest {
            selection,
            ..template.clone()
        };
        parts.push((tenant, request));
    }
    let Some(inbox) = unowned.first() else {
        return Ok(parts);
    };
    Err(match ids.as_slice() {
        [tenant] => Refusal::InboxOfAnother {
            inbox: *inbox,
            tenant: *tenant,
        },
        _ => Refusal::InboxOfNone(*inbox),
    }
    .into())
}
