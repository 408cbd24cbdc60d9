//! Connections to the ledger and target, with errors that say which server and what to do.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection, raw_sql};

use super::pool::SETTINGS;
use super::temporary_last;
use super::{DbPool, MIGRATOR};
use crate::config::{DatabasePooler, parse_url, server_name};
use crate::sqlstate::{FailureKind, control_failure_kind, sqlstate};
use crate::tls::{Exposure, Fault, Wire, is_local};

/// A server notices within a minute that a client's machine is gone, and drops its transactions and locks.
pub(crate) const KEEPALIVE: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// What makes a connection one that nobody reads.
pub(crate) const SSL_MODE: &str =
    "sslmode=verify-full in the URL, and sslrootcert=FILE for an authority of your own";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Role that every process acts as: row-level security holds for it, whatever the login could bypass.
const SERVICE_ROLE: &str = "etl_service";
const TAKE_ROLE: &str = "SET ROLE etl_service";
const TEMPORARY_LAST: &str = concat!("SELECT ", temporary_last!(false));
/// `invalid_parameter_value`, from SET ROLE.
const NO_SUCH_ROLE: &str = "22023";

/// What is staged is compressed there, and keeps that compression in the target whatever the column says. Servers before
/// 14, or built without lz4, keep pglz. $1: for this transaction only
const PREFER_LZ4: &str = "SELECT set_config(name, 'lz4', $1) FROM pg_settings \
     WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)";
/// One of the settings that a session of our own begins with, and what it is then.
const LOCK_TIMEOUT: &str = "30s";
const TOLD: &str = "SELECT current_setting('lock_timeout')";

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "the URL of {what} is not a PostgreSQL URL: write postgres://user:password@host:port/database, special characters \
         in user and password percent-encoded"
    )]
    Url { what: &'static str },
    #[error("read {}, which the URL of {what} names", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("no encrypted connection to {what} at {server}: {}", fault.advice(Wire::Postgres))]
    Tls {
        what: &'static str,
        server: String,
        fault: Fault,
        source: sqlx::Error,
    },
    #[error(
        "{what} at {server} refused the connection, which is not encrypted ({sqlstate}): leave sslmode out of the URL, or \
         check user and database name"
    )]
    Plain {
        what: &'static str,
        server: String,
        sqlstate: String,
        source: sqlx::Error,
    },
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

/// Parses a URL without quoting it in the error. Where it says nothing of encryption, a server that is not this machine is
/// connected to with `verify-full`.
///
/// # Errors
/// When it is not a PostgreSQL URL, or a file that it names cannot be read.
pub fn options(url: &SecretString, what: &'static str) -> Result<PgConnectOptions, ConnectError> {
    let text = url.expose_secret();
    let parsed = parse_url(text).filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let (Some(parsed), Ok(options)) = (parsed, PgConnectOptions::from_str(text)) else {
        return Err(ConnectError::Url { what });
    };
    let mut mode_is_written = false;
    for (key, value) in parsed.query_pairs() {
        match &*key {
            "sslmode" | "ssl-mode" => mode_is_written = true,
            // the driver reads them when it connects, and then it looks as if the server were away
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" => {
                let path = Path::new(&*value);
                std::fs::File::open(path).map_err(|source| ConnectError::File {
                    what,
                    path: path.to_owned(),
                    source,
                })?;
            }
            _ => {}
        }
    }
    let options = options.disable_statement_logging();
    // another mode comes from PGSSLMODE
    let is_open = matches!(options.get_ssl_mode(), PgSslMode::Prefer) && !mode_is_written;
    Ok(if is_open && !leads_here(&options) {
        options.ssl_mode(PgSslMode::VerifyFull)
    } else {
        options
    })
}

fn leads_here(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || is_local(options.get_host())
}

/// What others on the way to the server could do.
#[must_use]
pub fn exposure(options: &PgConnectOptions) -> Option<Exposure> {
    if leads_here(options) {
        return None;
    }
    match options.get_ssl_mode() {
        // the driver never encrypts with `allow`
        PgSslMode::Disable | PgSslMode::Allow => Some(Exposure::Plain),
        PgSslMode::Prefer => Some(Exposure::Perhaps),
        PgSslMode::Require => Some(Exposure::Unchecked),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => None,
    }
}

/// What of TLS has failed, when that is it.
#[must_use]
pub fn tls_fault(error: &sqlx::Error) -> Option<Fault> {
    match Fault::of(error) {
        None if matches!(error, sqlx::Error::Tls(_)) => Some(Fault::NoTls),
        fault => fault,
    }
}

fn not_connected(
    options: &PgConnectOptions,
    what: &'static str,
    server: String,
    source: sqlx::Error,
) -> ConnectError {
    if let Some(fault) = tls_fault(&source) {
        return ConnectError::Tls {
            what,
            server,
            fault,
            source,
        };
    }
    match sqlstate(&source) {
        Some(sqlstate) if control_failure_kind(&source) != FailureKind::Unavailable => {
            if sqlstate == "28000" && exposure(options) == Some(Exposure::Plain) {
                ConnectError::Plain {
                    what,
                    server,
                    sqlstate,
                    source,
                }
            } else {
                ConnectError::Refused {
                    what,
                    server,
                    sqlstate,
                    source,
                }
            }
        }
        _ => ConnectError::Unreachable { what, server, source },
    }
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
        Ok(Err(source)) => Err(not_connected(options, what, server, source)),
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

/// A server's clock, and when it was read by a clock that nobody sets: two of them tell how far two servers are apart.
#[derive(Debug, Clone, Copy)]
pub struct ClockReading {
    pub clock: DateTime<Utc>,
    pub read_at: Instant,
}

impl ClockReading {
    /// How far this clock is ahead of the other; negative when it is behind.
    #[must_use]
    pub fn ahead_of(&self, other: &Self) -> TimeDelta {
        let between = if self.read_at >= other.read_at {
            TimeDelta::from_std(self.read_at - other.read_at).unwrap_or(TimeDelta::MAX)
        } else {
            -TimeDelta::from_std(other.read_at - self.read_at).unwrap_or(TimeDelta::MAX)
        };
        self.clock - other.clock - between
    }
}

/// Reads the server's clock; the way there and back is split evenly.
///
/// # Errors
/// When the server does not answer.
pub async fn read_clock(connection: &mut PgConnection) -> Result<ClockReading, sqlx::Error> {
    let asked_at = Instant::now();
    let clock = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(connection)
        .await?;
    Ok(ClockReading {
        clock,
        read_at: asked_at + asked_at.elapsed() / 2,
    })
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
) -> Result<(), ConnectError> {
    let mut connection = probe_lent(options, &server_name(url), what).await?;
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
) -> Result<(), ConnectError> {
    let taken = raw_sql(statement).execute(connection).await;
    taken.map(drop).map_err(|source| {
        unreachable_or(source, what, url, |server, source| {
            // the first migration makes the role
            if sqlstate(&source).as_deref() == Some(NO_SUCH_ROLE) {
                ConnectError::NotMigrated { server }
            } else {
                ConnectError::Role { server, source }
            }
        })
    })
}

/// What a session of our own does first. To ask whether there is lz4 takes longer than most of a session's statements.
pub(super) async fn begin_session(
    connection: &mut PgConnection,
    is_for_loads: bool,
) -> Result<(), sqlx::Error> {
    raw_sql(TAKE_ROLE).execute(&mut *connection).await?;
    raw_sql(TEMPORARY_LAST).execute(&mut *connection).await?;
    if is_for_loads {
        prefer_lz4(connection, false).await?;
    }
    Ok(())
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

/// Tables that the first migrations would make and that somebody else's database has already, where tables are made.
///
/// # Errors
/// When the query fails.
pub async fn tables_in_the_way(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
         AND relname IN ('tenants', 'inbox_tenant_mapping', 'etl_control', 'conversations_analytics') ORDER BY relname",
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        options(&SecretString::from(url), "it").unwrap().get_ssl_mode()
    }

    fn exposed(url: &str) -> Option<Exposure> {
        exposure(&options(&SecretString::from(url), "it").unwrap())
    }

    #[test]
    fn a_remote_server_is_verified_unless_the_url_says_otherwise() {
        for url in [
            "postgres://u:p@db.example/x",
            "postgresql://u@10.0.0.7:5433/x?application_name=y",
        ] {
            assert!(matches!(mode(url), PgSslMode::VerifyFull), "{url}");
            assert_eq!(exposed(url), None);
        }
        for (sslmode, exposure) in [
            ("disable", Some(Exposure::Plain)),
            ("allow", Some(Exposure::Plain)),
            ("prefer", Some(Exposure::Perhaps)),
            ("require", Some(Exposure::Unchecked)),
            ("verify-ca", None),
            ("verify-full", None),
        ] {
            assert_eq!(
                exposed(&format!("postgres://db/x?sslmode={sslmode}")),
                exposure,
                "{sslmode}"
            );
        }
    }

    #[test]
    fn this_machine_is_connected_to_as_it_comes() {
        for url in [
            "postgres://u:p@localhost/x",
            "postgres://127.0.0.1:5433/x",
            "postgres://%2Frun%2Fpostgresql/x",
            "postgres://db/x?host=/run/postgresql",
        ] {
            assert!(matches!(mode(url), PgSslMode::Prefer), "{url}");
            assert_eq!(exposed(url), None);
        }
        assert!(matches!(
            mode("postgres://127.0.0.1/x?sslmode=require"),
            PgSslMode::Require
        ));
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_quoted_and_an_encoded_password_may_hold_anything() {
        for url in [
            "u:hunter2@db",
            "mysql://u:hunter2@db/x",
            "postgres://u:hunter2/y@db/x",
            "postgres://u:12/hunter2@db/x",
            "postgres://u:12?hunter2@db/x",
            "postgres://u:hunter2#y@db/x",
            "postgres://u:hunter2@db/x?sslmode=perhaps",
            "",
        ] {
            let error = options(&SecretString::from(url), "the source").unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains("hunter2") && text.contains("percent-encoded"),
                "{url}: {text}"
            );
        }
        let url = "postgres://u:%40%2F%3F%25%3A%23%20%26%C3%A7@db:5433/x";
        let options = options(&SecretString::from(url), "it").unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("db", 5433));
        assert_eq!(server_name(&SecretString::from(url)), "db:5433/x");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        for parameter in ["sslrootcert", "sslcert", "sslkey"] {
            let url = format!("postgres://u:hunter2@db/x?{parameter}=/nowhere/file.pem");
            let error = options(&SecretString::from(url), "the source").unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("/nowhere/file.pem") && text.contains("the source"),
                "{text}"
            );
        }
    }
}
