//! Loads that go on without the rows that the target refuses: what fails as a whole is tried in halves, each in a
//! savepoint, until the bad rows stand alone. They are rejected, and the others load in the same transaction.

use std::ops::Range;

use sqlx::{PgConnection, raw_sql};
use tidemark_ledger::reject::{Reject, RejectSide};
use tidemark_postgres::report::report;
use tidemark_postgres::sqlstate::{FailureKind, failure_kind, sqlstate};
use tidemark_shared::fence::SourceVersion;
use tokio::sync::mpsc;

use super::{LoadError, LoadOf, Merged, target};
use crate::rejects::Rejects;
use crate::row::encode::CopyEncoder;

const STAGED: &str = "SELECT conversation_id FROM pg_temp.tidemark_staging ORDER BY conversation_id";
const UNSTAGE: &str = "DELETE FROM pg_temp.tidemark_staging WHERE conversation_id = ANY($1)";
const COPYING: &str = "copy rows into staging";
/// From the merge on the transaction holds rows that other loads want, so it may not stand still for long: a frozen
/// worker's is ended by the server.
const HURRY: &str = "SET LOCAL idle_in_transaction_session_timeout = '30s'";
const MERGING: &str = "merge rows into the target";

/// Copies a buffer into staging, with those that follow soon; returns how many of their rows staging took.
pub(super) async fn copy_on(
    connection: &mut PgConnection,
    first: CopyEncoder,
    buffers: &mut mpsc::Receiver<CopyEncoder>,
    rejects: &Rejects,
) -> Result<usize, LoadError> {
    let mut kept = vec![first];
    begin(connection).await?;
    let outcome = super::copy_on(connection, &mut kept, buffers).await;
    if end(connection, outcome, COPYING).await?.is_ok() {
        return Ok(kept.iter().map(CopyEncoder::row_count).sum());
    }
    let mut taken = 0;
    for buffer in &kept {
        taken += copy(connection, buffer, rejects).await?;
    }
    Ok(taken)
}

async fn copy(
    connection: &mut PgConnection,
    buffer: &CopyEncoder,
    rejects: &Rejects,
) -> Result<usize, LoadError> {
    let mut taken = 0;
    let mut waiting = Waiting::for_all(buffer.row_count());
    while let Some(rows) = waiting.next() {
        begin(connection).await?;
        let outcome = super::copy(connection, buffer, rows.clone()).await;
        match end(connection, outcome, COPYING).await? {
            Ok(()) => taken += rows.len(),
            Err(error) if rows.len() == 1 => {
                rejects.push(refused(buffer.conversation_id(rows.start), COPYING, error))?;
            }
            Err(_) => waiting.halve(rows),
        }
    }
    Ok(taken)
}

/// Lets the server end the transaction should it stand still.
pub(super) async fn hurry(connection: &mut PgConnection) -> Result<(), LoadError> {
    control(connection, HURRY).await
}

/// Merges staging into the target. What the target refuses is no longer staged.
pub(super) async fn merge(
    connection: &mut PgConnection,
    of: LoadOf<'_>,
    version: &SourceVersion,
    rejects: &Rejects,
) -> Result<Merged, LoadError> {
    begin(connection).await?;
    let outcome = super::merge(connection, of, version, i64::MIN..=i64::MAX).await;
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
        let outcome = super::merge(connection, of, version, conversations).await;
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

/// Stretches of rows still to be tried, the next one last.
struct Waiting(Vec<Range<usize>>);

impl Waiting {
    fn for_all(rows: usize) -> Self {
        Self(std::iter::once(0..rows).collect())
    }

    fn next(&mut self) -> Option<Range<usize>> {
        self.0.pop()
    }

    /// For a stretch of several rows that failed as a whole.
    fn halve(&mut self, rows: Range<usize>) {
        let middle = rows.start + rows.len() / 2;
        self.0.push(middle..rows.end);
        self.0.push(rows.start..middle);
    }
}

fn refused(conversation_id: i64, attempted: &'static str, error: sqlx::Error) -> Reject {
    Reject {
        conversation_id,
        side: RejectSide::Target,
        sqlstate: sqlstate(&error),
        error: report(&target(attempted)(error)),
    }
}

async fn begin(connection: &mut PgConnection) -> Result<(), LoadError> {
    control(connection, "SAVEPOINT rows").await
}

/// Ends a try: keeps what it wrote, or undoes it and gives its data error back. Any other error ends the load.
async fn end<T>(
    connection: &mut PgConnection,
    outcome: Result<T, sqlx::Error>,
    attempted: &'static str,
) -> Result<Result<T, sqlx::Error>, LoadError> {
    match &outcome {
        Ok(_) => control(connection, "RELEASE SAVEPOINT rows").await?,
        Err(error) if failure_kind(error) == FailureKind::Data => {
            control(connection, "ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows").await?;
        }
        Err(_) => return outcome.map(Ok).map_err(target(attempted)),
    }
    Ok(outcome)
}

async fn control(connection: &mut PgConnection, statement: &'static str) -> Result<(), LoadError> {
    raw_sql(statement)
        .execute(connection)
        .await
        .map(drop)
        .map_err(target("steer the load"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_comes_down_to_every_single_row_in_order() {
        for rows in 1..100 {
            let mut waiting = Waiting::for_all(rows);
            let mut single = Vec::new();
            while let Some(stretch) = waiting.next() {
                if stretch.len() == 1 {
                    single.push(stretch.start);
                } else {
                    waiting.halve(stretch);
                }
            }
            assert_eq!(single, (0..rows).collect::<Vec<_>>());
        }
    }
}
