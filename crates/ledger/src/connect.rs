//! The pool for ledger and target: as which role, with which settings, and only where the migrations are those of this build.

use std::time::Duration;

use futures::FutureExt;
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, raw_sql};
use tidemark_net::url::server_name;
use tidemark_postgres::connect::{
    ConnectError, DatabasePooler, KEEPALIVE, options, prefer_lz4, probe, probe_pooler, without_cache,
};
use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind, sqlstate};
use tidemark_postgres::{DbPool, temporary_last};

use crate::migrations::{Schema, applied_migrations, schema};

/// Role that every process acts as: row-level security holds for it, whatever the login could bypass.
const SERVICE_ROLE: &str = "etl_service";
const TAKE_ROLE: &str = "SET ROLE etl_service";
const TEMPORARY_LAST: &str = concat!("SELECT ", temporary_last!(false));
/// `invalid_parameter_value`, from SET ROLE.
const NO_SUCH_ROLE: &str = "22023";

/// One of the settings that a session of our own begins with, and what it is then.
const LOCK_TIMEOUT: &str = "30s";
const TOLD: &str = "SELECT current_setting('lock_timeout')";

/// What a session of our own has for good, a transaction of a lent one has for its length: the role that row-level
/// security binds, and the settings of [`pool`]. Statements of whoever had the server's process before would be
/// in the way of ours, which have the same names.
///
/// The `search_path` is that of the role or the database, with the schema of temporary tables last: a table that somebody
/// has made in a lent session must not stand in for one of ours.
const SETTINGS: &str = concat!(
    "DEALLOCATE ALL; SET LOCAL ROLE etl_service; SET LOCAL search_path = DEFAULT; SELECT ",
    temporary_last!(true),
    "; SET LOCAL TimeZone = 'UTC'; SET LOCAL client_min_messages = 'warning'; SET LOCAL lock_timeout = '30s'; \
     SET LOCAL idle_in_transaction_session_timeout = '15min'; SET LOCAL jit = 'off'"
);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the database at {server} is not migrated: run `tidemark migrate`")]
    NotMigrated { server: String },
    #[error("the database at {server} has migrations that this build does not know: run a newer tidemark")]
    TooNew { server: String },
    #[error(
        "the login at {server} may not act as {SERVICE_ROLE}: as a superuser run GRANT {SERVICE_ROLE} TO <login>"
    )]
    Role { server: String, source: sqlx::Error },
}

/// The pool for ledger and target of one process. Whatever is done there is done as `etl_service`, in UTC.
///
/// # Errors
/// When the server cannot be reached, or the database is not migrated to exactly this build.
pub async fn pool(
    url: &SecretString,
    role: &str,
    max_connections: u32,
    pooler: DatabasePooler,
) -> Result<DbPool, OpenError> {
    let what = "the analytics database";
    let options = options(url, what)?.application_name(&format!("tidemark {role}"));
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(Duration::from_secs(300));
    match pooler {
        DatabasePooler::None => {
            let options = options
                .options([
                    ("TimeZone", "UTC"),
                    // "relation exists, skipping" is no news
                    ("client_min_messages", "warning"),
                    ("lock_timeout", LOCK_TIMEOUT),
                    ("idle_in_transaction_session_timeout", "15min"),
                    // it takes longer than any of the statements
                    ("jit", "off"),
                    // as each transaction has it that says how it begins
                    ("default_transaction_isolation", "read committed"),
                ])
                .options(KEEPALIVE);
            check_direct(&options, what, url).await?;
            let pool = pool.after_connect(|connection, _| begin_session(connection, false).boxed());
            Ok(DbPool::direct(pool.connect_lazy_with(options)))
        }
        DatabasePooler::Transaction => {
            check_behind_pooler(options.clone(), what, url).await?;
            let pool = pool.connect_lazy_with(without_cache(options));
            Ok(DbPool::behind_pooler(pool, SETTINGS))
        }
    }
}

async fn check_direct(
    options: &PgConnectOptions,
    what: &'static str,
    url: &SecretString,
) -> Result<(), OpenError> {
    let server = server_name(url);
    let mut connection = probe(options, &server, what).await?;
    let told: String = sqlx::query_scalar(TOLD)
        .fetch_one(&mut connection)
        .await
        .map_err(|source| ConnectError::Unreachable {
            what,
            server: server.clone(),
            source,
        })?;
    if told != LOCK_TIMEOUT {
        return Err(ConnectError::Pooler { what, server }.into());
    }
    check_role(&mut connection, TAKE_ROLE, what, url).await?;
    check_migrated(&mut connection, what, url).await?;
    // the probe has told all it can; a failing goodbye changes nothing
    drop(connection.close().await);
    Ok(())
}

async fn check_behind_pooler(
    options: PgConnectOptions,
    what: &'static str,
    url: &SecretString,
) -> Result<(), OpenError> {
    let mut connection = probe_pooler(options, &server_name(url), what).await?;
    check_role(&mut connection, SETTINGS, what, url).await?;
    check_migrated(&mut connection, what, url).await?;
    drop(connection.close().await);
    Ok(())
}

async fn check_role(
    connection: &mut PgConnection,
    statement: &'static str,
    what: &'static str,
    url: &SecretString,
) -> Result<(), OpenError> {
    let taken = raw_sql(statement).execute(connection).await;
    taken.map(drop).map_err(|source| {
        unreachable_or(source, what, url, |server, source| {
            // the first migration makes the role
            if sqlstate(&source).as_deref() == Some(NO_SUCH_ROLE) {
                OpenError::NotMigrated { server }
            } else {
                OpenError::Role { server, source }
            }
        })
    })
}

/// Another pool to the same database for rows that are stored: compressed by lz4, where the server can and a session can be
/// told so.
#[must_use]
pub fn pool_for_loads(pool: &DbPool, max_connections: u32) -> DbPool {
    let mut options = pool
        .connections()
        .options()
        .clone()
        .max_connections(max_connections);
    if !pool.is_behind_pooler() {
        options = options.after_connect(|connection, _| begin_session(connection, true).boxed());
    }
    pool.with_options(options)
}

/// What a session of our own does first. To ask whether there is lz4 takes longer than most of a session's statements.
async fn begin_session(connection: &mut PgConnection, is_for_loads: bool) -> Result<(), sqlx::Error> {
    raw_sql(TAKE_ROLE).execute(&mut *connection).await?;
    raw_sql(TEMPORARY_LAST).execute(&mut *connection).await?;
    if is_for_loads {
        prefer_lz4(connection, false).await?;
    }
    Ok(())
}

/// A server may go between its answer to the login and that to a question.
fn unreachable_or(
    source: sqlx::Error,
    what: &'static str,
    url: &SecretString,
    refused: impl FnOnce(String, sqlx::Error) -> OpenError,
) -> OpenError {
    let server = server_name(url);
    if control_failure_kind(&source) == FailureKind::Unavailable {
        ConnectError::Unreachable { what, server, source }.into()
    } else {
        refused(server, source)
    }
}

async fn check_migrated(
    connection: &mut PgConnection,
    what: &'static str,
    url: &SecretString,
) -> Result<(), OpenError> {
    let server = server_name(url);
    let applied = applied_migrations(connection)
        .await
        .map_err(|source| unreachable_or(source, what, url, |server, _| OpenError::NotMigrated { server }))?;
    match schema(&applied) {
        Schema::Current => Ok(()),
        Schema::Behind => Err(OpenError::NotMigrated { server }),
        Schema::TooNew => Err(OpenError::TooNew { server }),
    }
}
