//! Lists of runs, chunks and rejects, a part at a time.

use tidemark_ledger as ledger;
use tidemark_ledger::chunk_report::{ChunkFilter, ChunkReport};
use tidemark_ledger::reject::{RejectFilter, RejectGroup, RejectedRow};
use tidemark_ledger::run::RunFilter;
use tidemark_ledger::watermark::Move;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::{ChunkId, ConversationKey, RunId, TenantId};
use tidemark_shared::run::RunReport;

use crate::error::OperationResult;
use crate::page::Page;

/// Runs before the run `before`, newest first.
pub async fn runs(
    db: &DbPool,
    filter: &RunFilter,
    before: Option<RunId>,
    limit: i64,
) -> OperationResult<Page<RunReport, RunId>> {
    let ids = ledger::run::list_ids(db, filter, before, limit + 1).await?;
    let ids = Page::cut(ids, limit, |id| *id);
    let mut items = ledger::run::reports(db, &ids.items).await?;
    items.reverse();
    Ok(Page {
        items,
        next: ids.next,
    })
}

/// Chunks behind the chunk `after`: those of newer runs first, and of one run by their numbers.
pub async fn chunks(
    db: &DbPool,
    filter: &ChunkFilter,
    after: Option<ChunkId>,
    limit: i64,
) -> OperationResult<Page<ChunkReport, ChunkId>> {
    let found = ledger::chunk_report::list(db, filter, after, limit + 1).await?;
    Ok(Page::cut(found, limit, ChunkReport::id))
}

/// Rejects behind the reject `after`, by tenant and conversation.
pub async fn rejects(
    db: &DbPool,
    filter: &RejectFilter,
    after: Option<ConversationKey>,
    limit: i64,
) -> OperationResult<Page<RejectedRow, ConversationKey>> {
    let found = ledger::reject::list(db, filter, after, limit + 1).await?;
    Ok(Page::cut(found, limit, RejectedRow::key))
}

/// Open rejects by their cause, the most frequent first; of one tenant, or of all.
pub async fn reject_groups(
    db: &DbPool,
    tenant: Option<TenantId>,
    limit: i64,
) -> OperationResult<Vec<RejectGroup>> {
    Ok(ledger::reject::list_groups(db, tenant, limit).await?)
}

/// Moves of a tenant's watermark before the move `before`, newest first.
pub async fn moves(
    db: &DbPool,
    tenant: TenantId,
    before: Option<i64>,
    limit: i64,
) -> OperationResult<Page<Move, i64>> {
    let found = ledger::watermark::list_moves(db, tenant, before, limit + 1).await?;
    Ok(Page::cut(found, limit, |moved| moved.id))
}
