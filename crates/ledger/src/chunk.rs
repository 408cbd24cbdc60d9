//! `etl_chunk`: the unit of work. Every transition names the state that it leaves.

use crate::stored::{Stored, stored};
use std::time::Duration;

use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::{Attempt, DbResult, secs, statements};
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::{ChunkCounts, ChunkSpec, ChunkStatus, PlannedChunk};
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::job::{Lane, TraceContext};
use tidemark_shared::run::RunType;

statements! {
    INSERT = "INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, traceparent, tracestate) \
              SELECT $1, seq, $2, $3, spec, key_count, $4, $5 \
              FROM unnest($6::jsonb[], $7::bigint[]) WITH ORDINALITY AS new (spec, key_count, seq)";
    DISPATCH_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('tidemark/dispatch', 0))";
    BRING_FORWARD = include_str!("bring_forward.sql");
    DISPATCH = include_str!("dispatch.sql");
    MARK_PUBLISHED = "UPDATE etl_chunk c SET published_at = now(), publish_count = publish_count + 1 \
                      FROM (SELECT l.run_id, l.seq FROM etl_chunk l \
                            JOIN unnest($1::bigint[], $2::integer[]) AS n (run_id, seq) \
                              ON l.run_id = n.run_id AND l.seq = n.seq \
                            WHERE l.status = 'queued' ORDER BY l.run_id, l.seq FOR NO KEY UPDATE OF l) p \
                      WHERE c.run_id = p.run_id AND c.seq = p.seq AND c.status = 'queued'";
    UNQUEUE = "UPDATE etl_chunk c SET status = 'pending', next_attempt_at = now() + make_interval(secs => $3) \
               FROM (SELECT l.run_id, l.seq FROM etl_chunk l \
                     JOIN unnest($1::bigint[], $2::integer[]) AS n (run_id, seq) ON l.run_id = n.run_id AND l.seq = n.seq \
                     WHERE l.status = 'queued' ORDER BY l.run_id, l.seq FOR NO KEY UPDATE OF l) p \
               WHERE c.run_id = p.run_id AND c.seq = p.seq AND c.status = 'queued'";
    REQUEUE = "UPDATE etl_chunk c SET status = 'pending', next_attempt_at = now() \
               FROM (SELECT run_id, seq FROM etl_chunk WHERE run_id = ANY($1) AND status = 'queued' \
                     ORDER BY run_id, seq FOR NO KEY UPDATE) p \
               WHERE c.run_id = p.run_id AND c.seq = p.seq AND c.status = 'queued'";
    CLAIM = "UPDATE etl_chunk c SET status = 'running', attempt = c.attempt + 1, worker_id = $4, \
                    lease_until = now() + make_interval(secs => $5), started_at = coalesce(c.started_at, now()) \
             FROM etl_control r, tenants t \
             WHERE c.run_id = $1 AND c.seq = $2 AND c.tenant_id = $3 \
               AND r.id = c.run_id AND r.status = 'running' \
               AND t.id = c.tenant_id AND t.paused_at IS NULL AND t.deleted_at IS NULL \
               AND (c.status = 'queued' OR (c.status = 'pending' AND c.next_attempt_at <= now())) \
             RETURNING c.tenant_id, c.attempt, c.failure_count, c.lane, c.spec, c.key_count, c.traceparent, c.tracestate, \
                       r.type AS run_type, t.source, t.timezone, \
                       extract(epoch FROM now() - c.queued_at)::float8 AS waited_s, \
                       coalesce((r.request ->> 'allow_mass_delete')::boolean, false) AS allows_mass_delete";
    RENEW = "UPDATE etl_chunk SET lease_until = now() + make_interval(secs => $4) \
             WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running'";
    // now() would be when the load began, which is before the chunk was read
    COMPLETE = "UPDATE etl_chunk SET status = 'done', lease_until = NULL, finished_at = clock_timestamp(), error = NULL, \
                       extracted = $4, inserted = $5, updated = $6, unchanged = $7, stale = $8, deleted = $9, \
                       rejected = $10, gone = $11, source_epoch = $12, source_xmax = $13, source_in_progress = $14, \
                       source_extracted_at = $15 \
                WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running'";
    LOCK_MINE = "SELECT true FROM etl_chunk WHERE run_id = $1 AND seq = $2 AND attempt = $3 AND status = 'running' \
                 FOR NO KEY UPDATE";
    // chunks of one run do not overlap
    READ_LATER = "SELECT spec FROM etl_chunk WHERE tenant_id = $1 AND run_id <> $2 AND status = 'done' \
                    AND (source_epoch, source_xmax, -source_in_progress, source_extracted_at) > ($3, $4, -$5::integer, $6)";
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
    COUNT_DELETED = "SELECT coalesce(sum(deleted), 0)::bigint FROM etl_chunk WHERE run_id = $1 AND status = 'done'";
    LOCK_RUN = "SELECT FROM etl_control WHERE id = $1 FOR NO KEY UPDATE";
    LOCK_OPEN = "SELECT FROM etl_chunk WHERE run_id = $1 AND status IN ('pending', 'queued', 'running') \
                 ORDER BY seq FOR NO KEY UPDATE";
    CANCEL_WAITING = "UPDATE etl_chunk c SET status = 'cancelled', finished_at = now() \
                      FROM (SELECT run_id, seq FROM etl_chunk WHERE run_id = $1 AND status IN ('pending', 'queued') \
                            ORDER BY seq FOR NO KEY UPDATE) p \
                      WHERE c.run_id = p.run_id AND c.seq = p.seq AND c.status IN ('pending', 'queued')";
    RESCUE_LOST = "UPDATE etl_chunk SET lease_until = NULL, worker_id = NULL, lost_count = lost_count + 1, \
                          status = CASE WHEN lost_count + 1 >= $1 THEN 'dead' ELSE 'pending' END::etl_chunk_status, \
                          finished_at = CASE WHEN lost_count + 1 >= $1 THEN now() END, \
                          error = CASE WHEN lost_count + 1 >= $1 \
                                       THEN format('its workers vanished %s times (last: %s)', lost_count + 1, worker_id) \
                                       ELSE error END, \
                          next_attempt_at = now() \
                   WHERE (run_id, seq) IN (SELECT run_id, seq FROM etl_chunk \
                                           WHERE status = 'running' AND lease_until < now() \
                                           ORDER BY run_id, seq LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED) \
                   RETURNING run_id, seq, tenant_id, attempt, status, traceparent, tracestate";
    // waiting for a worker is normal under load, so each publication waits twice as long as the one before
    RESCUE_QUEUED = "UPDATE etl_chunk SET status = 'pending', next_attempt_at = now() \
                     WHERE (run_id, seq) IN (SELECT run_id, seq FROM etl_chunk WHERE status = 'queued' \
                         AND queued_at < now() - CASE WHEN published_at IS NULL THEN make_interval(secs => 15) \
                             ELSE make_interval(secs => $1) * power(2, least(publish_count - 1, 6)) END \
                         ORDER BY run_id, seq LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED) \
                     RETURNING run_id, seq, tenant_id, attempt, status, traceparent, tracestate";
    BEGIN_TRACES = "UPDATE etl_chunk c SET traceparent = t.traceparent, tracestate = t.tracestate \
                    FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[]) AS t (run_id, seq, traceparent, tracestate) \
                    WHERE c.run_id = t.run_id AND c.seq = t.seq AND c.status = 'queued'";
    LIST_NOTABLE_TRACES = "SELECT traceparent, tracestate FROM etl_chunk WHERE run_id = $1 \
                           ORDER BY status = 'dead' DESC, failure_count + lost_count DESC, \
                                    finished_at - started_at DESC NULLS LAST, seq LIMIT $2";
}

/// How much may be under way, beside each tenant's own limit.
#[derive(Debug, Clone)]
pub struct DispatchLimits {
    /// Chunks queued or running over the whole fleet.
    pub fleet: i32,
    /// The same for each source, by name.
    pub sources: Vec<(String, i32)>,
}

/// How much of a limit bulk chunks may take: an eighth of it, and at least one place, is kept for live ones. A limit of
/// one is shared.
#[must_use]
pub const fn bulk_share(limit: i32) -> i32 {
    let reserved = if limit < 8 { 1 } else { limit / 8 };
    if limit > 1 { limit - reserved } else { limit }
}

/// A chunk that the dispatcher has just marked queued.
#[derive(Debug, Clone, FromRow)]
pub struct DispatchedChunk {
    #[sqlx(try_from = "Stored<RunId>")]
    pub run_id: RunId,
    pub seq: i32,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(try_from = "Stored<Lane>")]
    pub lane: Lane,
    pub attempt: i32,
    /// `None`: the chunk's trace begins with this dispatch.
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub run_traceparent: Option<String>,
}

impl DispatchedChunk {
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        ChunkId {
            run_id: self.run_id,
            seq: self.seq,
        }
    }
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
    /// Since its dispatch.
    waited_s: Option<f64>,
    /// The request says that many conversations, or all, may be gone.
    pub allows_mass_delete: bool,
}

impl ClaimedChunk {
    /// How long the chunk waited between dispatch and claim; `None` when it was never dispatched.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.waited_s?).ok()
    }
}

/// A chunk that rescue has moved, and where to.
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

/// Writes a run's chunks, numbered from 1 in their order.
///
/// # Errors
/// When the ledger does not answer.
pub async fn insert_all(
    tx: &mut PgTransaction<'_>,
    run: RunId,
    tenant: TenantId,
    lane: Lane,
    chunks: &[PlannedChunk],
    context: &TraceContext,
) -> DbResult<()> {
    let specs: Vec<Json<&ChunkSpec>> = chunks.iter().map(|chunk| Json(&chunk.spec)).collect();
    let key_counts: Vec<i64> = chunks.iter().map(|chunk| chunk.key_count).collect();
    sqlx::query(INSERT)
        .bind(Stored(run))
        .bind(Stored(tenant))
        .bind(Stored(lane))
        .bind(&context.traceparent)
        .bind(&context.tracestate)
        .bind(specs)
        .bind(key_counts)
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("insert the chunks")
}

/// Marks due chunks queued, round-robin over tenants, within the limits; `None` when another dispatcher is at it.
/// `only` restricts it to these runs.
///
/// # Errors
/// When the ledger does not answer.
pub async fn dispatch(
    tx: &mut PgTransaction<'_>,
    limits: &DispatchLimits,
    only: Option<&[RunId]>,
) -> DbResult<Option<Vec<DispatchedChunk>>> {
    let locked: bool = sqlx::query_scalar(DISPATCH_LOCK)
        .fetch_one(&mut **tx)
        .await
        .attempt("take the dispatch lock")?;
    if !locked {
        return Ok(None);
    }
    sqlx::query(BRING_FORWARD)
        .bind(only.map(stored))
        .execute(&mut **tx)
        .await
        .attempt("bring comparisons forward that are due")?;
    let names: Vec<&str> = limits.sources.iter().map(|(name, _)| name.as_str()).collect();
    let rooms: Vec<i32> = limits.sources.iter().map(|(_, room)| *room).collect();
    let bulk_rooms: Vec<i32> = rooms.iter().copied().map(bulk_share).collect();
    sqlx::query_as(DISPATCH)
        .bind(limits.fleet)
        .bind(names)
        .bind(rooms)
        .bind(bulk_share(limits.fleet))
        .bind(bulk_rooms)
        .bind(only.map(stored))
        .fetch_all(&mut **tx)
        .await
        .map(Some)
        .attempt("dispatch chunks")
}

/// Notes the traces that begin with the dispatch of these chunks, in the transaction that marks them queued.
///
/// # Errors
/// When the ledger does not answer.
pub async fn begin_traces(tx: &mut PgTransaction<'_>, traces: &[(ChunkId, TraceContext)]) -> DbResult<()> {
    if traces.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&TraceContext) -> &Option<String>| -> Vec<Option<String>> {
        traces.iter().map(|(_, context)| of(context).clone()).collect()
    };
    let (runs, seqs): (Vec<_>, Vec<_>) = traces.iter().map(|(id, _)| (id.run_id, id.seq)).unzip();
    sqlx::query(BEGIN_TRACES)
        .bind(stored(runs))
        .bind(seqs)
        .bind(column(|context| &context.traceparent))
        .bind(column(|context| &context.tracestate))
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("note the traces of chunks")
}

/// Traces of a run's chunks, those that failed first and then the slowest.
///
/// # Errors
/// When the ledger does not answer.
pub async fn list_notable_traces(
    db: impl PgExecutor<'_>,
    run: RunId,
    limit: i64,
) -> DbResult<Vec<TraceContext>> {
    let traces: Vec<(Option<String>, Option<String>)> = sqlx::query_as(LIST_NOTABLE_TRACES)
        .bind(Stored(run))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the traces of chunks")?;
    Ok(traces
        .into_iter()
        .map(|(traceparent, tracestate)| TraceContext {
            traceparent,
            tracestate,
        })
        .collect())
}

/// In the order in which everybody locks chunks.
fn columns(chunks: &[ChunkId]) -> (Vec<RunId>, Vec<i32>) {
    let mut chunks = chunks.to_vec();
    chunks.sort_unstable();
    chunks.iter().map(|chunk| (chunk.run_id, chunk.seq)).unzip()
}

/// # Errors
/// When the ledger does not answer.
pub async fn mark_published(db: impl PgExecutor<'_>, chunks: &[ChunkId]) -> DbResult<()> {
    let (runs, seqs) = columns(chunks);
    sqlx::query(MARK_PUBLISHED)
        .bind(stored(runs))
        .bind(seqs)
        .execute(db)
        .await
        .map(drop)
        .attempt("mark chunks published")
}

/// Back to pending, due after `delay`: the broker did not take them.
///
/// # Errors
/// When the ledger does not answer.
pub async fn unqueue(db: impl PgExecutor<'_>, chunks: &[ChunkId], delay: Duration) -> DbResult<()> {
    let (runs, seqs) = columns(chunks);
    sqlx::query(UNQUEUE)
        .bind(stored(runs))
        .bind(seqs)
        .bind(secs(delay))
        .execute(db)
        .await
        .map(drop)
        .attempt("return chunks to pending")
}

/// Returns the queued chunks of these runs to pending, whoever published them.
///
/// # Errors
/// When the ledger does not answer.
pub async fn requeue(db: impl PgExecutor<'_>, runs: &[RunId]) -> DbResult<()> {
    sqlx::query(REQUEUE)
        .bind(stored(runs))
        .execute(db)
        .await
        .map(drop)
        .attempt("return chunks to pending")
}

/// Takes a chunk for execution; `None` when it is not claimable: done, dead, cancelled, held by a live lease, backing
/// off, of another tenant than the message says, of one that is paused or removed, or unknown.
///
/// # Errors
/// When the ledger does not answer.
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

/// How many rows the run's chunks that are done have marked deleted.
///
/// # Errors
/// When the ledger does not answer.
pub async fn count_deleted(db: impl PgExecutor<'_>, run: RunId) -> DbResult<i64> {
    sqlx::query_scalar(COUNT_DELETED)
        .bind(Stored(run))
        .fetch_one(db)
        .await
        .attempt("count what the run has marked deleted")
}

/// Prolongs the lease; `false` when this attempt no longer holds it.
///
/// # Errors
/// When the ledger does not answer.
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

/// What the tenant's chunks that other runs have read later than `version`, and completed, cover.
///
/// # Errors
/// When the ledger does not answer.
pub async fn read_later(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    run: RunId,
    version: &SourceVersion,
) -> DbResult<Vec<ChunkSpec>> {
    let specs: Vec<Json<ChunkSpec>> = sqlx::query_scalar(READ_LATER)
        .bind(Stored(tenant))
        .bind(Stored(run))
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(version.snapshot.clock)
        .fetch_all(db)
        .await
        .attempt("look for newer reads")?;
    Ok(specs.into_iter().map(|Json(spec)| spec).collect())
}

/// Whether this attempt holds the chunk, which it then does until the transaction ends.
///
/// # Errors
/// When the ledger does not answer.
pub async fn lock_mine(db: impl PgExecutor<'_>, chunk: ChunkId, attempt: i32) -> DbResult<bool> {
    sqlx::query_scalar(LOCK_MINE)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(attempt)
        .fetch_optional(db)
        .await
        .map(|mine: Option<bool>| mine.is_some())
        .attempt("look whether the chunk is still held")
}

/// Marks the chunk done in the transaction that wrote its rows; `false` when this attempt no longer holds it, and
/// then the caller must roll back. `None` for a version: it has written none that an older read could undo.
///
/// # Errors
/// When the ledger does not answer.
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
        .execute(tx)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("complete the chunk")
}

/// Gives an unfinished chunk back at once; spends no attempt of its limit.
///
/// # Errors
/// When the ledger does not answer.
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

/// Gives a chunk back until `after` has passed, because of `error`; spends no attempt of its limit.
///
/// # Errors
/// When the ledger does not answer.
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

/// Notes a failed attempt: due again after `retry_after`, or dead when that is `None`. `false` when this attempt no longer
/// holds the chunk.
///
/// # Errors
/// When the ledger does not answer.
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

/// Nothing of the run passes until somebody mends it: this chunk is dead, and what of the run has not begun is cancelled.
/// An attempt that no longer holds its chunk has no say in it.
///
/// # Errors
/// When the ledger does not answer.
pub async fn fail_run(db: &DbPool, chunk: ChunkId, attempt: i32, error: &str) -> DbResult<()> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    // the run, and then its chunks from the first on, as a cancel does: this chunk is not the first of them
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

/// Cancels what of a run has not begun; chunks that run go on to their end.
///
/// # Errors
/// When the ledger does not answer.
pub async fn cancel_waiting(db: impl PgExecutor<'_>, run: RunId) -> DbResult<u64> {
    sqlx::query(CANCEL_WAITING)
        .bind(Stored(run))
        .execute(db)
        .await
        .map(|done| done.rows_affected())
        .attempt("cancel the waiting chunks")
}

/// Returns chunks whose lease is over; after `max_lost` lost leases they are dead.
///
/// # Errors
/// When the ledger does not answer.
pub async fn rescue_lost(db: impl PgExecutor<'_>, max_lost: i32) -> DbResult<Vec<RescuedChunk>> {
    sqlx::query_as(RESCUE_LOST)
        .bind(max_lost)
        .fetch_all(db)
        .await
        .attempt("rescue lost chunks")
}

/// Returns chunks that were queued and never claimed: the broker may have lost them. Publishing again is harmless.
///
/// # Errors
/// When the ledger does not answer.
pub async fn rescue_queued(db: impl PgExecutor<'_>, requeue_after: Duration) -> DbResult<Vec<RescuedChunk>> {
    sqlx::query_as(RESCUE_QUEUED)
        .bind(secs(requeue_after))
        .fetch_all(db)
        .await
        .attempt("rescue queued chunks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_leaves_an_eighth_of_a_limit_to_live_and_shares_a_single_place() {
        assert_eq!([1, 2, 7, 8, 32, 256].map(bulk_share), [1, 1, 6, 7, 28, 224]);
    }
}
