//! Exit codes, a contract with scripts: 0 done, 1 failed, 2 partial, 64 usage, 69 a server cannot be reached,
//! 78 configuration, 130 interrupted.

use std::process::ExitCode;

use tidemark_broker::QueueError;
use tidemark_ledger::DbError;
use tidemark_ledger::connect::OpenError;
use tidemark_operations::error::OperationError;
use tidemark_operations::script_import::ScriptError;
use tidemark_postgres::connect::ConnectError;
use tidemark_postgres::fault::refuses_login;
use tidemark_postgres::sqlstate::{FailureKind, failure_kind};
use tidemark_producer::planning::error::PlanError;
use tidemark_runtime::config::ConfigError;
use tidemark_runtime::telemetry::TelemetryError;
use tidemark_shared::ids::RunId;
use tidemark_shared::run::{RunReport, RunStatus};
use tidemark_source::SourceError;
use tidemark_worker::error::ExecuteError;
use tidemark_worker::extract::ExtractError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    Partial,
    Failed,
    Usage,
    Unreachable,
    Configuration,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Partial => 2,
            Exit::Usage => 64,
            Exit::Unreachable => 69,
            Exit::Configuration => 78,
            Exit::Interrupted => 130,
        })
    }
}

/// The arguments cannot be used; the message says what to ask for instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Something has to be set up first; the message says what.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub String);

/// Ctrl-C stopped watching; the runs go on.
#[derive(Debug, thiserror::Error)]
#[error(
    "interrupted, the runs go on: `tidemark run watch {}`{} shows {}",
    .0.first().map(RunId::to_string).unwrap_or_default(),
    if .0.len() > 1 { ", and so on," } else { "" },
    if .0.len() > 1 { "them" } else { "it" }
)]
pub struct Interrupted(pub Vec<RunId>);

impl Exit {
    /// The code for an error, by the first of its causes that has one.
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if cause.is::<UsageError>() {
            return Some(Self::Usage);
        }
        if let Some(error) = cause.downcast_ref::<OperationError>() {
            return match error {
                OperationError::Refused(refusal) if refusal.needs_setup() => Some(Self::Configuration),
                OperationError::Refused(_) => Some(Self::Usage),
                OperationError::Ledger(error) => Self::of_cause(error),
                OperationError::Config(error) => Self::of_cause(error),
                OperationError::Source(error) => Self::of_cause(error),
                OperationError::Queue(error) => Self::of_cause(error),
                OperationError::Plan(error) => Self::of_cause(error),
                OperationError::Execute(error) => Self::of_cause(error),
                OperationError::Script(error) => Self::of_cause(error),
                OperationError::RowImport(_) => None,
            };
        }
        if cause.is::<Interrupted>() {
            return Some(Self::Interrupted);
        }
        if cause.is::<SetupError>() || cause.is::<ConfigError>() || cause.is::<TelemetryError>() {
            return Some(Self::Configuration);
        }
        // transparent errors hide their inner error from the chain, so each is matched here
        let connect = match cause.downcast_ref::<OpenError>() {
            Some(OpenError::Connect(error)) => Some(error),
            Some(_) => return Some(Self::Configuration),
            None => cause.downcast_ref::<ConnectError>(),
        };
        if let Some(error) = connect {
            return Some(match error {
                ConnectError::Unreachable { source, .. } if refuses_login(source) => Self::Configuration,
                ConnectError::Unreachable { .. } => Self::Unreachable,
                _ => Self::Configuration,
            });
        }
        if let Some(error) = cause.downcast_ref::<QueueError>() {
            return Some(if error.is_configuration() {
                Self::Configuration
            } else {
                Self::Unreachable
            });
        }
        if let Some(error) = cause.downcast_ref::<PlanError>() {
            return match error {
                PlanError::Config(_)
                | PlanError::NoInboxes(..)
                | PlanError::NoAccountInboxes { .. }
                | PlanError::Target { .. } => Some(Self::Configuration),
                PlanError::Source(error) => Self::of_source(error),
                PlanError::MassDelete { .. }
                | PlanError::Empty { .. }
                | PlanError::TooManyUnreadable(_)
                | PlanError::Removed(_) => Some(Self::Failed),
                PlanError::Ledger(error) => Self::of_driver(&error.source),
            };
        }
        if let Some(error) = cause.downcast_ref::<ExecuteError>() {
            return match error {
                ExecuteError::TimeZone(_) | ExecuteError::PrivacyKey(_) | ExecuteError::Config(_) => {
                    Some(Self::Configuration)
                }
                ExecuteError::Source(error) | ExecuteError::Extract(ExtractError::Source(error)) => {
                    Self::of_source(error)
                }
                ExecuteError::Ledger(error) => Self::of_driver(&error.source),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<SourceError>() {
            return Self::of_source(error);
        }
        if let Some(error) = cause.downcast_ref::<ScriptError>() {
            return match error {
                ScriptError::Connect(ConnectError::Unreachable { .. }) => Some(Self::Unreachable),
                ScriptError::Connect(_) => Some(Self::Configuration),
                ScriptError::Shape { .. } | ScriptError::Own { .. } => Some(Self::Configuration),
                ScriptError::Query { source, .. } => Self::of_driver(source),
            };
        }
        if let Some(error) = cause.downcast_ref::<DbError>() {
            return Self::of_driver(&error.source);
        }
        None
    }

    fn of_source(error: &SourceError) -> Option<Self> {
        match error {
            SourceError::Connect(ConnectError::Unreachable { .. }) | SourceError::Busy { .. } => {
                Some(Self::Unreachable)
            }
            // a column, a table or a right is missing
            SourceError::Query { source, .. } if failure_kind(source) == FailureKind::Configuration => {
                Some(Self::Configuration)
            }
            SourceError::Unreachable { source, .. } | SourceError::Query { source, .. } => {
                Self::of_driver(source)
            }
            SourceError::WentBack { .. } => Some(Self::Failed),
            SourceError::Connect(_) | SourceError::Config(_) | SourceError::Schema { .. } => {
                Some(Self::Configuration)
            }
        }
    }

    fn of_driver(error: &sqlx::Error) -> Option<Self> {
        if refuses_login(error) {
            return Some(Self::Configuration);
        }
        // a lock timeout and a full disk pass like an outage
        let away = matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)
            || failure_kind(error).passes_by_itself();
        away.then_some(Self::Unreachable)
    }

    /// The code for runs that were waited for: the worst of them.
    pub fn of_runs(runs: &[RunReport]) -> Self {
        let has = |statuses: &[RunStatus]| runs.iter().any(|run| statuses.contains(&run.status));
        if has(&[RunStatus::Failed, RunStatus::Cancelled]) {
            Self::Failed
        } else if has(&[RunStatus::Partial]) {
            Self::Partial
        } else {
            Self::Done
        }
    }
}
