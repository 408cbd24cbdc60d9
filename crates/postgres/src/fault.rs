//! Failures to connect that have no SQLSTATE of their own, or need more words than the server's.

use std::io;
use std::path::{Path, PathBuf};

use tidemark_net::url::UrlFileError;

use crate::sqlstate::sqlstate;

/// Why no connection was made, in a process that runs. The next attempt may succeed, so all of these count as a server
/// that is away.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    #[error(
        "the server refuses user or password ({}){}: {}",
        sqlstate(cause).unwrap_or_default(),
        detail(cause),
        remedy(file.as_deref())
    )]
    Login {
        file: Option<PathBuf>,
        cause: Box<sqlx::Error>,
    },
    #[error("{cause}: {}", cause.source)]
    File { cause: UrlFileError },
    /// The URL was read again, and is none.
    #[error("{} no longer has the URL of a PostgreSQL server: correct it, it is read again at the next attempt", path.display())]
    Url { path: PathBuf },
    #[error("no host can be used (target_session_attrs={wanted}): {}", tried.join("; "))]
    NoHost {
        wanted: &'static str,
        /// Each host with what was found.
        tried: Vec<String>,
    },
}

impl From<ConnectFault> for sqlx::Error {
    fn from(fault: ConnectFault) -> Self {
        // the kind of a server that is away
        Self::Io(io::Error::new(io::ErrorKind::ConnectionRefused, fault))
    }
}

/// The server's words, which name the user.
fn detail(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .map(|error| format!(", {}", error.message()))
        .unwrap_or_default()
}

fn remedy(file: Option<&Path>) -> String {
    match file {
        Some(file) => format!("correct {}, it is read again at each attempt", file.display()),
        None => "correct them on the server, or start this process with another URL (one in a file is read again at each \
                 attempt)"
            .to_owned(),
    }
}

/// The fault that an error of the driver contains.
#[must_use]
pub fn connect_fault(error: &sqlx::Error) -> Option<&ConnectFault> {
    match error {
        sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Whether the server, or a pooler before it, refuses user or password.
#[must_use]
pub fn refuses_login(error: &sqlx::Error) -> bool {
    // PgBouncer's own SQLSTATE is that of a protocol violation
    const POOLERS_WORDS: [&str; 4] = [
        "password authentication failed",
        "SASL authentication failed",
        "auth failed",
        "no such user",
    ];
    if matches!(connect_fault(error), Some(ConnectFault::Login { .. })) {
        return true;
    }
    match sqlstate(error).as_deref() {
        Some("28P01" | "28000") => true,
        Some("08P01") => error
            .as_database_error()
            .is_some_and(|error| POOLERS_WORDS.iter().any(|words| error.message().contains(words))),
        _ => false,
    }
}
