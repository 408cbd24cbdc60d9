//! From running to its end, with the totals of its chunks.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgRow, PgTransaction};
use sqlx::{FromRow, Row};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};

use crate::coverage::Coverage;
use crate::reject::{MAX_REJECT_PERCENT, MAX_REJECTS};
use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, statements};

statements! {
    LOCK_COMPLETE = "SELECT id, tenant_id, type::text, watermark_start, watermark_end, chunks_total, traceparent, \
                            mapping_version, plan_epoch, plan_xmin, plan_clock, plan_since FROM etl_control r \
                     WHERE status = 'running' AND finished_at IS NULL AND ($2::bigint[] IS NULL OR id = ANY($2)) AND id <> ALL($3::bigint[]) \
                       AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.run_id = r.id \
                                       AND (c.status = 'pending' OR c.status IN ('queued', 'running'))) \
                     ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED";
    // as LOCK_COMPLETE: these runs only, by their ids
    LOCK_NAMED = "SELECT id, tenant_id, type::text, watermark_start, watermark_end, chunks_total, traceparent, \
                            mapping_version, plan_epoch, plan_xmin, plan_clock, plan_since FROM etl_control r \
                  WHERE id = ANY($1) AND status = 'running' AND finished_at IS NULL \
                    AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.run_id = r.id \
                                    AND (c.status = 'pending' OR c.status IN ('queued', 'running'))) \
                  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";
    CLOSE = include_str!("close.sql");
}

/// A locked run with only terminal chunks, ready to be closed.
#[derive(Debug, Clone)]
pub struct CompleteRun {
    pub id: RunId,
    pub tenant_id: TenantId,
    pub run_type: RunType,
    pub watermark_start: Option<DateTime<Utc>>,
    pub watermark_end: Option<DateTime<Utc>>,
    pub chunks_total: i32,
    pub traceparent: Option<String>,
    pub mapping_version: Option<i64>,
    pub coverage: Option<Coverage>,
}

impl FromRow<'_, PgRow> for CompleteRun {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get::<Stored<_>, _>("id")?.0,
            tenant_id: row.try_get::<Stored<_>, _>("tenant_id")?.0,
            run_type: row.try_get::<Stored<_>, _>("type")?.0,
            watermark_start: row.try_get("watermark_start")?,
            watermark_end: row.try_get("watermark_end")?,
            chunks_total: row.try_get("chunks_total")?,
            traceparent: row.try_get("traceparent")?,
            mapping_version: row.try_get("mapping_version")?,
            coverage: Coverage::from_row(row, ["plan_epoch", "plan_xmin", "plan_clock", "plan_since"])?,
        })
    }
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
