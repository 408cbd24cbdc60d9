//! Deletes old history: runs with their chunks, moves of watermarks, actions, messages of webhooks, resolved rejects, changes. Every statement deletes a
//! limited number of rows, and skips rows that another transaction has locked, where it may lock.

use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;
use sqlx::FromRow;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::RetentionSettings;

use crate::{Attempt, DbResult, secs, statements};

/// A tenant's newest runs stay, however old they are. `run list` should not be empty, and matched_totals.rs needs the
/// newest run and the last that ended.
const NEWEST_RUNS_KEPT: i64 = 20;
/// Runs a statement deletes. A run has one chunk as a rule, and some thousand at most.
const RUNS_AT_ONCE: i64 = 200;
const ROWS_AT_ONCE: i64 = 10_000;

/// Embedded in the statements that delete and count these runs.
macro_rules! old_runs {
    () => {
        include_str!("prune/old_runs.sql")
    };
}

statements! {
    PRUNE_RUNS = concat!("WITH old AS MATERIALIZED (", old_runs!(), "LIMIT $4 FOR UPDATE OF r SKIP LOCKED), \
                    chunk AS (DELETE FROM etl_chunk c USING old WHERE c.run_id = old.id RETURNING 1), \
                    run AS (DELETE FROM etl_control r USING old WHERE r.id = old.id RETURNING 1) \
                    SELECT (SELECT count(*) FROM run) AS runs, (SELECT count(*) FROM chunk) AS chunks");
    COUNT_RUNS = concat!("WITH old AS (", old_runs!(), ") \
                          SELECT count(*) AS runs, \
                                 (SELECT count(*) FROM etl_chunk c JOIN old o ON o.id = c.run_id) AS chunks FROM old");
    PRUNE_MOVES = include_str!("prune/moves.sql");
    // locking an entry takes the right to change it, which nobody has
    PRUNE_ACTIONS = "DELETE FROM etl_action_audit WHERE id = ANY(ARRAY( \
                         SELECT id FROM etl_action_audit WHERE acted_at < now() - make_interval(secs => $1) \
                         ORDER BY id LIMIT $2))";
    COUNT_ACTIONS = "SELECT count(*) FROM etl_action_audit WHERE acted_at < now() - make_interval(secs => $1)";
    PRUNE_MESSAGES = "DELETE FROM etl_webhook_delivery WHERE id = ANY(ARRAY( \
                          SELECT id FROM etl_webhook_delivery \
                          WHERE coalesce(delivered_at, dead_at) < now() - make_interval(secs => $1) \
                          ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))";
    COUNT_MESSAGES = "SELECT count(*) FROM etl_webhook_delivery \
                      WHERE coalesce(delivered_at, dead_at) < now() - make_interval(secs => $1)";
    // with their items
    PRUNE_JOBS = "DELETE FROM etl_bulk WHERE id = ANY(ARRAY( \
                      SELECT id FROM etl_bulk WHERE finished_at < now() - make_interval(secs => $1) \
                      ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))";
    PRUNE_CHANGES = include_str!("prune/changes.sql");
    COUNT_CHANGES = "SELECT count(*) FROM conversation_change WHERE changed_at < now() - make_interval(secs => $1)";
    PRUNE_REJECTS = "DELETE FROM etl_rejected_row WHERE ctid = ANY(ARRAY( \
                         SELECT ctid FROM etl_rejected_row WHERE resolved_at < now() - make_interval(secs => $1) \
                         LIMIT $2 FOR UPDATE SKIP LOCKED))";
    COUNT_REJECTS = "SELECT count(*) FROM etl_rejected_row WHERE resolved_at < now() - make_interval(secs => $1)";
}

/// What was deleted, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct Pruned {
    pub runs: i64,
    pub chunks: i64,
    /// Moves of watermarks.
    #[sqlx(default)]
    pub moves: i64,
    /// Entries of the audit of actions.
    #[sqlx(default)]
    pub actions: i64,
    /// Messages of webhooks that were delivered or given up.
    #[sqlx(default)]
    pub messages: i64,
    /// Rejects that were resolved.
    #[sqlx(default)]
    pub rejects: i64,
    /// Entries of the feed of changed conversations.
    #[sqlx(default)]
    pub changes: i64,
}

impl AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.chunks += other.chunks;
        self.moves += other.moves;
        self.actions += other.actions;
        self.messages += other.messages;
        self.rejects += other.rejects;
        self.changes += other.changes;
    }
}

/// Deletes what has been kept for long enough, in many short transactions. Several processes may do this at the same
/// time.
///
/// # Errors
/// When the ledger does not answer; earlier transactions stay committed.
pub async fn prune(db: &DbPool, keep: &RetentionSettings) -> DbResult<Pruned> {
    let mut pruned = Pruned::default();
    loop {
        let part: Pruned = sqlx::query_as(PRUNE_RUNS)
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
    pruned.moves = prune_moves(db, keep, false).await?;
    pruned.actions = repeat(db, PRUNE_ACTIONS, keep.audit, "prune the audit of actions").await?;
    pruned.messages = repeat(db, PRUNE_MESSAGES, keep.failed, "prune messages of webhooks").await?;
    pruned.rejects = repeat(db, PRUNE_REJECTS, keep.failed, "prune resolved rejects").await?;
    // what they did is in the audit
    repeat(db, PRUNE_JOBS, keep.audit, "prune jobs on many things").await?;
    pruned.changes = prune_changes(db, keep.changes).await?;
    Ok(pruned)
}

/// Repeats a statement that deletes a limited number of rows until it finds none.
async fn repeat(
    db: &DbPool,
    statement: &'static str,
    keep: Duration,
    attempted: &'static str,
) -> DbResult<i64> {
    let mut all = 0;
    loop {
        let gone = sqlx::query(statement)
            .bind(secs(keep))
            .bind(ROWS_AT_ONCE)
            .execute(db)
            .await
            .attempt(attempted)?
            .rows_affected();
        if gone == 0 {
            return Ok(all);
        }
        all += i64::try_from(gone).expect("a statement's rows fit in 63 bits");
    }
}

async fn prune_changes(db: &DbPool, keep: Duration) -> DbResult<i64> {
    let mut all = 0;
    loop {
        let gone: i64 = sqlx::query_scalar(PRUNE_CHANGES)
            .bind(secs(keep))
            .bind(ROWS_AT_ONCE)
            .fetch_one(db)
            .await
            .attempt("prune changes of conversations")?;
        all += gone;
        if gone == 0 {
            return Ok(all);
        }
    }
}

/// Counts what [`prune`] would delete now.
pub async fn count(db: &DbPool, keep: &RetentionSettings) -> DbResult<Pruned> {
    let mut pruned: Pruned = sqlx::query_as(COUNT_RUNS)
        .bind(secs(keep.success))
        .bind(secs(keep.failed))
        .bind(NEWEST_RUNS_KEPT)
        .fetch_one(db)
        .await
        .attempt("count old runs")?;
    pruned.moves = prune_moves(db, keep, true).await?;
    pruned.actions = sqlx::query_scalar(COUNT_ACTIONS)
        .bind(secs(keep.audit))
        .fetch_one(db)
        .await
        .attempt("count old actions")?;
    pruned.messages = sqlx::query_scalar(COUNT_MESSAGES)
        .bind(secs(keep.failed))
        .fetch_one(db)
        .await
        .attempt("count old messages of webhooks")?;
    pruned.rejects = sqlx::query_scalar(COUNT_REJECTS)
        .bind(secs(keep.failed))
        .fetch_one(db)
        .await
        .attempt("count resolved rejects")?;
    pruned.changes = sqlx::query_scalar(COUNT_CHANGES)
        .bind(secs(keep.changes))
        .fetch_one(db)
        .await
        .attempt("count old changes of conversations")?;
    Ok(pruned)
}

/// Goes through the whole audit, a bounded number of lines at a time.
async fn prune_moves(db: &DbPool, keep: &RetentionSettings, only_count: bool) -> DbResult<i64> {
    let (mut after, mut all) = (0, 0);
    loop {
        let (last, gone): (Option<i64>, i64) = sqlx::query_as(PRUNE_MOVES)
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
