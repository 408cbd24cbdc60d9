//! Connections to the ledger and target, with errors that say which server and what to do.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, raw_sql};

use super::pool::SETTINGS;
use super::{DbPool, MIGRATOR};
use crate::config::{DatabasePooler, server_name};
use crate::sqlstate::{FailureKind, control_failure_kind, sqlstate};

/// A server notices within a minute that a client's machine is gone, and drops its transactions and locks.
pub(crate) const KEEPALIVE: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Role that every process acts as: row-level security holds for it, whatever the login could bypass.
const SERVICE_ROLE: &str = "etl_service";
const TAKE_ROLE: &str = "SET ROLE etl_service";

/// What is staged is compressed there, and keeps that compression in the target whatever the column says. Servers before
/// 14, or built without lz4, keep pglz. $1: for this transaction only
const PREFER_LZ4: &str = "SELECT set_config(name, 'lz4', $1) FROM pg_settings \
     WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)";
/// One of the settings that a session of our own begins with, and what it is then.
const LOCK_TIMEOUT: &str = "30s";
const TOLD: &str = "SELECT current_setting('lock_timeout')";

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the URL of {what} is not a PostgreSQL URL: write postgres://user:password@host:port/database")]
    Url { what: &'static str },
    #[error("cannot reach {what} at {server}: is it running, and may this machine connect to it?")]
    Unreachable {
        what: &'static str,
        server: String,
        source: sqlx::Error,
    },
    #[error("{what} at {server} refused the connection ({sqlstate}): check user, password and database name")]
    Refused {
        what: &'static str,
        server: String,
        sqlstate: String,
        source: sqlx::Error,
    },
    #[error("the database at {server} is not migrated: run `tidemark migrate`")]
    NotMigrated { server: String },
    #[error("the database at {server} has migrations that this build does not know: run a newer tidemark")]
    TooNew { server: String },
    #[error(
        "the login at {server} may not act as {SERVICE_ROLE}: as a superuser run GRANT {SERVICE_ROLE} TO <login>"
    )]
    Role { server: String, source: sqlx::Error },
    #[error(
        "the settings of a session do not reach {what} at {server}, so a pooler such as PgBouncer is before it: before the \
         analytics database set TIDEMARK_DATABASE_POOLER=transaction; a source is read without one"
    )]
    Pooler { what: &'static str, server: String },
}

/// Parses a URL without quoting it in the error.
///
/// # Errors
/// When it is not a PostgreSQL URL.
pub fn options(url: &SecretString, what: &'static str) -> Result<PgConnectOptions, ConnectError> {
    let text = url.expose_secret();
    if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
        return Err(ConnectError::Url { what });
    }
    PgConnectOptions::from_str(text)
        .map(ConnectOptions::disable_statement_logging)
        .map_err(|_| ConnectError::Url { what })
}

/// One connection, to find out at once whether and why it cannot be had.
///
/// # Errors
/// With the server's name, never its password.
pub async fn probe(
    options: &PgConnectOptions,
    server: &str,
    what: &'static str,
) -> Result<PgConnection, ConnectError> {
    let server = server.to_owned();
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await;
    match attempt {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(source)) if refuses_settings(&source) => Err(ConnectError::Pooler { what, server }),
        Ok(Err(source)) => Err(match sqlstate(&source) {
            Some(sqlstate) if control_failure_kind(&source) != FailureKind::Unavailable => {
                ConnectError::Refused {
                    what,
                    server,
                    sqlstate,
                    source,
                }
            }
            _ => ConnectError::Unreachable { what, server, source },
        }),
        Err(_) => {
            let source = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut));
            Err(ConnectError::Unreachable { what, server, source })
        }
    }
}

/// A pooler's answer to the settings that a session begins with. It has no code of its own for that.
fn refuses_settings(error: &sqlx::Error) -> bool {
    sqlstate(error).as_deref() == Some("08P01") && error.to_string().contains("startup parameter")
}

/// One connection through a pooler, in a transaction that can only be dropped.
///
/// # Errors
/// As [`probe`].
pub async fn probe_lent(
    options: PgConnectOptions,
    server: &str,
    what: &'static str,
) -> Result<PgConnection, ConnectError> {
    let mut connection = probe(&without_cache(options), server, what).await?;
    raw_sql("BEGIN READ ONLY; DEALLOCATE ALL")
        .execute(&mut connection)
        .await
        .map_err(|source| ConnectError::Unreachable {
            what,
            server: server.to_owned(),
            source,
        })?;
    Ok(connection)
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
) -> Result<DbPool, ConnectError> {
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
                ])
                .options(KEEPALIVE);
            check_direct(&options, what, url).await?;
            let pool = pool.after_connect(|connection, _| {
                Box::pin(async move {
                    raw_sql(TAKE_ROLE).execute(&mut *connection).await?;
                    prefer_lz4(connection, false).await
                })
            });
            Ok(DbPool::direct(pool.connect_lazy_with(options)))
        }
        DatabasePooler::Transaction => {
            check_behind_pooler(options.clone(), what, url).await?;
            Ok(DbPool::behind_pooler(
                pool.connect_lazy_with(without_cache(options)),
            ))
        }
    }
}

/// A connection of which nothing is expected to be the same in the next transaction. PgBouncer takes no other settings at
/// the start than those that it knows.
fn without_cache(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None).statement_cache_capacity(0)
}

async fn check_direct(
    options: &PgConnectOptions,
    what: &'static str,
    url: &SecretString,
) -> Result<(), ConnectError> {
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
        return Err(ConnectError::Pooler { what, server });
    }
    check_migrated(&mut connection, what, url).await?;
    check_role(&mut connection, TAKE_ROLE, what, url).await?;
    // the probe has told all it can; a failing goodbye changes nothing
    drop(connection.close().await);
    Ok(())
}

async fn check_behind_pooler(
    options: PgConnectOptions,
    what: &'static str,
    url: &SecretString,
) -> Result<(), ConnectError> {
    let mut connection = probe_lent(options, &server_name(url), what).await?;
    check_migrated(&mut connection, what, url).await?;
    check_role(&mut connection, SETTINGS, what, url).await?;
    drop(connection.close().await);
    Ok(())
}

async fn check_role(
    connection: &mut PgConnection,
    statement: &'static str,
    what: &'static str,
    url: &SecretString,
) -> Result<(), ConnectError> {
    let taken = raw_sql(statement).execute(connection).await;
    taken.map(drop).map_err(|source| {
        unreachable_or(source, what, url, |server, source| ConnectError::Role {
            server,
            source,
        })
    })
}

/// Has what is stored from now on compressed by lz4, where the server can: for the session, or for the transaction.
///
/// # Errors
/// When the server does not answer.
pub async fn prefer_lz4(connection: &mut PgConnection, transaction: bool) -> Result<(), sqlx::Error> {
    sqlx::query(PREFER_LZ4)
        .bind(transaction)
        .execute(connection)
        .await
        .map(drop)
}

/// Versions that are applied, ascending; none when the table of migrations is missing.
///
/// # Errors
/// When the query fails for another reason.
pub async fn applied_migrations(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(connection)
        .await
}

/// A server may go between its answer to the login and that to a question.
fn unreachable_or(
    source: sqlx::Error,
    what: &'static str,
    url: &SecretString,
    refused: impl FnOnce(String, sqlx::Error) -> ConnectError,
) -> ConnectError {
    let server = server_name(url);
    if control_failure_kind(&source) == FailureKind::Unavailable {
        ConnectError::Unreachable { what, server, source }
    } else {
        refused(server, source)
    }
}

async fn check_migrated(
    connection: &mut PgConnection,
    what: &'static str,
    url: &SecretString,
) -> Result<(), ConnectError> {
    let server = server_name(url);
    let applied = applied_migrations(connection).await.map_err(|source| {
        unreachable_or(source, what, url, |server, _| ConnectError::NotMigrated {
            server,
        })
    })?;
    match schema(&applied) {
        Schema::Current => Ok(()),
        Schema::Behind => Err(ConnectError::NotMigrated { server }),
        Schema::TooNew => Err(ConnectError::TooNew { server }),
    }
}

/// A database's migrations beside those of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// Some are missing.
    Behind,
    /// It has some that this build does not know.
    TooNew,
}

/// What the versions that are applied say.
#[must_use]
pub fn schema(applied: &[i64]) -> Schema {
    if MIGRATOR
        .iter()
        .any(|migration| migration.migration_type.is_up_migration() && !applied.contains(&migration.version))
    {
        Schema::Behind
    } else if applied.iter().any(|version| !MIGRATOR.version_exists(*version)) {
        Schema::TooNew
    } else {
        Schema::Current
    }
}
