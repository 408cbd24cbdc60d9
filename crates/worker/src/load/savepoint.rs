//! Savepoints, so that a load goes on without the rows that the target refuses.
//!
//! Rows that fail together are tried again in halves, each in a savepoint, until every bad row stands alone. Bad rows are
//! rejected, and the others are loaded in the same transaction.

use std::ops::Range;

use sqlx::{PgConnection, raw_sql};
use tidemark_ledger::reject::{Reject, RejectSide};
use tidemark_postgres::report::report;
use tidemark_postgres::sqlstate::{FailureKind, failure_kind, sqlstate};

use super::error::{LoadError, target};

/// Ranges of rows that are still to be tried; the next one is last.
pub(super) struct PendingRanges(Vec<Range<usize>>);

impl PendingRanges {
    pub fn for_all(rows: usize) -> Self {
        Self(std::iter::once(0..rows).collect())
    }

    pub fn next(&mut self) -> Option<Range<usize>> {
        self.0.pop()
    }

    /// Adds both halves of a range that failed.
    pub fn push_halves(&mut self, rows: Range<usize>) {
        let middle = rows.start + rows.len() / 2;
        self.0.push(middle..rows.end);
        self.0.push(rows.start..middle);
    }
}

pub(super) fn target_reject(conversation_id: i64, attempted: &'static str, error: sqlx::Error) -> Reject {
    Reject {
        conversation_id,
        side: RejectSide::Target,
        sqlstate: sqlstate(&error),
        error: report(&target(attempted)(error)),
    }
}

pub(super) async fn begin_savepoint(connection: &mut PgConnection) -> Result<(), LoadError> {
    run_statement(connection, "SAVEPOINT rows").await
}

/// Whether a row is the cause of an error: the others pass without it.
pub(super) fn is_data(error: &sqlx::Error) -> bool {
    failure_kind(error) == FailureKind::Data
}

/// Releases the savepoint on success. Rolls it back after an error that `is_divisible`, and returns that error as the
/// inner result. Any other error fails the load.
pub(super) async fn end_savepoint<T>(
    connection: &mut PgConnection,
    outcome: Result<T, sqlx::Error>,
    attempted: &'static str,
    is_divisible: impl FnOnce(&sqlx::Error) -> bool,
) -> Result<Result<T, sqlx::Error>, LoadError> {
    match &outcome {
        Ok(_) => run_statement(connection, "RELEASE SAVEPOINT rows").await?,
        Err(error) if is_divisible(error) => {
            run_statement(connection, "ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows").await?;
        }
        Err(_) => return outcome.map(Ok).map_err(target(attempted)),
    }
    Ok(outcome)
}

pub(super) async fn run_statement(
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<(), LoadError> {
    raw_sql(statement)
        .execute(connection)
        .await
        .map(drop)
        .map_err(target("set a savepoint or a setting of the load"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_reaches_every_single_row_in_order() {
        for rows in 1..100 {
            let mut pending = PendingRanges::for_all(rows);
            let mut single = Vec::new();
            while let Some(range) = pending.next() {
                if range.len() == 1 {
                    single.push(range.start);
                } else {
                    pending.push_halves(range);
                }
            }
            assert_eq!(single, (0..rows).collect::<Vec<_>>());
        }
    }
}
