//! Chunks as operators see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};

use super::{Attempt, DbResult, statements};
use crate::chunk::ChunkStatus;
use crate::ids::{ChunkId, RunId, TenantId};
use crate::job::{Job, Lane, TraceContext};

statements! {
    LIST = "SELECT run_id, seq, tenant_id, lane, status, key_count, attempt, failure_count, lost_count, worker_id, \
                   lease_until, CASE WHEN status = 'pending' THEN next_attempt_at END AS due_at, queued_at, started_at, \
                   finished_at, extracted, rejected, error \
            FROM etl_chunk \
            WHERE ($1::bigint IS NULL OR run_id = $1) \
              AND (cardinality($2::etl_chunk_status[]) = 0 OR status = ANY($2)) \
              AND ($3::integer IS NULL OR tenant_id = $3) AND ($4::etl_lane IS NULL OR lane = $4) \
              AND (NOT $5 OR failure_count > 0 OR lost_count > 0 OR status = 'dead') \
            ORDER BY run_id DESC, seq LIMIT $6";
    FIND_WAITING = "SELECT c.lane, c.attempt, c.traceparent, c.tracestate \
                    FROM etl_chunk c JOIN etl_control r ON r.id = c.run_id AND r.status = 'running' \
                    WHERE c.run_id = $1 AND c.seq = $2 AND c.tenant_id = $3 AND c.status IN ('pending', 'queued')";
}

/// A chunk's row, without its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct ChunkReport {
    pub run_id: RunId,
    pub seq: i32,
    pub tenant_id: TenantId,
    pub lane: Lane,
    pub status: ChunkStatus,
    /// Conversations in it; for a range, as counted at the plan.
    pub key_count: i64,
    pub attempt: i32,
    /// Attempts that failed.
    pub failure_count: i32,
    /// Leases that ran out, their workers gone.
    pub lost_count: i32,
    pub worker_id: Option<String>,
    pub lease_until: Option<DateTime<Utc>>,
    /// When a pending chunk is tried next.
    pub due_at: Option<DateTime<Utc>>,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub extracted: i64,
    pub rejected: i64,
    pub error: Option<String>,
}

impl ChunkReport {
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        ChunkId {
            run_id: self.run_id,
            seq: self.seq,
        }
    }
}

/// Which chunks to list; nothing set: all.
#[derive(Debug, Clone, Default)]
pub struct ChunkFilter {
    pub run: Option<RunId>,
    /// Any of these; empty: all.
    pub statuses: Vec<ChunkStatus>,
    pub tenant: Option<TenantId>,
    pub lane: Option<Lane>,
    /// Only those of which an attempt failed or a worker vanished.
    pub troubled: bool,
}

/// Chunks of the newest runs first, at most `limit`.
///
/// # Errors
/// When the ledger does not answer.
pub async fn list(db: impl PgExecutor<'_>, filter: &ChunkFilter, limit: i64) -> DbResult<Vec<ChunkReport>> {
    sqlx::query_as(LIST)
        .bind(filter.run)
        .bind(&filter.statuses)
        .bind(filter.tenant)
        .bind(filter.lane)
        .bind(filter.troubled)
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the chunks")
}

/// The job of a chunk that waits to be claimed, as the ledger knows it; `None` when nobody wants the chunk any more.
///
/// # Errors
/// When the ledger does not answer.
pub async fn find_waiting(
    db: impl PgExecutor<'_>,
    chunk: ChunkId,
    tenant: TenantId,
) -> DbResult<Option<(Job, Lane, TraceContext)>> {
    let found: Option<(Lane, i32, Option<String>, Option<String>)> = sqlx::query_as(FIND_WAITING)
        .bind(chunk.run_id)
        .bind(chunk.seq)
        .bind(tenant)
        .fetch_optional(db)
        .await
        .attempt("find the chunk")?;
    Ok(found.map(|(lane, attempt, traceparent, tracestate)| {
        let context = TraceContext {
            traceparent,
            tracestate,
        };
        (Job::new(chunk, tenant, attempt), lane, context)
    }))
}
