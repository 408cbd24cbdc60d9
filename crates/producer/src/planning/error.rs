//! Why a run could not be planned.

use tidemark_ledger::DbError;
use tidemark_ledger::reject::MAX_REJECTS;
use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind, failure_kind};
use tidemark_runtime::config::ConfigError;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunType;
use tidemark_source::SourceError;

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Ledger(#[from] DbError),
    /// A table of the target is not as the migrations made it.
    #[error("the target cannot be read: {changed}")]
    Target {
        changed: String,
        #[source]
        source: DbError,
    },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "tenant {0} has no inboxes on source `{1}`: map them with `tidemark inbox map --tenant {0} --inbox …`"
    )]
    NoInboxes(TenantId, String),
    #[error(
        "account {account} of source `{source_name}` has no inbox for tenant {tenant}: `tidemark account list` shows the \
         accounts with their inboxes"
    )]
    NoAccountInboxes {
        tenant: TenantId,
        account: i32,
        source_name: String,
    },
    #[error("tenant {0} was removed")]
    Removed(TenantId),
    #[error(
        "more than {MAX_REJECTS} of the tenant's conversations cannot be read: too many to reject row by row"
    )]
    TooManyUnreadable(#[source] SourceError),
    #[error(
        "{gone} of the tenant's {live} conversations are gone from the source at once: nothing is marked deleted; \
         if that is right, run `tidemark {} --tenant {tenant} … --allow-mass-delete`{}",
        if *.run_type == RunType::Resync { "resync" } else { "sync" },
        .also.as_ref().map(|also| format!("; {also}")).unwrap_or_default()
    )]
    MassDelete {
        run_type: RunType,
        tenant: TenantId,
        gone: i64,
        live: i64,
        /// Inboxes that are gone beside these conversations, and what to decide about them.
        also: Option<String>,
    },
    #[error(
        "source `{name}` shows no conversation at all while the tenant has {live}: nothing is marked deleted; check \
         what its login may read, or if that is right run `tidemark sync --tenant {tenant} --allow-mass-delete`"
    )]
    Empty {
        tenant: TenantId,
        name: String,
        live: i64,
    },
}

impl PlanError {
    /// Whether the rows of one tenant may be the cause, so that the rest of its group can be planned without it.
    /// A timeout, an unavailable server and a missing privilege concern the whole group: trying each tenant would multiply
    /// the cost. A group that needs more memory or temporary files than the source has may fit in parts.
    pub(crate) fn may_be_caused_by_one_tenant(&self) -> bool {
        match self {
            Self::Ledger(error) => {
                !self.is_unavailable()
                    && matches!(
                        failure_kind(&error.source),
                        FailureKind::Data | FailureKind::Transient
                    )
            }
            Self::Source(error) => match error.kind() {
                FailureKind::Exhausted | FailureKind::Limit => true,
                kind => !self.is_unavailable() && matches!(kind, FailureKind::Data | FailureKind::Transient),
            },
            _ => true,
        }
    }

    /// Whether a statement at the source needed more time, memory or disk than there is: two such failures say that the
    /// source is short of it, and not that one tenant is large.
    pub(crate) fn is_source_overtaxed(&self) -> bool {
        matches!(self, Self::Source(error) if matches!(error.kind(), FailureKind::Timeout | FailureKind::Exhausted))
    }

    /// Whether the tenant has no inbox to plan from.
    pub(crate) const fn has_no_inboxes(&self) -> bool {
        matches!(self, Self::NoInboxes(..) | Self::NoAccountInboxes { .. })
    }

    /// Whether the ledger or the source is unavailable: the run can be planned later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_temporary(),
            // planning only reads: when its connection breaks, the server is the cause
            Self::Source(SourceError::Query { source, .. }) => {
                control_failure_kind(source).passes_by_itself()
            }
            Self::Source(error) => error.kind().passes_by_itself(),
            // all other errors are about what the servers answered
            _ => false,
        }
    }
}
