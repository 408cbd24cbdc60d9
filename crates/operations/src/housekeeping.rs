//! Removes old history at an operator's request.

use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::prune::Pruned;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::RetentionSettings;
use tidemark_shared::audit::{Action, Actor};

use crate::error::OperationResult;

/// Counts what [`prune`] would remove now.
pub async fn count(db: &DbPool, keep: &RetentionSettings) -> OperationResult<Pruned> {
    Ok(ledger::prune::count(db, keep).await?)
}

/// Removes what has been kept for long enough, in many short transactions, and then records what was removed.
pub async fn prune(db: &DbPool, actor: &Actor, keep: &RetentionSettings) -> OperationResult<Pruned> {
    let pruned = ledger::prune::prune(db, keep).await?;
    let entry = Entry::new(Action::LedgerPrune).after(pruned);
    ledger::audit::record(db, actor, &entry).await?;
    Ok(pruned)
}
