//! What the ledger no longer needs: runs with their chunks, moves of watermarks, rejects that were resolved. Every statement
//! takes a bounded number of rows, and leaves alone what another transaction holds.

use std::ops::AddAssign;

use serde::Serialize;
use sqlx::FromRow;

use super::{Attempt, DbResult, secs, statements};
use tidemark_postgres::DbPool;
use tidemark_runtime::config::RetentionSettings;

/// A tenant's newest runs stay however old they are: `run list` should not be empty, and the newest one and the last that
/// ended say whether an agreement still stands.
const NEWEST_RUNS_KEPT: i64 = 20;
/// Runs a statement. One has some thousand chunks at the most, as a rule one.
const RUNS_AT_ONCE: i64 = 200;
const ROWS_AT_ONCE: i64 = 10_000;

/// Runs that may go. $1 and $2: for how many seconds those that succeeded and the others are kept, $3: how many of the newest.
/// The run that a watermark is from stays, and one of which a chunk may still be on its way to the target.
macro_rules! old_runs {
    () => {
        "SELECT r.id FROM tenants t \
         JOIN etl_watermark w ON w.tenant_id = t.id \
         CROSS JOIN LATERAL (SELECT n.id FROM etl_control n WHERE n.tenant_id = t.id \
                             ORDER BY n.id DESC OFFSET $3 LIMIT 1) newest_to_go \
         JOIN etl_control r ON r.tenant_id = t.id AND r.id <= newest_to_go.id \
          AND r.finished_at < now() - make_interval(secs => least($1::float8, $2::float8)) \
          AND r.finished_at < now() - make_interval(secs => CASE WHEN r.status = 'success' THEN $1 ELSE $2 END) \
         WHERE r.id IS DISTINCT FROM w.run_id \
           AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.run_id = r.id \
                             AND (c.status = 'pending' OR c.status IN ('queued', 'running')))"
    };
}

statements! {
    RUNS = concat!("WITH old AS MATERIALIZED (", old_runs!(), " LIMIT $4 FOR UPDATE OF r SKIP LOCKED), \
                    chunk AS (DELETE FROM etl_chunk c USING old WHERE c.run_id = old.id RETURNING 1), \
                    run AS (DELETE FROM etl_control r USING old WHERE r.id = old.id RETURNING 1) \
                    SELECT (SELECT count(*) FROM run) AS runs, (SELECT count(*) FROM chunk) AS chunks");
    COUNT_RUNS = concat!("WITH old AS (", old_runs!(), ") \
                          SELECT count(*) AS runs, \
                                 (SELECT count(*) FROM etl_chunk c JOIN old o ON o.id = c.run_id) AS chunks FROM old");
    // A tenant's last move is the line that its next one extends: young lines may stand before old ones.
    MOVES = "WITH part AS (SELECT a.id, a.tenant_id, a.moved_at < now() - make_interval(secs => $1) AS old \
                           FROM etl_watermark_audit a WHERE a.id > $2 ORDER BY a.id LIMIT $3), \
                  gone AS (DELETE FROM etl_watermark_audit a USING part p WHERE a.id = p.id AND p.old AND NOT $4 \
                             AND EXISTS (SELECT FROM etl_watermark_audit l WHERE l.tenant_id = a.tenant_id AND l.id > a.id) \
                           RETURNING 1) \
             SELECT max(p.id) AS last, \
                    CASE WHEN $4 THEN count(*) FILTER (WHERE p.old \
                             AND EXISTS (SELECT FROM etl_watermark_audit l WHERE l.tenant_id = p.tenant_id AND l.id > p.id)) \
                         ELSE (SELECT count(*) FROM gone) END AS gone \
             FROM part p";
    REJECTS = "DELETE FROM etl_rejected_row WHERE ctid = ANY(ARRAY( \
                   SELECT ctid FROM etl_rejected_row WHERE resolved_at < now() - make_interval(secs => $1) \
                   LIMIT $2 FOR UPDATE SKIP LOCKED))";
    COUNT_REJECTS = "SELECT count(*) FROM etl_rejected_row WHERE resolved_at < now() - make_interval(secs => $1)";
}

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct Pruned {
    pub runs: i64,
    pub chunks: i64,
    /// Moves of watermarks.
    #[sqlx(default)]
    pub moves: i64,
    /// Rejects that were resolved.
    #[sqlx(default)]
    pub rejects: i64,
}

impl AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.chunks += other.chunks;
        self.moves += other.moves;
        self.rejects += other.rejects;
    }
}

/// Removes what has been kept for long enough, in many short transactions; several at once get in nobody's way.
///
/// # Errors
/// When the ledger does not answer; what was removed until then is gone.
pub async fn prune(db: &DbPool, keep: &RetentionSettings) -> DbResult<Pruned> {
    let mut pruned = Pruned::default();
    loop {
        let part: Pruned = sqlx::query_as(RUNS)
            .bind(secs(keep.success))
            .bind(secs(keep.failed))
            .bind(NEWEST_RUNS_KEPT)
            .bind(RUNS_AT_ONCE)
            .fetch_one(db)
            .await
            .attempt("prune runs")?;
        pruned += part;
        if part.runs == 0 {
            break;
        }
    }
    pruned.moves = moves(db, keep, false).await?;
    loop {
        let gone = sqlx::query(REJECTS)
            .bind(secs(keep.failed))
            .bind(ROWS_AT_ONCE)
            .execute(db)
            .await
            .attempt("prune resolved rejects")?
            .rows_affected();
        if gone == 0 {
            break;
        }
        pruned.rejects += i64::try_from(gone).expect("a statement's rows fit in 63 bits");
    }
    Ok(pruned)
}

/// Counts what [`prune`] would remove now.
///
/// # Errors
/// When the ledger does not answer.
pub async fn count(db: &DbPool, keep: &RetentionSettings) -> DbResult<Pruned> {
    let mut pruned: Pruned = sqlx::query_as(COUNT_RUNS)
        .bind(secs(keep.success))
        .bind(secs(keep.failed))
        .bind(NEWEST_RUNS_KEPT)
        .fetch_one(db)
        .await
        .attempt("count old runs")?;
    pruned.moves = moves(db, keep, true).await?;
    pruned.rejects = sqlx::query_scalar(COUNT_REJECTS)
        .bind(secs(keep.failed))
        .fetch_one(db)
        .await
        .attempt("count resolved rejects")?;
    Ok(pruned)
}

/// Goes through the whole audit, a page at a time.
async fn moves(db: &DbPool, keep: &RetentionSettings, only_count: bool) -> DbResult<i64> {
    let (mut after, mut all) = (0, 0);
    loop {
        let (last, gone): (Option<i64>, i64) = sqlx::query_as(MOVES)
            .bind(secs(keep.audit))
            .bind(after)
            .bind(ROWS_AT_ONCE)
            .bind(only_count)
            .fetch_one(db)
            .await
            .attempt("prune moves of watermarks")?;
        all += gone;
        match last {
            Some(last) => after = last,
            None => return Ok(all),
        }
    }
}
