//! From pending to queued, and back when the broker did not take a chunk.

use std::time::Duration;

use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::job::Lane;

use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, secs, statements};

statements! {
    // and whether a comparison may be open: by the condition of an index without the many other runs
    DISPATCH_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('tidemark/dispatch', 0)), \
                            EXISTS (SELECT FROM etl_control WHERE finished_at IS NULL AND type NOT IN ('incremental', 'full'))";
    BRING_FORWARD = include_str!("bring_forward.sql");
    // the statement below takes milliseconds to plan, and mostly there is nothing to do
    IS_ANY_DUE = "SELECT EXISTS (SELECT FROM etl_chunk WHERE status = 'pending' AND next_attempt_at <= now())";
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
}

/// How many chunks may be queued or running, in addition to each tenant's own limit.
#[derive(Debug, Clone)]
pub struct DispatchLimits {
    /// Limit of the whole fleet.
    pub fleet: i32,
    /// Limit of each source, by name.
    pub sources: Vec<(String, i32)>,
}

/// How much of a limit bulk chunks may use. An eighth of it, and at least one, is reserved for live chunks. A limit of
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

/// Marks due chunks queued, round-robin over tenants, within the limits. `None` when another dispatcher is running.
/// `only` restricts it to these runs.
pub async fn dispatch(
    tx: &mut PgTransaction<'_>,
    limits: &DispatchLimits,
    only: Option<&[RunId]>,
) -> DbResult<Option<Vec<DispatchedChunk>>> {
    let (locked, may_compare): (bool, bool) = sqlx::query_as(DISPATCH_LOCK)
        .fetch_one(&mut **tx)
        .await
        .attempt("take the dispatch lock")?;
    if !locked {
        return Ok(None);
    }
    if may_compare {
        sqlx::query(BRING_FORWARD)
            .bind(only.map(stored))
            .execute(&mut **tx)
            .await
            .attempt("make due comparisons pending")?;
    }
    let is_any_due: bool = sqlx::query_scalar(IS_ANY_DUE)
        .fetch_one(&mut **tx)
        .await
        .attempt("look for due chunks")?;
    if !is_any_due {
        return Ok(Some(Vec::new()));
    }
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

/// Sorted, because every transaction locks chunks in this order.
fn columns(chunks: &[ChunkId]) -> (Vec<RunId>, Vec<i32>) {
    let mut chunks = chunks.to_vec();
    chunks.sort_unstable();
    chunks.iter().map(|chunk| (chunk.run_id, chunk.seq)).unzip()
}

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

/// Returns chunks to pending, due after `delay`: the broker did not take them.
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

/// Returns the queued chunks of these runs to pending, whichever process published them.
pub async fn requeue(db: impl PgExecutor<'_>, runs: &[RunId]) -> DbResult<()> {
    sqlx::query(REQUEUE)
        .bind(stored(runs))
        .execute(db)
        .await
        .map(drop)
        .attempt("return chunks to pending")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_leaves_an_eighth_of_a_limit_to_live_and_shares_a_single_place() {
        assert_eq!([1, 2, 7, 8, 32, 256].map(bulk_share), [1, 1, 6, 7, 28, 224]);
    }
}
