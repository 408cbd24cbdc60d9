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
    /// Another attempt has claimed the chunk.
    #[error("the lease was lost before the chunk was done")]
    LeaseLost,
    /// The mapping's version is no longer the one that the chunk was read with.
    #[error("the tenant's inboxes or its rules for personal data were changed while the chunk was read")]
    Remapped,
    #[error(
        "this run would have marked {gone} of the tenant's {live} conversations deleted, which the source no longer shows: \
         this chunk marks none; check what the source's login may see, or if they are really gone request the run again with \
         `--allow-mass-delete` (tenant {tenant})"
    )]
    MassDelete { tenant: TenantId, gone: i64, live: i64 },
    /// The rows may be older than what another chunk read, even where that chunk found nothing to change.
    #[error("another chunk has read the same conversations later, and is done")]
    Overtaken,
}

pub(crate) fn target(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> LoadError {
    move |source| LoadError::Target { attempted, source }
}
