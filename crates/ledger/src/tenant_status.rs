//! How each tenant stands: what the ledger says of it at one moment, for people.

use crate::stored::Stored;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use super::{Attempt, DbResult, statements};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::tenant::Tenant;

statements! {
    // late: as the fleet's metrics have it
    LIST = "SELECT now() AS at, t.id, t.name, t.slug, t.status, t.source, t.account_id, t.timezone, \
                   extract(epoch FROM t.sync_interval)::float8 AS sync_interval, \
                   extract(epoch FROM t.lookback)::float8 AS lookback, \
                   t.chunk_size, t.max_in_flight, t.mapping_version, t.privacy, t.paused_at, t.pause_reason, \
                   extract(epoch FROM t.verify_interval)::float8 AS verify_interval, \
                   w.watermark, w.checked_at, w.consecutive_failures, w.next_due_at, \
                   now() - coalesce(w.watermark, t.created_at) > interval '1 minute' + 3 * t.sync_interval AS late, \
                   (SELECT count(*) FROM inbox_tenant_mapping m \
                    WHERE m.tenant_id = t.id AND m.source = t.source AND m.is_active) AS inboxes, \
                   coalesce(c.pending, 0) AS pending, coalesce(c.queued, 0) AS queued, coalesce(c.running, 0) AS running, \
                   coalesce(c.backing_off, 0) AS backing_off, c.error AS last_error, \
                   (SELECT r.id FROM etl_control r WHERE r.tenant_id = t.id ORDER BY r.id DESC LIMIT 1) AS last_run_id \
            FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id \
            LEFT JOIN (SELECT tenant_id, count(*) FILTER (WHERE status = 'pending') AS pending, \
                              count(*) FILTER (WHERE status = 'queued') AS queued, \
                              count(*) FILTER (WHERE status = 'running') AS running, \
                              count(*) FILTER (WHERE status = 'pending' AND next_attempt_at > now()) AS backing_off, \
                              (array_agg(error ORDER BY next_attempt_at DESC) \
                                   FILTER (WHERE status = 'pending' AND next_attempt_at > now()))[1] AS error \
                       FROM etl_chunk WHERE status = 'pending' OR status IN ('queued', 'running') GROUP BY tenant_id) c \
                 ON c.tenant_id = t.id \
            WHERE t.deleted_at IS NULL ORDER BY t.id";
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
    /// Three intervals and a minute behind, or more.
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
    /// Those of the pending that wait for their next attempt.
    pub backing_off: i64,
    /// Why one of them does.
    pub last_error: Option<String>,
}

impl OpenChunks {
    /// Chunks that take places within the limits.
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
///
/// # Errors
/// When the ledger does not answer.
pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<TenantSnapshot>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .attempt("look at the tenants")
}
