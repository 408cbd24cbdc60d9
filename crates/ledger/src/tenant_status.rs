//! The status of every tenant at one moment, for people.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::tenant::Tenant;

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    LIST = include_str!("tenant_status/list.sql");
}

/// A tenant at one moment.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct TenantSnapshot {
    #[sqlx(flatten, try_from = "Stored<Tenant>")]
    pub tenant: Tenant,
    /// The moment, by the ledger's clock.
    pub at: DateTime<Utc>,
    /// Everything that the source wrote before this instant is in the target.
    pub watermark: Option<DateTime<Utc>>,
    /// When a plan or a run last ended, well or not.
    pub checked_at: Option<DateTime<Utc>>,
    /// Failures in a row.
    pub consecutive_failures: i32,
    pub next_due_at: DateTime<Utc>,
    /// Why it was not planned when it was due last.
    pub plan_error: Option<String>,
    /// Behind by more than three intervals and a minute.
    pub late: bool,
    /// Its active inboxes.
    pub inboxes: i64,
    #[sqlx(flatten)]
    pub open: OpenChunks,
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    pub last_run_id: Option<RunId>,
}

/// Open chunks of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct OpenChunks {
    pub pending: i64,
    pub queued: i64,
    pub running: i64,
    /// Pending chunks that wait for their next attempt.
    pub backing_off: i64,
    /// Error of a pending chunk: of the one that is due last.
    pub last_error: Option<String>,
}

impl OpenChunks {
    /// Chunks that count against the limits.
    #[must_use]
    pub const fn in_flight(&self) -> i64 {
        self.queued + self.running
    }
}

impl TenantSnapshot {
    #[must_use]
    pub const fn tenant_id(&self) -> TenantId {
        self.tenant.id
    }
}

/// Every tenant that has not been removed, ascending.
pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<TenantSnapshot>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .attempt("load the status of the tenants")
}
