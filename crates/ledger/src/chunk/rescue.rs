//! Back to pending without the worker: leases that ran out, and messages that were lost.

use std::time::Duration;

use sqlx::{FromRow, PgExecutor};
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{RunId, TenantId};

use crate::stored::Stored;
use crate::{Attempt, DbResult, secs, statements};

statements! {
    RESCUE_LOST = include_str!("rescue_lost.sql");
    // waiting for a worker is normal under load, so each publication waits twice as long as the one before
    RESCUE_QUEUED = "UPDATE etl_chunk SET status = 'pending', next_attempt_at = now() \
                     WHERE (run_id, seq) IN (SELECT run_id, seq FROM etl_chunk WHERE status = 'queued' \
                         AND queued_at < now() - CASE WHEN published_at IS NULL THEN make_interval(secs => 15) \
                             ELSE make_interval(secs => $1) * power(2, least(publish_count - 1, 6)) END \
                         ORDER BY run_id, seq LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED) \
                     RETURNING run_id, seq, tenant_id, attempt, status::text, traceparent, tracestate";
}

/// A chunk that rescue has moved, with its new state.
#[derive(Debug, Clone, FromRow)]
pub struct RescuedChunk {
    #[sqlx(try_from = "Stored<RunId>")]
    pub run_id: RunId,
    pub seq: i32,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub attempt: i32,
    #[sqlx(try_from = "Stored<ChunkStatus>")]
    pub status: ChunkStatus,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}

/// Returns chunks whose lease has ended to pending; after `max_lost` lost leases a chunk is dead.
pub async fn rescue_lost(db: impl PgExecutor<'_>, max_lost: i32) -> DbResult<Vec<RescuedChunk>> {
    sqlx::query_as(RESCUE_LOST)
        .bind(max_lost)
        .fetch_all(db)
        .await
        .attempt("rescue lost chunks")
}

/// Returns chunks to pending that were queued and never claimed: the broker may have lost them. Publishing one twice is
/// harmless.
pub async fn rescue_queued(db: impl PgExecutor<'_>, requeue_after: Duration) -> DbResult<Vec<RescuedChunk>> {
    sqlx::query_as(RESCUE_QUEUED)
        .bind(secs(requeue_after))
        .fetch_all(db)
        .await
        .attempt("rescue queued chunks")
}
