//! The audit of actions, as operators read it.

use tidemark_ledger as ledger;
use tidemark_ledger::audit::{AuditFilter, Recorded};
use tidemark_postgres::DbPool;

use crate::error::OperationResult;
use crate::page::Page;

/// Actions before the entry `before`, newest first.
pub async fn list(
    db: &DbPool,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i64,
) -> OperationResult<Page<Recorded, i64>> {
    let found = ledger::audit::list(db, filter, before, limit + 1).await?;
    Ok(Page::cut(found, limit, |entry| entry.id))
}
