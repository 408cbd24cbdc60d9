//! Chunks as operators see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::job::{Job, Lane, TraceContext};

use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, or_all, statements};

/// Lists chunks of the newest runs. The condition is in the text, so that a generic plan can use the partial index. $1
/// run, $2 statuses, $3 tenant, $4 lane, $5 limit, after chunk $7 of run $6.
macro_rules! list {
    ($condition:literal) => {
        list!("etl_chunk c", $condition)
    };
    ($from:literal, $condition:literal) => {
        concat!(
            "SELECT c.run_id, c.seq, c.tenant_id, c.lane::text, c.status::text, c.key_count, c.attempt, c.failure_count, c.lost_count, \
                    c.worker_id, c.lease_until, CASE WHEN c.status = 'pending' THEN c.next_attempt_at END AS due_at, \
                    c.queued_at, c.started_at, c.finished_at, c.extracted, c.rejected, c.error \
             FROM ",
            $from,
            " WHERE ",
            $condition,
            " AND c.status = ANY($2::text[]::etl_chunk_status[]) \
              AND ($3::integer IS NULL OR c.tenant_id = $3) AND ($4::text IS NULL OR c.lane = $4::text::etl_lane) \
              AND c.run_id <= $6 AND (c.run_id < $6 OR c.seq > $7) ORDER BY c.run_id DESC, c.seq LIMIT $5"
        )
    };
}

statements! {
    // each repeats the condition of its partial index: a generic plan does not see the values of parameters
    LIST_OF_RUN = list!("c.run_id = $1::bigint");
    LIST_TROUBLED_OF_RUN = list!("c.run_id = $1::bigint AND (c.failure_count > 0 OR c.lost_count > 0 OR c.status = 'dead')");
    LIST_TROUBLED = list!("$1::bigint IS NULL AND (c.failure_count > 0 OR c.lost_count > 0 OR c.status = 'dead')");
    LIST_DEAD = list!("$1::bigint IS NULL AND c.status = 'dead'");
    LIST_UNFINISHED = list!("$1::bigint IS NULL AND (c.status = 'pending' OR c.status IN ('queued', 'running'))");
    // from run to run of the tenant: the newest chunks may all be those of others
    LIST_OF_TENANT = list!(
        "etl_control r JOIN etl_chunk c ON c.run_id = r.id",
        "$1::bigint IS NULL AND r.tenant_id = $3 AND r.id <= $6"
    );
    LIST_ALL = list!("$1::bigint IS NULL");
    FIND_WAITING = "SELECT c.lane::text, c.attempt, c.traceparent, c.tracestate \
                    FROM etl_chunk c JOIN etl_control r ON r.id = c.run_id AND r.status = 'running' \
                    WHERE c.run_id = $1 AND c.seq = $2 AND c.tenant_id = $3 AND c.status IN ('pending', 'queued')";
}

/// A chunk's row, without its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct ChunkReport {
    #[sqlx(try_from = "Stored<RunId>")]
    pub run_id: RunId,
    pub seq: i32,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(try_from = "Stored<Lane>")]
    pub lane: Lane,
    #[sqlx(try_from = "Stored<ChunkStatus>")]
    pub status: ChunkStatus,
    /// Conversations in it; for a range, as counted when it was planned.
    pub key_count: i64,
    pub attempt: i32,
    /// Attempts that failed.
    pub failure_count: i32,
    /// Leases that ran out because the worker disappeared.
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

/// Which chunks to list; the default is all.
#[derive(Debug, Clone, Default)]
pub struct ChunkFilter {
    pub run: Option<RunId>,
    /// Any of these; empty: all.
    pub statuses: Vec<ChunkStatus>,
    pub tenant: Option<TenantId>,
    pub lane: Option<Lane>,
    /// Only chunks with a failed attempt or a lost worker.
    pub troubled: bool,
}

/// Chunks of the newest runs first, behind the chunk `after`, at most `limit`.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &ChunkFilter,
    after: Option<ChunkId>,
    limit: i64,
) -> DbResult<Vec<ChunkReport>> {
    // chunks are counted from 1
    let after = after.unwrap_or(ChunkId {
        run_id: RunId(i64::MAX),
        seq: 0,
    });
    let statuses = or_all(&filter.statuses, &ChunkStatus::ALL);
    let text = match (filter.run, filter.troubled) {
        (Some(_), false) => LIST_OF_RUN,
        (Some(_), true) => LIST_TROUBLED_OF_RUN,
        (None, true) => LIST_TROUBLED,
        (None, false) if *statuses == [ChunkStatus::Dead] => LIST_DEAD,
        (None, false) if statuses.iter().all(|status| status.is_open()) => LIST_UNFINISHED,
        (None, false) if filter.tenant.is_some() => LIST_OF_TENANT,
        (None, false) => LIST_ALL,
    };
    sqlx::query_as(text)
        .bind(filter.run.map(Stored))
        .bind(stored(statuses))
        .bind(filter.tenant.map(Stored))
        .bind(filter.lane.map(Stored))
        .bind(limit)
        .bind(Stored(after.run_id))
        .bind(after.seq)
        .fetch_all(db)
        .await
        .attempt("list the chunks")
}

/// The job of a chunk that waits to be claimed; `None` when the chunk no longer waits.
pub async fn find_waiting(
    db: impl PgExecutor<'_>,
    chunk: ChunkId,
    tenant: TenantId,
) -> DbResult<Option<(Job, Lane, TraceContext)>> {
    let found: Option<(Stored<Lane>, i32, _, _)> = sqlx::query_as(FIND_WAITING)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(Stored(tenant))
        .fetch_optional(db)
        .await
        .attempt("find the chunk")?;
    Ok(found.map(|(Stored(lane), attempt, traceparent, tracestate)| {
        let context = TraceContext {
            traceparent,
            tracestate,
        };
        (Job::new(chunk, tenant, attempt), lane, context)
    }))
}
