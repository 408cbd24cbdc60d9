//! From running to its end, with the totals of its chunks.

use std::collections::HashMap;

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
    // as LOCK_COMPLETE: these runs only, by their ids
    LOCK_NAMED = "SELECT id, tenant_id, type, watermark_start, watermark_end, chunks_total, traceparent FROM etl_control r \
                  WHERE id = ANY($1) AND status = 'running' AND finished_at IS NULL \
                    AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.run_id = r.id \
                                    AND (c.status = 'pending' OR c.status IN ('queued', 'running'))) \
                  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";
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

/// Like [`lock_complete`], for these runs only. It costs what they have, whatever else is open.
pub async fn lock_named(tx: &mut PgTransaction<'_>, runs: &[RunId]) -> DbResult<Vec<CompleteRun>> {
    sqlx::query_as(LOCK_NAMED)
        .bind(stored(runs))
        .fetch_all(&mut **tx)
        .await
        .attempt("find complete runs")
}

/// Closes locked runs with the totals of their chunks, and returns the status of each, in the order of `ids`.
///
/// # Errors
/// When one of the runs is not running.
pub async fn close(tx: &mut PgTransaction<'_>, ids: &[RunId]) -> DbResult<Vec<RunStatus>> {
    let closed: Vec<(Stored<RunId>, Stored<RunStatus>)> = sqlx::query_as(CLOSE)
        .bind(stored(ids))
        .bind(i64::try_from(MAX_REJECTS).expect("a small number"))
        .bind(i64::try_from(MAX_REJECT_PERCENT).expect("a percentage"))
        .fetch_all(&mut **tx)
        .await
        .attempt("close the runs")?;
    let closed: HashMap<RunId, RunStatus> = closed
        .into_iter()
        .map(|(Stored(id), Stored(status))| (id, status))
        .collect();
    ids.iter()
        .map(|id| closed.get(id).copied().ok_or(sqlx::Error::RowNotFound))
        .collect::<Result<_, _>>()
        .attempt("close a run that is not running")
}
