//! The ledger and target database: connections, migrations, and one file a table with every control statement.

pub mod agreement;
pub mod backfill;
pub mod cancel;
pub mod checkup;
pub mod chunk;
pub mod chunk_report;
pub mod connect;
pub mod fence;
pub mod fleet;
pub mod guarded;
pub mod history;
pub mod hold;
pub mod inbox;
pub mod isolation;
pub mod notice;
pub mod pool;
pub mod privacy;
pub mod process;
pub mod progress;
pub mod prune;
pub mod reject;
pub mod retry;
pub mod rights;
pub mod run;
pub mod source_watch;
pub mod standing;
pub mod target;
pub mod tenant;
pub mod verification;
pub mod watermark;

use crate::sqlstate::{FailureKind, control_failure_kind};

pub use self::pool::DbPool;

/// Every migration of the ledger and the target, newest last.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Declares a module's statements as constants, and the list of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* const $name: &str = $text;)*

        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use statements;

/// Every control statement with its name: a test prepares them all against a migrated database.
pub fn all_statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        agreement::STATEMENTS,
        backfill::STATEMENTS,
        cancel::STATEMENTS,
        checkup::STATEMENTS,
        chunk::STATEMENTS,
        chunk_report::STATEMENTS,
        fence::STATEMENTS,
        fleet::STATEMENTS,
        history::STATEMENTS,
        hold::STATEMENTS,
        inbox::STATEMENTS,
        isolation::STATEMENTS,
        notice::STATEMENTS,
        privacy::STATEMENTS,
        process::STATEMENTS,
        progress::STATEMENTS,
        prune::STATEMENTS,
        reject::STATEMENTS,
        retry::STATEMENTS,
        rights::STATEMENTS,
        run::STATEMENTS,
        source_watch::STATEMENTS,
        standing::STATEMENTS,
        target::STATEMENTS,
        tenant::STATEMENTS,
        verification::STATEMENTS,
        watermark::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// A statement on the ledger failed; `attempted` says with our own words what it was for.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}")]
pub struct DbError {
    pub attempted: &'static str,
    #[source]
    pub source: sqlx::Error,
}

impl DbError {
    /// Whether asking again may help: the ledger is away, or was busy.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            control_failure_kind(&self.source),
            FailureKind::Unavailable | FailureKind::Transient | FailureKind::Timeout
        )
    }
}

pub type DbResult<T> = Result<T, DbError>;

/// Adds what was attempted to an error of the driver.
pub trait Attempt<T> {
    /// # Errors
    /// The error it was called on, with `what`.
    fn attempt(self, what: &'static str) -> DbResult<T>;
}

impl<T> Attempt<T> for Result<T, sqlx::Error> {
    fn attempt(self, attempted: &'static str) -> DbResult<T> {
        self.map_err(|source| DbError { attempted, source })
    }
}

/// What a filter takes: these, or everything if it names none.
pub(crate) const fn or_all<'a, T>(named: &'a [T], all: &'a [T]) -> &'a [T] {
    if named.is_empty() { all } else { named }
}

/// Seconds as PostgreSQL's `make_interval(secs => …)` takes them.
pub(crate) const fn secs(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64()
}
