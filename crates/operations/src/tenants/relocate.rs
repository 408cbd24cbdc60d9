//! Moves a tenant to another source.

use tidemark_ledger as ledger;
use tidemark_ledger::tenant_move::{Move, MoveAnswer, Moved};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;

use super::{load, removed_just_now};
use crate::error::{OperationError, OperationResult};

/// Marks the tenant's rows deleted, unmaps its inboxes and gives it the other source.
pub async fn move_to_source(db: &DbPool, id: TenantId, to: Move<'_>) -> OperationResult<Moved> {
    if to.reason.trim().is_empty() {
        return Err(OperationError::Invalid(
            "moving a tenant needs a reason".to_owned(),
        ));
    }
    let tenant = load(db, id).await?;
    let source = to.source;
    let text = match ledger::tenant_move::move_tenant(db, id, to).await? {
        MoveAnswer::Moved(moved) => return Ok(moved),
        MoveAnswer::SameSource => format!("tenant {id} has source `{source}` already"),
        MoveAnswer::Forgotten(contacts) => format!(
            "tenant {id} has {contacts} forgotten contacts of source `{}`, whose ids are other people's at `{source}`: add a \
             tenant for the new source (tidemark tenant add --source {source}), forget them there by their new ids \
             (tidemark tenant forget), and then remove this one (tidemark tenant remove)",
            tenant.source
        ),
        MoveAnswer::Unknown => return Err(removed_just_now(id)),
    };
    Err(OperationError::Invalid(text))
}
