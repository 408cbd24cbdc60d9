//! Connections to PostgreSQL, with errors that name the server and say what to do.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection, raw_sql};

use crate::sqlstate::{control_failure_kind, sqlstate};
use tidemark_net::tls::{Exposure, ServerKind, TlsFault, is_local};
use tidemark_net::url::parse_url;

/// A server notices within a minute that a client's machine is gone, and drops its transactions and locks.
pub const KEEPALIVE: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// How to make a connection that others cannot read.
pub const SSL_MODE: &str =
    "sslmode=verify-full in the URL, and sslrootcert=FILE for an authority of your own";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Compresses staged values by lz4; they keep that compression in the target, also if the column has another. Servers
/// before 14, or built without lz4, keep pglz. $1: for this transaction only
const PREFER_LZ4: &str = "SELECT set_config(name, 'lz4', $1) FROM pg_settings \
     WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)";
/// The pooler between the processes and the analytics database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabasePooler {
    /// No pooler: sessions belong to the processes.
    #[default]
    None,
    /// A pooler that lends sessions for one transaction.
    Transaction,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "the URL of {label} is not a PostgreSQL URL: write postgres://user:password@host:port/database, special characters \
         in user and password percent-encoded"
    )]
    Url { label: &'static str },
    #[error("read {}, which the URL of {label} names", path.display())]
    File {
        label: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("no encrypted connection to {label} at {server}: {}", fault.advice(ServerKind::Postgres))]
    Tls {
        label: &'static str,
        server: String,
        fault: TlsFault,
        source: sqlx::Error,
    },
    #[error(
        "{label} at {server} refused the connection, which is not encrypted ({sqlstate}): leave sslmode out of the URL, or \
         check user and database name"
    )]
    Plain {
        label: &'static str,
        server: String,
        sqlstate: String,
        source: sqlx::Error,
    },
    #[error("cannot reach {label} at {server}: is it running, and may this machine connect to it?")]
    Unreachable {
        label: &'static str,
        server: String,
        source: sqlx::Error,
    },
    #[error(
        "{label} at {server} refused the connection ({sqlstate}): check user, password and database name"
    )]
    Refused {
        label: &'static str,
        server: String,
        sqlstate: String,
        source: sqlx::Error,
    },
    #[error(
        "the settings of a session do not reach {label} at {server}, so a pooler such as PgBouncer is before it: before the \
         analytics database set TIDEMARK_DATABASE_POOLER=transaction; a source is read without one"
    )]
    Pooler { label: &'static str, server: String },
}

/// Parses a URL without quoting it in the error. A URL without a mode of encryption gets `verify-full`, unless the
/// server is this machine.
///
/// # Errors
/// When it is not a PostgreSQL URL, or a file that it names cannot be read.
pub fn options(url: &SecretString, label: &'static str) -> Result<PgConnectOptions, ConnectError> {
    let text = url.expose_secret();
    let parsed = parse_url(text).filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let (Some(parsed), Ok(options)) = (parsed, PgConnectOptions::from_str(text)) else {
        return Err(ConnectError::Url { label });
    };
    let mut mode_is_written = false;
    for (key, value) in parsed.query_pairs() {
        match &*key {
            "sslmode" | "ssl-mode" => mode_is_written = true,
            // the driver reads these files when it connects, and an error would look as if the server were away
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" => {
                let path = Path::new(&*value);
                std::fs::File::open(path).map_err(|source| ConnectError::File {
                    label,
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
    Ok(if is_open && !is_local_server(&options) {
        options.ssl_mode(PgSslMode::VerifyFull)
    } else {
        options
    })
}

fn is_local_server(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || is_local(options.get_host())
}

/// What an attacker on the way to the server could do.
#[must_use]
pub fn exposure(options: &PgConnectOptions) -> Option<Exposure> {
    if is_local_server(options) {
        return None;
    }
    match options.get_ssl_mode() {
        // the driver never encrypts with `allow`
        PgSslMode::Disable | PgSslMode::Allow => Some(Exposure::Plain),
        PgSslMode::Prefer => Some(Exposure::Optional),
        PgSslMode::Require => Some(Exposure::Unverified),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => None,
    }
}

/// The fault of TLS, if that is the cause.
#[must_use]
pub fn tls_fault(error: &sqlx::Error) -> Option<TlsFault> {
    match TlsFault::find(error) {
        None if matches!(error, sqlx::Error::Tls(_)) => Some(TlsFault::NoTls),
        fault => fault,
    }
}

fn connect_error(
    options: &PgConnectOptions,
    label: &'static str,
    server: String,
    source: sqlx::Error,
) -> ConnectError {
    if let Some(fault) = tls_fault(&source) {
        return ConnectError::Tls {
            label,
            server,
            fault,
            source,
        };
    }
    match sqlstate(&source) {
        Some(sqlstate) if !control_failure_kind(&source).passes_by_itself() => {
            if sqlstate == "28000" && exposure(options) == Some(Exposure::Plain) {
                ConnectError::Plain {
                    label,
                    server,
                    sqlstate,
                    source,
                }
            } else {
                ConnectError::Refused {
                    label,
                    server,
                    sqlstate,
                    source,
                }
            }
        }
        _ => ConnectError::Unreachable {
            label,
            server,
            source,
        },
    }
}

/// Opens one connection, to find out at once whether it works, and why not.
///
/// # Errors
/// With the server's name, never its password.
pub async fn probe(
    options: &PgConnectOptions,
    server: &str,
    label: &'static str,
) -> Result<PgConnection, ConnectError> {
    let server = server.to_owned();
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await;
    match attempt {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(source)) if refuses_settings(&source) => Err(ConnectError::Pooler { label, server }),
        Ok(Err(source)) => Err(connect_error(options, label, server, source)),
        Err(_) => {
            let source = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut));
            Err(ConnectError::Unreachable {
                label,
                server,
                source,
            })
        }
    }
}

/// Whether a pooler refused the settings of the session. It has no SQLSTATE of its own for that.
fn refuses_settings(error: &sqlx::Error) -> bool {
    sqlstate(error).as_deref() == Some("08P01") && error.to_string().contains("startup parameter")
}

/// Opens one connection through a pooler, in a transaction that can only be dropped.
///
/// # Errors
/// As [`probe`].
pub async fn probe_pooler(
    options: PgConnectOptions,
    server: &str,
    label: &'static str,
) -> Result<PgConnection, ConnectError> {
    let mut connection = probe(&without_cache(options), server, label).await?;
    raw_sql("BEGIN READ ONLY; DEALLOCATE ALL")
        .execute(&mut connection)
        .await
        .map_err(|source| ConnectError::Unreachable {
            label,
            server: server.to_owned(),
            source,
        })?;
    Ok(connection)
}

/// A server's clock, and when it was read by this machine's monotonic clock: two readings tell how far two servers'
/// clocks are apart.
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

/// Reads the server's clock; half of the round trip is subtracted.
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

/// Options for sessions that a pooler lends: no prepared statements are kept. PgBouncer accepts only the startup
/// settings that it knows.
pub fn without_cache(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None).statement_cache_capacity(0)
}

/// Compresses values that are stored from now on by lz4, where the server supports it: for the session, or for the
/// transaction.
pub async fn prefer_lz4(connection: &mut PgConnection, transaction: bool) -> Result<(), sqlx::Error> {
    sqlx::query(PREFER_LZ4)
        .bind(transaction)
        .execute(connection)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_net::url::server_name;

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
            ("prefer", Some(Exposure::Optional)),
            ("require", Some(Exposure::Unverified)),
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
