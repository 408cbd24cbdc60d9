//! Requests runs for tenants that are ready for them.

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::inbox::InboxMapping;
use tidemark_ledger::run::{NewRun, Requested};
use tidemark_postgres::DbPool;
use tidemark_runtime::telemetry;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tracing::Span;

use crate::error::OperationResult;
use crate::refusal::Refusal;
use crate::tenants;
use crate::tenants::limits::chunk_size;

/// Loads a tenant that can have runs: it exists, is active and has inboxes.
pub async fn load_ready(db: &DbPool, id: TenantId) -> OperationResult<Tenant> {
    let tenant = tenants::load(db, id).await?;
    if !tenant.may_run() {
        let refusal = Refusal::NotActive {
            tenant: id,
            why: tenant.pause_reason,
        };
        return Err(refusal.into());
    }
    if !has_inboxes(db, &tenant).await? {
        return Err(Refusal::NoInboxes(id).into());
    }
    Ok(tenant)
}

/// Lists the tenants that can have runs; at least one.
pub async fn list_ready(db: &DbPool) -> OperationResult<Vec<Tenant>> {
    let mut ready = Vec::new();
    for tenant in ledger::tenant::list(db).await? {
        if is_ready(db, &tenant).await? {
            ready.push(tenant);
        }
    }
    if ready.is_empty() {
        return Err(Refusal::NoneReady.into());
    }
    Ok(ready)
}

pub async fn is_ready(db: &DbPool, tenant: &Tenant) -> OperationResult<bool> {
    Ok(tenant.may_run() && has_inboxes(db, tenant).await?)
}

/// Why a tenant can have no runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    Removed,
    Paused,
    NotActive,
    NoInboxes,
}

/// Finds a tenant that can have runs, in a transaction with more.
pub async fn find_ready(
    tx: &mut PgTransaction<'_>,
    id: TenantId,
) -> OperationResult<Result<Tenant, Unready>> {
    let Some(tenant) = ledger::tenant::find(&mut **tx, id).await? else {
        return Ok(Err(Unready::Removed));
    };
    if tenant.paused_at.is_some() {
        return Ok(Err(Unready::Paused));
    }
    if !tenant.may_run() {
        return Ok(Err(Unready::NotActive));
    }
    let inboxes = ledger::inbox::list(&mut **tx, Some(id)).await?;
    Ok(match may_have_rows(&inboxes, &tenant) {
        true => Ok(tenant),
        false => Err(Unready::NoInboxes),
    })
}

async fn has_inboxes(db: &DbPool, tenant: &Tenant) -> OperationResult<bool> {
    let inboxes = ledger::inbox::list(db, Some(tenant.id)).await?;
    Ok(may_have_rows(&inboxes, tenant))
}

/// Whether the tenant has inboxes, or a plan may find those of its account: an operator has not unmapped any.
fn may_have_rows(inboxes: &[InboxMapping], tenant: &Tenant) -> bool {
    let mut own = inboxes.iter().filter(|inbox| inbox.source == tenant.source);
    own.any(|inbox| inbox.is_active)
        || (tenant.discovered_account().is_some() && !own_was_unmapped(inboxes, tenant))
}

fn own_was_unmapped(inboxes: &[InboxMapping], tenant: &Tenant) -> bool {
    inboxes
        .iter()
        .any(|inbox| inbox.source == tenant.source && !inbox.is_active && inbox.unmapped_at.is_some())
}

/// A run to insert in the transaction of another change.
pub(crate) fn new_run(actor: &Actor, tenant: &Tenant, reason: Option<String>) -> NewRun {
    let span = tracing::info_span!("run", tenant.id = %tenant.id);
    in_span(actor, tenant, reason, &span)
}

fn in_span(actor: &Actor, tenant: &Tenant, reason: Option<String>, span: &Span) -> NewRun {
    NewRun {
        tenant_id: tenant.id,
        run_type: RunType::Resync,
        triggered_by: actor.as_str().to_owned(),
        reason,
        request: RunRequest::default(),
        trace_id: telemetry::trace_id(span),
        traceparent: telemetry::context_of(span).traceparent,
    }
}

/// Requests a run, or finds the open run that already does the same.
pub async fn request(
    db: &DbPool,
    actor: &Actor,
    tenant: &Tenant,
    run_type: RunType,
    reason: Option<String>,
    request: RunRequest,
) -> OperationResult<Requested> {
    chunk_size(request.chunk_size)?;
    let span = tracing::info_span!(
        "run", tenant.id = %tenant.id, run.id = tracing::field::Empty, run.type = run_type.as_str(),
    );
    let new = NewRun {
        run_type,
        request,
        ..in_span(actor, tenant, reason, &span)
    };
    let requested = ledger::run::request_for(db, actor, &new).await?;
    span.record("run.id", tracing::field::display(requested.run_id()));
    Ok(requested)
}

/// [`request`] in a transaction with more. `None`: the tenant was removed meanwhile.
pub async fn request_in(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    tenant: &Tenant,
    run_type: RunType,
    reason: Option<String>,
    request: RunRequest,
) -> OperationResult<Option<Requested>> {
    const TRIES: usize = 10;
    let span = tracing::info_span!(
        "run", tenant.id = %tenant.id, run.id = tracing::field::Empty, run.type = run_type.as_str(),
    );
    let new = NewRun {
        run_type,
        request,
        ..in_span(actor, tenant, reason, &span)
    };
    // the open run may end between the two statements
    for _ in 0..TRIES {
        if let Some(requested) = ledger::run::request_in(tx, actor, &new).await? {
            span.record("run.id", tracing::field::display(requested.run_id()));
            return Ok(Some(requested));
        }
    }
    Ok(None)
}
