//! From running to done, dead or back to pending: how an attempt ends.

use std::time::Duration;

use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::{ChunkCounts, ChunkSpec};
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};

use crate::stored::Stored;
use crate::{Attempt, DbResult, secs, statements};

statements! {
    // not now(): that is when the load began, before the chunk was read
    COMPLETE = "UPDATE etl_chunk SET status = 'done', lease_until = NULL, finished_at = clock_timestamp(), error = NULL, \
                       extracted = $4, inserted = $5, updated = $6, unchanged = $7, stale = $8, deleted = $9, \
                       rejected = $10, gone = $11, source_epoch = $12, source_xmax = $13, source_in_progress = $14, \
                       source_extracted_at = $15, source_xmin = $16 \
                WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running'";
    // chunks of one run do not overlap
    LIST_NEWER_READS = "SELECT spec FROM etl_chunk WHERE tenant_id = $1 AND run_id <> $2 AND status = 'done' \
                          AND (source_epoch, source_xmax, -source_in_progress, source_extracted_at) > ($3, $4, -$5::integer, $6)";
    COUNT_DELETED = "SELECT coalesce(sum(deleted), 0)::bigint FROM etl_chunk WHERE run_id = $1 AND status = 'done'";
    RELEASE = "UPDATE etl_chunk SET status = 'pending', lease_until = NULL, worker_id = NULL, next_attempt_at = now() \
               WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running'";
    POSTPONE = "UPDATE etl_chunk SET status = 'pending', lease_until = NULL, worker_id = NULL, error = $4, \
                       next_attempt_at = now() + make_interval(secs => $5) \
                WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running'";
    FAIL = "UPDATE etl_chunk SET lease_until = NULL, worker_id = NULL, error = $4, failure_count = failure_count + 1, \
                   status = CASE WHEN $5::float8 IS NULL THEN 'dead' ELSE 'pending' END::etl_chunk_status, \
                   finished_at = CASE WHEN $5::float8 IS NULL THEN now() END, \
                   next_attempt_at = now() + make_interval(secs => coalesce($5, 0)) \
            WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running'";
    LOCK_RUN = "SELECT FROM etl_control WHERE id = $1 FOR NO KEY UPDATE";
    LOCK_OPEN = "SELECT FROM etl_chunk WHERE run_id = $1 AND status IN ('pending', 'queued', 'running') \
                 ORDER BY seq FOR NO KEY UPDATE";
    CANCEL_WAITING = "UPDATE etl_chunk c SET status = 'cancelled', finished_at = now() \
                      FROM (SELECT run_id, seq FROM etl_chunk WHERE run_id = $1 AND status IN ('pending', 'queued') \
                            ORDER BY seq FOR NO KEY UPDATE) p \
                      WHERE c.run_id = p.run_id AND c.seq = p.seq AND c.status IN ('pending', 'queued')";
}

/// Keys of the tenant's done chunks that other runs read later than `version`.
pub async fn list_newer_reads(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    run: RunId,
    version: &SourceVersion,
) -> DbResult<Vec<ChunkSpec>> {
    let specs: Vec<Json<ChunkSpec>> = sqlx::query_scalar(LIST_NEWER_READS)
        .bind(Stored(tenant))
        .bind(Stored(run))
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(version.snapshot.clock)
        .fetch_all(db)
        .await
        .attempt("list newer reads")?;
    Ok(specs.into_iter().map(|Json(spec)| spec).collect())
}

/// How many rows the run's done chunks have marked deleted.
pub async fn count_deleted(db: impl PgExecutor<'_>, run: RunId) -> DbResult<i64> {
    sqlx::query_scalar(COUNT_DELETED)
        .bind(Stored(run))
        .fetch_one(db)
        .await
        .attempt("count the rows that the run has marked deleted")
}

/// Marks the chunk done in the transaction that wrote its rows. `false` when this attempt no longer has the chunk: then
/// the caller must roll back. `version` is `None` when the chunk wrote nothing that an older read could undo.
pub async fn complete(
    tx: &mut PgConnection,
    chunk: ChunkId,
    attempt: i32,
    counts: &ChunkCounts,
    version: Option<&SourceVersion>,
) -> DbResult<bool> {
    sqlx::query(COMPLETE)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(attempt)
        .bind(counts.extracted)
        .bind(counts.inserted)
        .bind(counts.updated)
        .bind(counts.unchanged)
        .bind(counts.stale)
        .bind(counts.deleted)
        .bind(counts.rejected)
        .bind(counts.gone)
        .bind(version.map(|version| version.epoch))
        .bind(version.map(|version| version.snapshot.xmax))
        .bind(version.map(|version| version.snapshot.in_progress))
        .bind(version.map(|version| version.snapshot.clock))
        .bind(version.map(|version| version.snapshot.xmin))
        .execute(tx)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("complete the chunk")
}

/// Returns an unfinished chunk to pending at once. The attempt does not count against its limit.
pub async fn release(db: impl PgExecutor<'_>, chunk: ChunkId, attempt: i32) -> DbResult<()> {
    sqlx::query(RELEASE)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(attempt)
        .execute(db)
        .await
        .map(drop)
        .attempt("release the chunk")
}

/// Returns a chunk to pending until `after` has passed, because of `error`. The attempt does not count against its
/// limit.
pub async fn postpone(
    db: impl PgExecutor<'_>,
    chunk: ChunkId,
    attempt: i32,
    error: &str,
    after: Duration,
) -> DbResult<()> {
    sqlx::query(POSTPONE)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(attempt)
        .bind(error)
        .bind(secs(after))
        .execute(db)
        .await
        .map(drop)
        .attempt("postpone the chunk")
}

/// Records a failed attempt: due again after `retry_after`, or dead when that is `None`. `false` when this attempt no
/// longer has the chunk.
pub async fn fail(
    db: impl PgExecutor<'_>,
    chunk: ChunkId,
    attempt: i32,
    error: &str,
    retry_after: Option<Duration>,
) -> DbResult<bool> {
    sqlx::query(FAIL)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(attempt)
        .bind(error)
        .bind(retry_after.map(secs))
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("fail the chunk")
}

/// A configuration error blocks the whole run: this chunk is dead, and chunks of the run that have not begun are
/// cancelled. Nothing changes when this attempt no longer has the chunk.
pub async fn fail_run(db: &DbPool, chunk: ChunkId, attempt: i32, error: &str) -> DbResult<()> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    // the run first and then its chunks in order, as a cancel does: this chunk may not be the first
    sqlx::query(LOCK_RUN)
        .bind(Stored(chunk.run_id))
        .execute(&mut *tx)
        .await
        .attempt("lock the run")?;
    sqlx::query(LOCK_OPEN)
        .bind(Stored(chunk.run_id))
        .execute(&mut *tx)
        .await
        .attempt("lock the run's chunks")?;
    if fail(&mut *tx, chunk, attempt, error, None).await? {
        cancel_waiting(&mut *tx, chunk.run_id).await?;
    }
    tx.commit().await.attempt("fail the run")
}

/// Cancels the chunks of a run that have not begun; running chunks continue.
pub async fn cancel_waiting(db: impl PgExecutor<'_>, run: RunId) -> DbResult<u64> {
    sqlx::query(CANCEL_WAITING)
        .bind(Stored(run))
        .execute(db)
        .await
        .map(|done| done.rows_affected())
        .attempt("cancel the waiting chunks")
}
