//! From running to its end, with the totals of its chunks.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::postgres::PgTransaction;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};

use crate::reject::{MAX_REJECT_PERCENT, MAX_REJECTS};
use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, statements};

statements! {
    LOCK_COMPLETE = "SELECT id, tenant_id, type, watermark_start, watermark_end, chunks_total, traceparent FROM etl_control r \
                     WHERE status = 'running' AND finished_at IS NULL AND ($2::bigint[] IS NULL OR id = ANY($2)) AND id <> ALL($3::bigint[]) \
                       AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.run_id = r.id \
                                       AND (c.status = 'pending' OR c.status IN ('queued', 'running'))) \
                     ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED";
    CLOSE = include_str!("close.sql");
}

/// A locked run with only terminal chunks, ready to be closed.
#[derive(Debug, Clone, FromRow)]
pub struct CompleteRun {
    #[sqlx(try_from = "Stored<RunId>")]
    pub id: RunId,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(rename = "type")]
    #[sqlx(try_from = "Stored<RunType>")]
    pub run_type: RunType,
    pub watermark_start: Option<DateTime<Utc>>,
    pub watermark_end: Option<DateTime<Utc>>,
    pub chunks_total: i32,
    pub traceparent: Option<String>,
}

/// Locks runs that have only terminal chunks. Skips runs that another finalizer has locked, and those in `except`.
pub async fn lock_complete(
    tx: &mut PgTransaction<'_>,
    limit: i64,
    only: Option<&[RunId]>,
    except: &[RunId],
) -> DbResult<Vec<CompleteRun>> {
    sqlx::query_as(LOCK_COMPLETE)
        .bind(limit)
        .bind(only.map(stored))
        .bind(stored(except))
        .fetch_all(&mut **tx)
        .await
        .attempt("find complete runs")
}

/// Closes a locked run with the totals of its chunks and returns its status.
///
/// # Errors
/// When the run is not running.
pub async fn close(tx: &mut PgTransaction<'_>, id: RunId) -> DbResult<RunStatus> {
    sqlx::query_scalar(CLOSE)
        .bind(Stored(id))
        .bind(i64::try_from(MAX_REJECTS).expect("a small number"))
        .bind(i64::try_from(MAX_REJECT_PERCENT).expect("a percentage"))
        .fetch_one(&mut **tx)
        .await
        .map(|Stored(status)| status)
        .attempt("close the run")
}
