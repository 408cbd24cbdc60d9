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
    #[error(
        "the worker panicked: {0}: this is a fault of the program, please report it with the worker's log"
    )]
    Panicked(String),
    #[error("the worker is shutting down")]
    ShuttingDown,
    #[error("tenant's time zone `{0}` is not known: set tenants.timezone to an IANA name")]
    TimeZone(String),
    #[error(
        "tenant {0} has columns hashed, and there is no key for it here: set TIDEMARK_PRIVACY_KEY, or \
         TIDEMARK_PRIVACY_KEY_FILE, for every worker"
    )]
    PrivacyKey(TenantId),
    #[error(
        "source `{0}` shows no conversation at all, of those that the plan saw: nothing is marked deleted; look at what \
         its login may see"
    )]
    Empty(String),
    #[error("tenant {0} was removed")]
    Removed(TenantId),
    /// A comparison has more to do, but not yet.
    #[error("{0} rows are not the same yet: they are looked at once more when the tenant has been synced")]
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
