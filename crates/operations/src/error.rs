//! The error of an operation.

use tidemark_broker::QueueError;
use tidemark_ledger::DbError;
pub use tidemark_net::outbound::OutboundError;
pub use tidemark_net::tls::{Exposure, ServerKind, TlsFault};
pub use tidemark_producer::planning::error::PlanError;
use tidemark_runtime::config::ConfigError;
use tidemark_source::SourceError;
use tidemark_worker::error::ExecuteError;

use crate::refusal::Refusal;
use crate::script_import::ScriptError;
use crate::script_import::load::RowImportError;

pub type OperationResult<T> = Result<T, OperationError>;

/// Front ends tell these cases apart: the command line has an exit code for each.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The request cannot be fulfilled, or something has to be set up first.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Ledger(#[from] DbError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    RowImport(#[from] RowImportError),
}
