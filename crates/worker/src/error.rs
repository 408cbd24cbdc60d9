//! Why the work on a chunk or a comparison stopped.

use tidemark_ledger::DbError;
use tidemark_runtime::config::ConfigError;
use tidemark_shared::ids::TenantId;
use tidemark_source::SourceError;

use crate::extract::ExtractError;
use crate::load::LoadError;

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error("the lease was lost")]
    LeaseLost,
    #[error("the worker panicked: {0}: this is a bug, please report it with the worker's log")]
    Panicked(String),
    #[error("the worker is shutting down")]
    ShuttingDown,
    #[error("the tenant's time zone `{0}` is unknown: set tenants.timezone to an IANA name")]
    TimeZone(String),
    #[error(
        "tenant {0} has hashed columns, and this process has no key: set TIDEMARK_PRIVACY_KEY or \
         TIDEMARK_PRIVACY_KEY_FILE for every worker"
    )]
    PrivacyKey(TenantId),
    #[error(
        "source `{0}` shows no conversation at all, though the plan saw some: nothing is marked deleted; check what \
         its login may see"
    )]
    Empty(String),
    #[error("tenant {0} was removed")]
    Removed(TenantId),
    /// The comparison continues after the tenant's next sync.
    #[error("{0} rows differ: they are compared again after the tenant's next sync")]
    Unsettled(usize),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Ledger(#[from] DbError),
}
