//! The ledger and target database: connections, migrations, and one file a table with every control statement.
//!
//! # Lock order
//!
//! A transaction that locks more than one row takes them in this order, and each table's rows ascending:
//!
//! 1. `tenants`
//! 2. `etl_control`, by id
//! 3. `etl_chunk`, by run and number; an UPDATE of many locks them first by a SELECT … ORDER BY … FOR NO KEY UPDATE
//! 4. `etl_watermark`
//! 5. everything else
//!
//! Rows that foreign keys point to are locked FOR NO KEY UPDATE: writing a row of another table takes KEY SHARE on what
//! it points to, whatever the writer has locked before, and FOR UPDATE would wait for that. Only the removal of a tenant
//! locks FOR UPDATE, as does its move to another source, so that it waits for requests under way; and these two, a policy
//! and a forgotten contact may
//! want rows that a load holds which waits for its tenant. The server ends one of the two, and commands of operators
//! that lock more than one row are run again by `again`.

pub mod backfill;
pub mod cancel;
pub mod checkup;
pub mod chunk;
pub mod chunk_report;
pub mod connect;
pub mod fence;
pub mod fleet;
pub mod history;
pub mod impossible;
pub mod inbox;
pub mod isolation;
pub mod matched_totals;
pub mod notice;
pub mod privacy;
pub mod process;
pub mod progress;
pub mod prune;
pub mod reject;
pub mod retry;
pub mod rights;
pub mod run;
pub mod sender;
pub mod source_watch;
pub mod stored;
pub mod target;
pub mod tenant;
pub mod tenant_lifecycle;
pub mod tenant_move;
pub mod tenant_status;
pub mod verification;
pub mod watermark;

use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind};

/// Every migration of the ledger and the target, newest last.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Declares a module's statements as constants, and the list of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* const $name: &str = $text;)*

        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use statements;

/// Every control statement with its name: a test prepares them all against a migrated database.
pub fn all_statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        matched_totals::STATEMENTS,
        backfill::STATEMENTS,
        cancel::STATEMENTS,
        checkup::STATEMENTS,
        chunk::insert::STATEMENTS,
        chunk::dispatch::STATEMENTS,
        chunk::trace::STATEMENTS,
        chunk::claim::STATEMENTS,
        chunk::finish::STATEMENTS,
        chunk::rescue::STATEMENTS,
        chunk_report::STATEMENTS,
        fence::STATEMENTS,
        fleet::STATEMENTS,
        history::STATEMENTS,
        tenant_lifecycle::STATEMENTS,
        impossible::STATEMENTS,
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
        run::request::STATEMENTS,
        run::plan::STATEMENTS,
        run::close::STATEMENTS,
        run::list::STATEMENTS,
        sender::STATEMENTS,
        source_watch::STATEMENTS,
        tenant_status::STATEMENTS,
        target::transaction::STATEMENTS,
        target::columns::STATEMENTS,
        target::digests::STATEMENTS,
        target::names::STATEMENTS,
        target::rows::STATEMENTS,
        tenant::STATEMENTS,
        tenant_move::STATEMENTS,
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

/// A deadlock, or a transaction that cannot be put in an order with others.
const LOST: [&str; 2] = ["40P01", "40001"];

impl DbError {
    fn lost_to_another(&self) -> bool {
        let code = self
            .source
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| LOST.contains(&&*code))
    }

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

/// Runs a transaction again when the server has ended it in favour of another one that wanted the same rows.
pub async fn again<T>(attempt: impl AsyncFn() -> DbResult<T>) -> DbResult<T> {
    const TRIES: u32 = 5;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if error.lost_to_another() => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    attempt().await
}

/// What a filter takes: these, or everything if it names none.
pub const fn or_all<'a, T>(named: &'a [T], all: &'a [T]) -> &'a [T] {
    if named.is_empty() { all } else { named }
}

/// Seconds as PostgreSQL's `make_interval(secs => …)` takes them.
pub const fn secs(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64()
}
