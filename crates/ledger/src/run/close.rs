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
    // each chunk alone may have few rejects and the run too many; see db/reject.rs for those that count
    CLOSE = "WITH total AS ( \
                 SELECT count(*) FILTER (WHERE status = 'done') AS done, \
                        count(*) FILTER (WHERE status = 'dead') AS dead, \
                        count(*) FILTER (WHERE status = 'cancelled') AS cancelled, \
                        coalesce(sum(extracted), 0)::bigint AS extracted, coalesce(sum(inserted), 0)::bigint AS inserted, \
                        coalesce(sum(updated), 0)::bigint AS updated, coalesce(sum(unchanged), 0)::bigint AS unchanged, \
                        coalesce(sum(stale), 0)::bigint AS stale, coalesce(sum(deleted), 0)::bigint AS deleted, \
                        coalesce(sum(rejected), 0)::bigint AS rejected, \
                        (array_agg(error ORDER BY seq) FILTER (WHERE status = 'dead'))[1] AS error \
                 FROM etl_chunk WHERE run_id = $1), \
             fresh AS ( \
                 SELECT count(*) > $2 AND count(*) * 100 > max(t.extracted) * $3 AS too_many, \
                        format('%s of %s rows cannot be taken: these are no single bad rows', \
                               count(*), max(t.extracted)) AS error \
                 FROM total t \
                 JOIN etl_rejected_row j ON j.run_id = $1 AND j.resolved_at IS NULL \
                 JOIN etl_control r ON r.id = $1 AND r.tenant_id = j.tenant_id \
                 JOIN etl_watermark w ON w.tenant_id = j.tenant_id \
                 WHERE w.advanced_at IS NULL OR j.first_seen_at > w.advanced_at) \
             UPDATE etl_control SET finished_at = now(), \
                    status = CASE WHEN total.dead > 0 OR total.cancelled > 0 OR fresh.too_many THEN 'failed' \
                                  WHEN total.rejected > 0 THEN 'partial' ELSE 'success' END::etl_run_status, \
                    chunks_done = total.done, chunks_dead = total.dead, \
                    records_extracted = total.extracted, records_inserted = total.inserted, \
                    records_updated = total.updated, records_unchanged = total.unchanged, records_stale = total.stale, \
                    records_deleted = total.deleted, records_rejected = total.rejected, \
                    error_message = coalesce(total.error, CASE WHEN fresh.too_many THEN fresh.error END, error_message) \
             FROM total, fresh WHERE id = $1 AND status = 'running' RETURNING status";
}

/// A run all of whose chunks are terminal, locked for closing.
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

/// Locks runs all of whose chunks are terminal; those that another finalizer holds are left to it, and so are `except`.
///
/// # Errors
/// When the ledger does not answer.
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

/// Closes a locked run with the totals of its chunks and says how it ended.
///
/// # Errors
/// When the ledger does not answer, or the run is not running.
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
