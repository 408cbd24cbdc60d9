//! Loads that go on without the rows that the target refuses: what fails as a whole is tried in halves, each in a
//! savepoint, until the bad rows stand alone. They are rejected, and the others load in the same transaction.

use std::ops::Range;

use sqlx::{PgConnection, raw_sql};
use tidemark_ledger::reject::{Reject, RejectSide};
use tidemark_postgres::report::report;
use tidemark_postgres::sqlstate::{FailureKind, failure_kind, sqlstate};

use super::error::{LoadError, target};

/// Stretches of rows still to be tried, the next one last.
pub(super) struct Waiting(Vec<Range<usize>>);

impl Waiting {
    pub fn for_all(rows: usize) -> Self {
        Self(std::iter::once(0..rows).collect())
    }

    pub fn next(&mut self) -> Option<Range<usize>> {
        self.0.pop()
    }

    /// For a stretch of several rows that failed as a whole.
    pub fn halve(&mut self, rows: Range<usize>) {
        let middle = rows.start + rows.len() / 2;
        self.0.push(middle..rows.end);
        self.0.push(rows.start..middle);
    }
}

pub(super) fn refused(conversation_id: i64, attempted: &'static str, error: sqlx::Error) -> Reject {
    Reject {
        conversation_id,
        side: RejectSide::Target,
        sqlstate: sqlstate(&error),
        error: report(&target(attempted)(error)),
    }
}

pub(super) async fn begin(connection: &mut PgConnection) -> Result<(), LoadError> {
    control(connection, "SAVEPOINT rows").await
}

/// Ends a try: keeps what it wrote, or undoes it and gives its data error back. Any other error ends the load.
pub(super) async fn end<T>(
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

pub(super) async fn control(connection: &mut PgConnection, statement: &'static str) -> Result<(), LoadError> {
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
