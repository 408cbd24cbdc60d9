//! Numbers and lists that only pages show.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{RunId, TenantId};

use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, statements};

statements! {
    NOW = "SELECT now()";
    GRID = include_str!("view/grid.sql");
    SLOWEST = include_str!("view/slowest.sql");
    LAG = include_str!("view/lag.sql");
    FIND_RUNS_OF_TRACE = "SELECT id FROM etl_control WHERE trace_id = $1 AND id > (SELECT max(id) - 10000 FROM etl_control) \
                          ORDER BY id DESC LIMIT 20";
    FIND_TENANTS_OF_INBOX = "SELECT DISTINCT tenant_id FROM inbox_tenant_mapping WHERE inbox_id = $1 AND is_active ORDER BY tenant_id";
    OPEN_REJECTS = "SELECT tenant_id, count(*) AS rejects FROM etl_rejected_row WHERE resolved_at IS NULL GROUP BY tenant_id";
}

/// Some chunks of a run, side by side.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct GridCell {
    pub first: i32,
    pub last: i32,
    /// `dead`, `running`, `queued`, `retrying`, `pending`, `cancelled` or `done`.
    pub state: String,
}

/// One of the chunks that took longest.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LongChunk {
    pub seq: i32,
    pub worker_id: Option<String>,
    #[sqlx(try_from = "Stored<ChunkStatus>")]
    pub status: ChunkStatus,
    pub started_at: DateTime<Utc>,
    /// `None`: it is running.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A move of a tenant's watermark, or several that left no gap.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LagMove {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub began_at: DateTime<Utc>,
    pub moved_at: DateTime<Utc>,
    pub old: Option<DateTime<Utc>>,
    pub new: DateTime<Utc>,
}

/// The ledger's clock.
pub async fn now(db: impl PgExecutor<'_>) -> DbResult<DateTime<Utc>> {
    sqlx::query_scalar(NOW)
        .fetch_one(db)
        .await
        .attempt("ask the ledger for the time")
}

/// The chunks of a run with `chunks` of them, in at most `cells` cells.
pub async fn grid(db: impl PgExecutor<'_>, run: RunId, chunks: i32, cells: i32) -> DbResult<Vec<GridCell>> {
    sqlx::query_as(GRID)
        .bind(Stored(run))
        .bind(cells)
        .bind(chunks)
        .fetch_all(db)
        .await
        .attempt("load the states of the run's chunks")
}

/// The chunks of a run that took longest, in the order in which they began.
pub async fn slowest(db: impl PgExecutor<'_>, run: RunId, limit: i32) -> DbResult<Vec<LongChunk>> {
    sqlx::query_as(SLOWEST)
        .bind(Stored(run))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("load the slowest chunks of the run")
}

/// What a picture of the last `hours` of these tenants needs, oldest first: some moves in each half hour.
pub async fn lag(db: impl PgExecutor<'_>, tenants: &[TenantId], hours: i32) -> DbResult<Vec<LagMove>> {
    sqlx::query_as(LAG)
        .bind(stored(tenants))
        .bind(hours)
        .fetch_all(db)
        .await
        .attempt("load the moves of the tenants' watermarks")
}

/// Open rejects of each tenant that has any.
pub async fn open_rejects(db: impl PgExecutor<'_>) -> DbResult<Vec<(TenantId, i64)>> {
    let found: Vec<(Stored<TenantId>, i64)> = sqlx::query_as(OPEN_REJECTS)
        .fetch_all(db)
        .await
        .attempt("count the open rejects")?;
    Ok(found
        .into_iter()
        .map(|(Stored(tenant), count)| (tenant, count))
        .collect())
}

/// Runs with this trace, newest first, among the newest ten thousand: no index has traces.
pub async fn find_runs_of_trace(db: impl PgExecutor<'_>, trace: &str) -> DbResult<Vec<RunId>> {
    sqlx::query_scalar(FIND_RUNS_OF_TRACE)
        .bind(trace)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("find the runs of the trace")
}

/// Tenants that an inbox of this id is mapped to, one for each source.
pub async fn find_tenants_of_inbox(db: impl PgExecutor<'_>, inbox: i32) -> DbResult<Vec<TenantId>> {
    sqlx::query_scalar(FIND_TENANTS_OF_INBOX)
        .bind(inbox)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("find the tenants of the inbox")
}
