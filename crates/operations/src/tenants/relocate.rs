//! Moves a tenant to another source.

use tidemark_ledger as ledger;
use tidemark_ledger::tenant_move::{Move, MoveAnswer, Moved};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;

use super::load;
use crate::error::OperationResult;
use crate::refusal::{NeedsReason, Refusal};

/// Marks the tenant's rows deleted, unmaps its inboxes and gives it the other source.
pub async fn move_to_source(db: &DbPool, id: TenantId, to: Move<'_>) -> OperationResult<Moved> {
    if to.reason.trim().is_empty() {
        return Err(Refusal::NeedsReason(NeedsReason::Move).into());
    }
    let tenant = load(db, id).await?;
    let source = to.source;
    let refusal = match ledger::tenant_move::move_tenant(db, id, to).await? {
        MoveAnswer::Moved(moved) => return Ok(moved),
        MoveAnswer::SameSource => Refusal::SameSource {
            tenant: id,
            to: source.to_owned(),
        },
        MoveAnswer::Forgotten(contacts) => Refusal::HasForgotten {
            tenant: id,
            contacts,
            from: tenant.source,
            to: source.to_owned(),
        },
        MoveAnswer::Unknown => Refusal::RemovedJustNow(id),
    };
    Err(refusal.into())
}
