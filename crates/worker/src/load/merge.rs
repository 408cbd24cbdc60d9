//! Staging into the target.

use std::ops::RangeInclusive;

use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_ledger::stored::Stored;
use tidemark_shared::fence::SourceVersion;

use super::chunk_load::ChunkLoad;
use super::error::{LoadError, target};
use super::savepoint::{Waiting, begin, control, end, refused};
use super::statements::Statements;
use crate::rejects::Rejects;

const STAGED: &str = "SELECT conversation_id FROM pg_temp.tidemark_staging ORDER BY conversation_id";
const UNSTAGE: &str = "DELETE FROM pg_temp.tidemark_staging WHERE conversation_id = ANY($1)";
/// From the merge on the transaction holds rows that other loads want, so it may not stand still for long: a frozen
/// worker's is ended by the server.
const HURRY: &str = "SET LOCAL idle_in_transaction_session_timeout = '30s'";
const MERGING: &str = "merge rows into the target";
/// Rows that staging and target still do not agree on after the merge are those that the target has from a newer read.
const COUNT_STALE: &str = "SELECT count(*) FROM pg_temp.tidemark_staging s \
     JOIN conversations_analytics t USING (tenant_id, conversation_id) \
     WHERE t.row_hash <> s.row_hash OR t.source_digest <> s.source_digest OR t.source_deleted_at IS NOT NULL";

/// Conversations whose rows a merge wrote.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub inserted: Vec<i64>,
    pub updated: Vec<i64>,
}

impl Merged {
    fn add(&mut self, other: Self) {
        self.inserted.extend(other.inserted);
        self.updated.extend(other.updated);
    }
}

/// Lets the server end the transaction should it stand still.
pub(super) async fn hurry(connection: &mut PgConnection) -> Result<(), LoadError> {
    control(connection, HURRY).await
}

/// Merges staging into the target. What the target refuses is no longer staged.
pub(super) async fn merge(
    connection: &mut PgConnection,
    of: ChunkLoad<'_>,
    version: &SourceVersion,
    rejects: &Rejects,
) -> Result<Merged, LoadError> {
    begin(connection).await?;
    let outcome = merge_range(connection, of, version, i64::MIN..=i64::MAX).await;
    let error = match end(connection, outcome, MERGING).await? {
        Ok(merged) => return Ok(merged),
        Err(error) => error,
    };
    let staged: Vec<i64> = sqlx::query_scalar(STAGED)
        .fetch_all(&mut *connection)
        .await
        .map_err(target("list the staged rows"))?;
    if staged.is_empty() {
        // no row is to blame: a trigger of the statement
        return Err(target(MERGING)(error));
    }
    let mut merged = Merged::default();
    let mut unmergeable = Vec::new();
    let mut waiting = Waiting::for_all(staged.len());
    while let Some(rows) = waiting.next() {
        let conversations = staged[rows.start]..=staged[rows.end - 1];
        begin(connection).await?;
        let outcome = merge_range(connection, of, version, conversations).await;
        match end(connection, outcome, MERGING).await? {
            Ok(part) => merged.add(part),
            Err(error) if rows.len() == 1 => {
                let id = staged[rows.start];
                rejects.push(refused(id, MERGING, error))?;
                unmergeable.push(id);
            }
            Err(_) => waiting.halve(rows),
        }
    }
    sqlx::query(UNSTAGE)
        .bind(unmergeable)
        .execute(connection)
        .await
        .map_err(target("take refused rows out of staging"))?;
    Ok(merged)
}

async fn merge_range(
    connection: &mut PgConnection,
    of: ChunkLoad<'_>,
    version: &SourceVersion,
    conversations: RangeInclusive<i64>,
) -> Result<Merged, sqlx::Error> {
    let merge = Statements::of(connection).merge.as_str();
    let written: Vec<(i64, bool)> = sqlx::query_as(AssertSqlSafe(merge))
        .bind(Stored(of.chunk.run_id))
        .bind(version.snapshot.clock)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(conversations.start())
        .bind(conversations.end())
        .bind(of.repairs)
        .fetch_all(connection)
        .await?;
    let mut merged = Merged::default();
    for (id, is_new) in written {
        if is_new {
            merged.inserted.push(id);
        } else {
            merged.updated.push(id);
        }
    }
    Ok(merged)
}

pub(super) async fn count_stale(connection: &mut PgConnection) -> Result<i64, LoadError> {
    sqlx::query_scalar(COUNT_STALE)
        .fetch_one(connection)
        .await
        .map_err(target("count stale rows"))
}
