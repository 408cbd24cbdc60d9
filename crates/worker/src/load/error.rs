//! Why a load failed.

use tidemark_ledger::DbError;
use tidemark_shared::ids::TenantId;

use crate::rejects::TooManyRejects;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("get a connection to the target")]
    Unreachable(#[source] sqlx::Error),
    #[error("{attempted}")]
    Target {
        attempted: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error(transparent)]
    Ledger(#[from] DbError),
    #[error(transparent)]
    TooManyRejects(#[from] TooManyRejects),
    /// The chunk is somebody else's by now.
    #[error("the lease was lost before the chunk was done")]
    LeaseLost,
    /// The tenant's inboxes changed since the chunk was read, or what may be stored.
    #[error("the tenant's inboxes or its rules for personal data were changed while the chunk was read")]
    Remapped,
    #[error(
        "this run would have marked {gone} of the tenant's {live} conversations deleted, which the source no longer shows: \
         this chunk marks none; look at what the source's login may see, or if they are really gone ask again with \
         `--allow-mass-delete` (tenant {tenant})"
    )]
    MassDelete { tenant: TenantId, gone: i64, live: i64 },
    /// What was about to be written may be older than what another chunk found and had no reason to write.
    #[error("another chunk has read conversations of this one later, and is done")]
    Overtaken,
}

pub(crate) fn target(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> LoadError {
    move |source| LoadError::Target { attempted, source }
}
