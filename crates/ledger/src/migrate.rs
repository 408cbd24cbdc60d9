//! Applies and reverts migrations beside a running fleet.
//!
//! A statement that changes a table waits for transactions that use it, and every later transaction waits behind it. So a
//! migration waits for its locks less than a second (`waiting`). It is then rolled back, and tried again after a pause,
//! in which the fleet goes on. An index that is made CONCURRENTLY (`concurrent`) makes nobody wait, and is waited for
//! longer.

pub(crate) mod concurrent;
pub(crate) mod waiting;

use std::time::Duration;

use sqlx::migrate::{Migrate, Migration, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr, raw_sql};
use tidemark_postgres::sqlstate::sqlstate;
use tidemark_shared::retry::Backoff;
use tokio::time::{Instant, sleep};

use self::concurrent::Statement;
use self::waiting::{LOCK_TIMEOUT, Outcome, Watched};
use crate::migrations::{Applied, Schema, WITHDRAWN, applied_migrations, compare, ups, works_from};
use crate::statements;

statements! {
    LIST_HOLDERS = include_str!("migrate/list_holders.sql");
    LIST_OLD_PROCESSES = "SELECT role || ' ' || instance || ' (tidemark ' || version || ')' FROM etl_process \
                          WHERE last_seen_at > now() - interval '30 seconds' AND coalesce(migration, $2) < $1 \
                          ORDER BY role, instance";
    MARK = "INSERT INTO etl_migration (version, works_from) VALUES ($1, $2) \
            ON CONFLICT (version) DO UPDATE SET works_from = excluded.works_from";
    REMOVE_WITHDRAWN = "DELETE FROM _sqlx_migrations WHERE version = ANY($1) AND version > $2";
    REMOVE_MARK = "DELETE FROM etl_migration WHERE version = $1";
    HAS_MARKS = "SELECT to_regclass('etl_migration') IS NOT NULL, \
                        EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('etl_process') AND attname = 'migration')";
}

/// Processes of the first release do not tell their migration. This is its newest.
const NEWEST_OF_THE_FIRST_RELEASE: i64 = 20_261_129_194_200;
/// sqlx's table.
const TABLE: &str = "_sqlx_migrations";
/// The lock of `migrate` is asked for in short questions. A question that waits has a snapshot, and an index that the other
/// `migrate` makes CONCURRENTLY waits for all snapshots: the two would wait for each other.
const LOCK_OF_MIGRATE_TIMEOUT: &str = "SET lock_timeout = '50ms'; SET statement_timeout = 0";
/// For the questions between migrations.
const OWN_TIMEOUT: &str = "SET lock_timeout = '10s'";
const RESET_TIMEOUTS: &str = "RESET lock_timeout; RESET statement_timeout";
const PAUSE: Backoff = Backoff {
    base: Duration::from_millis(250),
    cap: Duration::from_secs(10),
};
/// `lock_not_available`
const LOCKED: &str = "55P03";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another `tidemark migrate` has been under way for {}: run it again when that one has ended", minutes(.0))]
    Busy(Duration),
    #[error(
        "migration {version} ({name}) did not get its locks within {}, and nothing of it was applied. These sessions use the \
         tables: {holders}. End their transactions, and run `tidemark migrate` again",
        minutes(.waited)
    )]
    Locked {
        version: i64,
        name: String,
        waited: Duration,
        holders: String,
    },
    #[error(
        "the database has migration {0}, which this build does not know and does not work with: use a newer tidemark"
    )]
    TooNew(i64),
    #[error(
        "the database has migration {0}, which this build does not know, so it cannot revert it: use the tidemark that has it"
    )]
    CannotRevert(i64),
    #[error(
        "migration {version} ({name}) removes what running processes use: {processes}. Nothing of it was applied. Stop them or \
         replace them by a newer release, wait 30 s, and run `tidemark migrate` again"
    )]
    OldProcesses {
        version: i64,
        name: String,
        processes: String,
    },
    #[error(
        "migration {0} is no transaction, and has no statement that makes or drops one index CONCURRENTLY: see \
         migrations/README.md"
    )]
    NotConcurrent(i64),
    #[error(transparent)]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("read and mark the migrations of the database")]
    Database(#[from] sqlx::Error),
}

fn minutes(duration: &Duration) -> String {
    match duration.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// Tells an operator why it takes so long.
pub type Report<'a> = &'a mut (dyn FnMut(String) + Send);

/// The migrations of a build, and how long each may wait for its locks.
#[derive(Debug, Clone, Copy)]
pub struct Migrations<'a> {
    pub migrator: &'a Migrator,
    pub patience: Duration,
}

/// Which way a migration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl<'a> Migrations<'a> {
    #[must_use]
    pub const fn new(migrator: &'a Migrator) -> Self {
        Self {
            migrator,
            patience: Duration::from_secs(600),
        }
    }

    /// Applies what is missing, and returns how many migrations that were. The watcher is another session of the same login.
    pub async fn up(
        &self,
        connection: &mut PgConnection,
        watcher: &mut PgConnection,
        report: Report<'_>,
    ) -> Result<usize, Error> {
        self.lock(connection, report).await?;
        let mut watched = watch(connection, watcher).await?;
        let applied = self.known(connection).await?;
        if let Schema::TooNew(version) = compare(self.migrator, &applied) {
            return Err(Error::TooNew(version));
        }
        let checksums = connection.list_applied_migrations(TABLE).await?;
        let mut count = 0;
        for one in ups(self.migrator) {
            match checksums.iter().find(|applied| applied.version == one.version) {
                Some(applied) if applied.checksum != one.checksum => {
                    return Err(sqlx::migrate::MigrateError::VersionMismatch(one.version).into());
                }
                Some(_) => {}
                None => {
                    self.refuse_old_processes(connection, one).await?;
                    self.go(connection, &mut watched, one, Way::Up, report).await?;
                    count += 1;
                }
            }
        }
        unlock(connection).await?;
        Ok(count)
    }

    /// Reverts what is newer than `target`, newest first, and returns how many migrations that were.
    pub async fn down(
        &self,
        connection: &mut PgConnection,
        watcher: &mut PgConnection,
        target: i64,
        report: Report<'_>,
    ) -> Result<usize, Error> {
        self.lock(connection, report).await?;
        let mut watched = watch(connection, watcher).await?;
        let applied = self.known(connection).await?;
        if let Some(unknown) = applied
            .iter()
            .find(|one| one.version > target && !self.migrator.version_exists(one.version))
        {
            return Err(Error::CannotRevert(unknown.version));
        }
        let mut count = 0;
        for one in self.migrator.iter().rev() {
            let is_applied = applied.iter().any(|applied| applied.version == one.version);
            if one.migration_type.is_down_migration() && one.version > target && is_applied {
                self.go(connection, &mut watched, one, Way::Down, report).await?;
                count += 1;
            }
        }
        sqlx::query(REMOVE_WITHDRAWN)
            .bind(WITHDRAWN)
            .bind(target)
            .execute(&mut *connection)
            .await?;
        unlock(connection).await?;
        Ok(count)
    }

    /// Only one `migrate` works at a time; the others wait. The lock is sqlx's, and ends with the session.
    async fn lock(&self, connection: &mut PgConnection, report: Report<'_>) -> Result<(), Error> {
        raw_sql(LOCK_OF_MIGRATE_TIMEOUT).execute(&mut *connection).await?;
        let asked_at = Instant::now();
        let mut failures = 0;
        while let Err(error) = connection.lock().await {
            if code(&error).as_deref() != Some(LOCKED) {
                return Err(error.into());
            }
            if asked_at.elapsed() > self.patience {
                return Err(Error::Busy(self.patience));
            }
            if failures == 0 {
                report("another `tidemark migrate` is under way: waiting for its end".into());
            }
            failures += 1;
            sleep(PAUSE.delay(failures, 1.0)).await;
        }
        raw_sql(OWN_TIMEOUT).execute(connection).await?;
        Ok(())
    }

    async fn known(&self, connection: &mut PgConnection) -> Result<Vec<Applied>, Error> {
        connection.ensure_migrations_table(TABLE).await?;
        if let Some(version) = connection.dirty_version(TABLE).await? {
            return Err(sqlx::migrate::MigrateError::Dirty(version).into());
        }
        Ok(applied_migrations(connection).await?)
    }

    /// A migration that removes something has to wait until every process works without it.
    async fn refuse_old_processes(
        &self,
        connection: &mut PgConnection,
        one: &Migration,
    ) -> Result<(), Error> {
        let Some(oldest) = works_from(one.sql.as_str()) else {
            return Ok(());
        };
        let (_, processes_tell) = marks(connection).await?;
        if !processes_tell {
            return Ok(());
        }
        let old: Vec<String> = sqlx::query_scalar(LIST_OLD_PROCESSES)
            .bind(oldest)
            .bind(NEWEST_OF_THE_FIRST_RELEASE)
            .fetch_all(connection)
            .await?;
        if old.is_empty() {
            return Ok(());
        }
        Err(Error::OldProcesses {
            version: one.version,
            name: one.description.to_string(),
            processes: old.join(", "),
        })
    }

    /// One migration, tried again while its tables are in use.
    async fn go(
        &self,
        connection: &mut PgConnection,
        watched: &mut Watched<'_>,
        one: &Migration,
        way: Way,
        report: Report<'_>,
    ) -> Result<(), Error> {
        let began_at = Instant::now();
        let (version, name) = (one.version, one.description.to_string());
        if one.no_tx && !list_holders(connection).await?.is_empty() {
            report(format!(
                "migration {version} ({name}) works beside the running processes, and waits until the transactions of this \
                 moment have ended"
            ));
        }
        let mut failures = 0;
        loop {
            let outcome = if one.no_tx {
                concurrently(connection, watched, one, way).await?
            } else {
                let work = in_transaction(connection, one, way);
                watched.bound(work, code_of).await?
            };
            if outcome == Outcome::Done {
                return Ok(());
            }
            let holders = match list_holders(connection).await? {
                none if none.is_empty() => "none at this moment".to_owned(),
                some => some.join(", "),
            };
            if began_at.elapsed() > self.patience {
                return Err(Error::Locked {
                    version,
                    name,
                    waited: began_at.elapsed(),
                    holders,
                });
            }
            failures += 1;
            if failures == 1 {
                report(format!(
                    "migration {version} ({name}) waits for a table that other sessions use ({holders}); it lets everybody \
                     else go first, and tries again"
                ));
            }
            sleep(PAUSE.delay(failures, 1.0)).await;
        }
    }
}

/// Ends the lock of `migrate`, and leaves the session as it was.
async fn unlock(connection: &mut PgConnection) -> Result<(), Error> {
    connection.unlock().await?;
    raw_sql(RESET_TIMEOUTS).execute(connection).await?;
    Ok(())
}

async fn list_holders(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(LIST_HOLDERS).fetch_all(connection).await
}

async fn watch<'a>(
    connection: &mut PgConnection,
    watcher: &'a mut PgConnection,
) -> Result<Watched<'a>, sqlx::Error> {
    let pid = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    Ok(Watched { pid, watcher })
}

/// The migration, its row and its mark, in one transaction.
async fn in_transaction(connection: &mut PgConnection, one: &Migration, way: Way) -> Result<(), Error> {
    raw_sql(LOCK_TIMEOUT).execute(&mut *connection).await?;
    let mut transaction = connection.begin().await?;
    run(&mut transaction, one, way).await?;
    mark(&mut transaction, one, way).await?;
    Ok(transaction.commit().await?)
}

/// A migration that makes or drops an index beside everybody. It has one statement, and is no transaction. A `migrate` that is
/// killed meanwhile may leave an index that is not complete and serves no query: that is made again.
async fn concurrently(
    connection: &mut PgConnection,
    watched: &mut Watched<'_>,
    one: &Migration,
    way: Way,
) -> Result<Outcome, Error> {
    let statement = Statement::read(one.sql.as_str()).ok_or(Error::NotConcurrent(one.version))?;
    if way == Way::Up {
        // before the row of the migration: a mark alone says nothing, and the row alone would keep older releases out
        mark(connection, one, way).await?;
    }
    let outcome = if statement.is_of_partitions(connection).await? {
        let outcome = statement.on_partitions(connection, watched).await?;
        if outcome == Outcome::Done {
            // the statement is done, and its row is missing
            let row = Migration {
                sql: "SELECT".into_sql_str(),
                ..one.clone()
            };
            run(connection, &row, way).await?;
        }
        outcome
    } else {
        statement.prepare(connection).await?;
        match run(connection, one, way).await {
            Ok(()) => Outcome::Done,
            Err(error) if code(&error).as_deref() == Some(LOCKED) => Outcome::Locked,
            Err(error) => return Err(error.into()),
        }
    };
    if (way, outcome) == (Way::Down, Outcome::Done) {
        mark(connection, one, way).await?;
    }
    Ok(outcome)
}

/// The statements of a migration, and its row.
async fn run(
    connection: &mut PgConnection,
    one: &Migration,
    way: Way,
) -> Result<(), sqlx::migrate::MigrateError> {
    match way {
        Way::Up => Migrate::apply(connection, TABLE, one).await?,
        Way::Down => Migrate::revert(connection, TABLE, one).await?,
    };
    Ok(())
}

async fn mark(connection: &mut PgConnection, one: &Migration, way: Way) -> Result<(), sqlx::Error> {
    if !marks(connection).await?.0 {
        return Ok(());
    }
    let statement = match (way, works_from(one.sql.as_str())) {
        (Way::Down, _) => sqlx::query(REMOVE_MARK).bind(one.version),
        (Way::Up, Some(from)) => sqlx::query(MARK).bind(one.version).bind(from),
        (Way::Up, None) => return Ok(()),
    };
    statement.execute(connection).await.map(drop)
}

/// Whether the database has the table of marks, and whether processes tell which migrations they have.
async fn marks(connection: &mut PgConnection) -> Result<(bool, bool), sqlx::Error> {
    sqlx::query_as(HAS_MARKS).fetch_one(connection).await
}

fn code(error: &sqlx::migrate::MigrateError) -> Option<String> {
    match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => sqlstate(error),
        _ => None,
    }
}

fn code_of(error: &Error) -> Option<String> {
    match error {
        Error::Migration(error) => code(error),
        Error::Database(error) => sqlstate(error),
        _ => None,
    }
}
