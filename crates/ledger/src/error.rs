//! Errors of statements on the ledger and target.

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgTransaction};
use sqlx::query::Query;
use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind, sqlstate};

/// A statement on the ledger failed; `attempted` says what it was for.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}")]
pub struct DbError {
    pub attempted: &'static str,
    #[source]
    pub source: sqlx::Error,
}

/// A deadlock, or a serialization failure.
const DEADLOCK_CODES: [&str; 2] = ["40P01", "40001"];
/// A text has a NUL, or a character that the encoding of the database lacks.
const UNSTORABLE_CODES: [&str; 2] = ["22021", "22P05"];

impl DbError {
    fn has_code(&self, codes: &[&str]) -> bool {
        sqlstate(&self.source).is_some_and(|code| codes.contains(&code.as_str()))
    }

    fn is_deadlock(&self) -> bool {
        self.has_code(&DEADLOCK_CODES)
    }

    /// Whether a text that was given has a character that the database cannot store.
    #[must_use]
    pub fn is_unstorable_text(&self) -> bool {
        self.has_code(&UNSTORABLE_CODES)
    }

    /// Whether the server answers and has no space left to write.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        control_failure_kind(&self.source) == FailureKind::Exhausted
    }

    /// Whether the server is away or has no space left: no statement succeeds now.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        control_failure_kind(&self.source).passes_by_itself()
    }

    /// Whether the same statement may succeed later: the ledger is away, was busy or has no space left.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let kind = control_failure_kind(&self.source);
        kind.passes_by_itself()
            || matches!(
                kind,
                FailureKind::Transient | FailureKind::Timeout | FailureKind::Limit
            )
    }
}

pub type DbResult<T> = Result<T, DbError>;

/// Adds to an error of the driver what was attempted.
pub trait Attempt<T> {
    fn attempt(self, attempted: &'static str) -> DbResult<T>;
}

impl<T> Attempt<T> for Result<T, sqlx::Error> {
    fn attempt(self, attempted: &'static str) -> DbResult<T> {
        self.map_err(|source| DbError { attempted, source })
    }
}

/// Runs a transaction again when the server has aborted it to end a deadlock.
pub async fn retry_on_deadlock<T, F>(attempt: impl Fn() -> F) -> DbResult<T>
where
    F: Future<Output = DbResult<T>>,
{
    const TRIES: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(200);
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if error.is_deadlock() => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    attempt().await
}

pub async fn execute(
    query: Query<'_, sqlx::Postgres, PgArguments>,
    tx: &mut PgTransaction<'_>,
    attempted: &'static str,
) -> DbResult<()> {
    query.execute(&mut **tx).await.map(drop).attempt(attempted)
}
