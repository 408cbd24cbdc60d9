//! Failures of a source, and what may help against them.

use tidemark_postgres::connect::ConnectError;
use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind, failure_kind};
use tidemark_runtime::config::ConfigError;

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
        "a table of source `{name}` at {server} that is read is locked, as by a migration: it is read when the lock is gone"
    )]
    Busy {
        name: String,
        server: String,
        source: Option<sqlx::Error>,
    },
    #[error("source `{name}` at {server} lacks what is read from it: {}", missing.join(", "))]
    Schema {
        name: String,
        server: String,
        missing: Vec<String>,
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
    /// What may help against it.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { source, .. } => control_failure_kind(source),
            Self::Query { source, .. } => failure_kind(source),
            // a certificate is renewed without anybody telling us
            Self::Connect(ConnectError::Unreachable { .. } | ConnectError::Tls { .. }) => {
                FailureKind::Unavailable
            }
            Self::Busy { .. } => FailureKind::Unavailable,
            Self::Connect(_) => FailureKind::Transient,
            Self::Config(_) | Self::Schema { .. } | Self::WentBack { .. } => FailureKind::Configuration,
        }
    }

    /// Whether a value is to blame: without its row the same statement passes.
    #[must_use]
    pub fn is_data(&self) -> bool {
        matches!(self, Self::Query { source, .. } if failure_kind(source) == FailureKind::Data)
    }
}
