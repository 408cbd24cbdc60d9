//! Merges staging into the target.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use tidemark_ledger::change::{Change, ChangeKind};
use tidemark_ledger::stored::Stored;
use tidemark_postgres::day::Day;
use tidemark_postgres::sqlstate::failure_kind;
use tidemark_shared::fence::SourceVersion;

use super::chunk_load::ChunkLoad;
use super::error::{LoadError, target};
use super::savepoint::{
    PendingRanges, begin_savepoint, end_savepoint, is_data, run_statement, target_reject,
};
use super::statements::Statements;
use crate::rejects::Rejects;

const LIST_STAGED: &str = "SELECT conversation_id FROM pg_temp.tidemark_staging ORDER BY conversation_id";
const UNSTAGE: &str = "DELETE FROM pg_temp.tidemark_staging WHERE conversation_id = ANY($1)";
/// From the merge on, the transaction locks rows that other loads wait for: when its worker freezes, the server ends it.
const LIMIT_IDLE_TIME: &str = "SET LOCAL idle_in_transaction_session_timeout = '30s'";
/// Staging has no statistics: the planner expects one row in it, and would compare each of its rows with each of the target's.
const NO_NESTED_LOOPS: &str = "SET LOCAL enable_nestloop = off";
const NESTED_LOOPS: &str = "SET LOCAL enable_nestloop = on";
const MERGING: &str = "merge rows into the target";
/// Rows that still differ after the merge: the target has them from a newer read.
const COUNT_STALE: &str = "SELECT count(*) FROM pg_temp.tidemark_staging s \
     JOIN conversations_analytics t USING (tenant_id, conversation_id) \
     WHERE t.row_hash <> s.row_hash OR t.source_digest <> s.source_digest OR t.source_deleted_at IS NOT NULL";

/// Conversations whose rows a merge wrote.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub inserted: Vec<i64>,
    pub updated: Vec<i64>,
    /// For the feed.
    pub changes: Vec<Change>,
}

impl Merged {
    fn add(&mut self, other: Self) {
        self.inserted.extend(other.inserted);
        self.updated.extend(other.updated);
        self.changes.extend(other.changes);
    }
}

/// A row that a merge wrote, or a row as it was before.
#[derive(FromRow)]
struct MergedRow {
    conversation_id: i64,
    conversation_date: Option<Day>,
    /// `None`: the row as it was.
    is_new: Option<bool>,
    was_deleted: bool,
    changed_columns: Option<String>,
}

impl MergedRow {
    /// `None` when a reader of the row sees what was there before. Without `before` the row is new, or another load inserted it
    /// while this one waited for it.
    fn change(&self, is_new: bool, before: Option<&Self>) -> Option<Change> {
        let is_inserted = is_new || before.is_some_and(|row| row.was_deleted);
        let columns = before.and_then(|row| row.changed_columns.clone());
        if !is_inserted && columns.as_deref() == Some("") {
            return None;
        }
        Some(Change {
            conversation_id: self.conversation_id,
            kind: if is_inserted {
                ChangeKind::Inserted
            } else {
                ChangeKind::Updated
            },
            columns: columns.filter(|_| !is_inserted),
            date: self.conversation_date,
            previous_date: before.and_then(|row| row.conversation_date),
        })
    }
}

/// Makes the server end the transaction when it is idle for long.
pub(super) async fn limit_idle_time(connection: &mut PgConnection) -> Result<(), LoadError> {
    run_statement(connection, LIMIT_IDLE_TIME).await
}

/// Merges staging into the target. Rows that the target refuses become rejects and are removed from staging. A target
/// without memory or disk for all rows at once gets them in parts.
pub(super) async fn merge(
    connection: &mut PgConnection,
    load: ChunkLoad<'_>,
    version: &SourceVersion,
    rejects: &Rejects,
) -> Result<Merged, LoadError> {
    run_statement(connection, NO_NESTED_LOOPS).await?;
    let merged = merge_all(connection, load, version, rejects).await?;
    run_statement(connection, NESTED_LOOPS).await?;
    Ok(merged)
}

async fn merge_all(
    connection: &mut PgConnection,
    load: ChunkLoad<'_>,
    version: &SourceVersion,
    rejects: &Rejects,
) -> Result<Merged, LoadError> {
    begin_savepoint(connection).await?;
    let outcome = merge_range(connection, load, version, i64::MIN..=i64::MAX).await;
    let error = match end_savepoint(connection, outcome, MERGING, is_divisible).await? {
        Ok(merged) => return Ok(merged),
        Err(error) => error,
    };
    let staged: Vec<i64> = sqlx::query_scalar(LIST_STAGED)
        .fetch_all(&mut *connection)
        .await
        .map_err(target("list the staged rows"))?;
    if staged.is_empty() {
        // no row can be the cause: a statement trigger failed
        return Err(target(MERGING)(error));
    }
    let mut merged = Merged::default();
    let mut unmergeable = Vec::new();
    let mut pending = PendingRanges::for_all(staged.len());
    while let Some(rows) = pending.next() {
        let conversations = staged[rows.start]..=staged[rows.end - 1];
        begin_savepoint(connection).await?;
        let outcome = merge_range(connection, load, version, conversations).await;
        match end_savepoint(connection, outcome, MERGING, is_divisible).await? {
            Ok(part) => merged.add(part),
            Err(error) if rows.len() == 1 && !is_data(&error) => return Err(target(MERGING)(error)),
            Err(error) if rows.len() == 1 => {
                let id = staged[rows.start];
                rejects.push(target_reject(id, MERGING, error))?;
                unmergeable.push(id);
            }
            Err(_) => pending.push_halves(rows),
        }
    }
    sqlx::query(UNSTAGE)
        .bind(unmergeable)
        .execute(connection)
        .await
        .map_err(target("remove refused rows from staging"))?;
    Ok(merged)
}

fn is_divisible(error: &sqlx::Error) -> bool {
    is_data(error) || failure_kind(error).may_fit_in_parts()
}

async fn merge_range(
    connection: &mut PgConnection,
    load: ChunkLoad<'_>,
    version: &SourceVersion,
    conversations: RangeInclusive<i64>,
) -> Result<Merged, sqlx::Error> {
    let merge = Statements::of(connection).merge.as_str();
    let rows: Vec<MergedRow> = sqlx::query_as(AssertSqlSafe(merge))
        .bind(Stored(load.chunk.run_id))
        .bind(version.snapshot.clock)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(conversations.start())
        .bind(conversations.end())
        .bind(load.is_repair)
        .fetch_all(connection)
        .await?;
    let before: HashMap<i64, &MergedRow> = rows
        .iter()
        .filter(|row| row.is_new.is_none())
        .map(|row| (row.conversation_id, row))
        .collect();
    let mut merged = Merged::default();
    for row in &rows {
        let Some(is_new) = row.is_new else { continue };
        if is_new {
            merged.inserted.push(row.conversation_id);
        } else {
            merged.updated.push(row.conversation_id);
        }
        let before = before.get(&row.conversation_id).copied();
        merged.changes.extend(row.change(is_new, before));
    }
    Ok(merged)
}

pub(super) async fn count_stale(connection: &mut PgConnection) -> Result<i64, LoadError> {
    sqlx::query_scalar(COUNT_STALE)
        .fetch_one(connection)
        .await
        .map_err(target("count stale rows"))
}
