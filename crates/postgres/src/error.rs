//! Why no connection could be made at the start, with the server's name and what to do.

use std::path::PathBuf;

use tidemark_net::tls::{ServerKind, TlsFault};

use crate::fault::refuses_login;
use crate::sqlstate::{control_failure_kind, sqlstate};

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "the URL of {label} is not a PostgreSQL URL: write postgres://user:password@host:port/database, special characters \
         in user and password percent-encoded"
    )]
    Url { label: &'static str },
    #[error("the URL of {label} cannot be used: {problem}")]
    Hosts { label: &'static str, problem: String },
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

impl ConnectError {
    /// Whether the server, or a pooler before it, refuses user or password.
    #[must_use]
    pub fn refuses_login(&self) -> bool {
        matches!(self, Self::Refused { source, .. } | Self::Plain { source, .. } if refuses_login(source))
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

/// The error of a first connection. `is_plain`: nothing on the way was encrypted.
pub(crate) fn connect_error(
    is_plain: bool,
    label: &'static str,
    server: String,
    source: sqlx::Error,
) -> ConnectError {
    if refuses_settings(&source) {
        return ConnectError::Pooler { label, server };
    }
    if let Some(fault) = tls_fault(&source) {
        return ConnectError::Tls {
            label,
            server,
            fault,
            source,
        };
    }
    match sqlstate(&source) {
        Some(sqlstate) if refuses_login(&source) || !control_failure_kind(&source).passes_by_itself() => {
            if sqlstate == "28000" && is_plain {
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

/// Whether a pooler refused the settings of the session. It has no SQLSTATE of its own for that.
fn refuses_settings(error: &sqlx::Error) -> bool {
    sqlstate(error).as_deref() == Some("08P01") && error.to_string().contains("startup parameter")
}
