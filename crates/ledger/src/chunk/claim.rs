//! From queued to running: the claim, and its lease.

use std::time::Duration;

use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::ids::{ChunkId, TenantId};
use tidemark_shared::job::Lane;
use tidemark_shared::run::RunType;

use crate::stored::Stored;
use crate::{Attempt, DbResult, secs, statements};

statements! {
    CLAIM = include_str!("claim.sql");
    RENEW = "UPDATE etl_chunk SET lease_until = now() + make_interval(secs => $4) \
             WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running'";
    LOCK_CLAIMED = "SELECT true FROM etl_chunk WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running' \
                    FOR NO KEY UPDATE";
}

/// A chunk that this worker may execute until its lease ends.
#[derive(Debug, Clone, FromRow)]
pub struct ClaimedChunk {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    /// The fencing token of this execution.
    pub attempt: i32,
    pub failure_count: i32,
    #[sqlx(try_from = "Stored<Lane>")]
    pub lane: Lane,
    pub spec: Json<ChunkSpec>,
    pub key_count: i64,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    #[sqlx(try_from = "Stored<RunType>")]
    pub run_type: RunType,
    pub source: String,
    pub timezone: String,
    /// Seconds since dispatch.
    waited_s: Option<f64>,
    /// The request allows that many conversations, or all, are deleted.
    pub allows_mass_delete: bool,
}

impl ClaimedChunk {
    /// How long the chunk waited between dispatch and claim; `None` when it was never dispatched.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.waited_s?).ok()
    }
}

/// Claims a chunk for execution. `None` when it cannot be claimed: it has ended, another attempt has a valid lease, it
/// is backing off, the tenant is another one than in the message, paused or removed, or there is no such chunk.
pub async fn claim(
    db: impl PgExecutor<'_>,
    chunk: ChunkId,
    tenant: TenantId,
    worker: &str,
    lease: Duration,
) -> DbResult<Option<ClaimedChunk>> {
    sqlx::query_as(CLAIM)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(Stored(tenant))
        .bind(worker)
        .bind(secs(lease))
        .fetch_optional(db)
        .await
        .attempt("claim the chunk")
}

/// Extends the lease; `false` when this attempt no longer has the chunk.
pub async fn renew(db: impl PgExecutor<'_>, chunk: ChunkId, attempt: i32, lease: Duration) -> DbResult<bool> {
    sqlx::query(RENEW)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(attempt)
        .bind(secs(lease))
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("renew the lease")
}

/// Locks the chunk until the transaction ends; `false` when this attempt no longer has the chunk.
pub async fn lock_claimed(db: impl PgExecutor<'_>, chunk: ChunkId, attempt: i32) -> DbResult<bool> {
    sqlx::query_scalar(LOCK_CLAIMED)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(attempt)
        .fetch_optional(db)
        .await
        .map(|mine: Option<bool>| mine.is_some())
        .attempt("check that the attempt still has the chunk")
}
