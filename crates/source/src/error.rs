//! Errors of a source, and how to react to each.

use tidemark_postgres::connect::ConnectError;
use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind, failure_kind};
use tidemark_runtime::config::ConfigError;
use tidemark_runtime::finding::Lack;

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("get a connection to source `{name}` at {server}")]
    Unreachable {
        name: String,
        server: String,
        source: sqlx::Error,
    },
    #[error("{attempted} on source `{name}` at {server}")]
    Query {
        attempted: &'static str,
        name: String,
        server: String,
        source: sqlx::Error,
    },
    #[error(
        "a table of source `{name}` at {server} is locked, for example by a migration: it is read after the lock is released"
    )]
    Busy {
        name: String,
        server: String,
        source: Option<sqlx::Error>,
    },
    #[error(
        "source `{name}` at {server} lacks tables, columns or rights that are needed: {}",
        lacks(missing)
    )]
    Schema {
        name: String,
        server: String,
        missing: Vec<Lack>,
    },
    #[error(
        "source `{name}` at {server} went back in time (its transaction ids were at {known}, now at {seen}): \
         it was restored or swapped; nothing is planned from it"
    )]
    WentBack {
        name: String,
        server: String,
        known: i64,
        seen: i64,
    },
}

impl SourceError {
    /// How to react to the error.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { source, .. } => control_failure_kind(source),
            Self::Query { source, .. } => failure_kind(source),
            // a certificate can be renewed at any time, so TLS errors are retried as well
            Self::Connect(ConnectError::Unreachable { .. } | ConnectError::Tls { .. }) => {
                FailureKind::Unavailable
            }
            // the password is changed under a running process
            Self::Connect(error) if error.refuses_login() => FailureKind::Unavailable,
            Self::Busy { .. } => FailureKind::Unavailable,
            Self::Connect(_) => FailureKind::Transient,
            Self::Config(_) | Self::Schema { .. } | Self::WentBack { .. } => FailureKind::Configuration,
        }
    }

    /// Whether a value in a row caused the error: the statement passes without that row.
    #[must_use]
    pub fn is_data(&self) -> bool {
        matches!(self, Self::Query { source, .. } if failure_kind(source) == FailureKind::Data)
    }
}

fn lacks(missing: &[Lack]) -> String {
    let lacks: Vec<String> = missing.iter().map(ToString::to_string).collect();
    lacks.join(", ")
}
