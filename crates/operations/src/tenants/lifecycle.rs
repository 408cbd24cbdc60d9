//! Pauses, resumes and removes a tenant.

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::{RunId, TenantId};

use super::load;
use crate::error::OperationResult;
use crate::refusal::{NeedsReason, Refusal};

/// The field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct RemovedTenant {
    pub tenant_id: TenantId,
    pub cancelled_runs: Vec<RunId>,
}

pub async fn pause(db: &DbPool, actor: &Actor, id: TenantId, reason: &str) -> OperationResult<()> {
    if reason.trim().is_empty() {
        return Err(Refusal::NeedsReason(NeedsReason::Pause).into());
    }
    let tenant = load(db, id).await?;
    ledger::tenant_lifecycle::pause(db, actor, tenant.id, reason).await?;
    Ok(())
}

/// Returns whether the tenant was paused.
pub async fn resume(db: &DbPool, actor: &Actor, id: TenantId) -> OperationResult<bool> {
    let tenant = load(db, id).await?;
    Ok(ledger::tenant_lifecycle::resume(db, actor, tenant.id).await?)
}

/// Removes a tenant for good and cancels its open runs; its rows stay.
pub async fn remove(db: &DbPool, actor: &Actor, id: TenantId) -> OperationResult<RemovedTenant> {
    let removed = ledger::tenant_lifecycle::remove(db, actor, id).await?;
    Ok(RemovedTenant {
        tenant_id: id,
        cancelled_runs: removed.ok_or(Refusal::RemovedJustNow(id))?,
    })
}
