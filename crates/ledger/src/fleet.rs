//! Numbers of the whole fleet, for metrics. Loading them costs a few index scans and a row for each tenant.

use sqlx::FromRow;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::job::Lane;

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    TENANTS = include_str!("fleet/tenants.sql");
    PAUSED = "SELECT count(*) FROM tenants WHERE paused_at IS NOT NULL AND deleted_at IS NULL";
    CHUNKS = "SELECT status::text AS state, lane::text, count(*) AS chunks FROM etl_chunk \
              WHERE status = 'pending' OR status IN ('queued', 'running') GROUP BY status, lane";
    // progress is a chunk that began or ended; a chunk that is only published again is no progress
    RUNS = "SELECT r.status::text AS state, count(*) AS runs, \
                   max(extract(epoch FROM now() - greatest(r.requested_at, r.started_at, c.at)))::float8 AS stalled \
            FROM etl_control r \
            CROSS JOIN LATERAL (SELECT max(greatest(started_at, finished_at)) AS at FROM etl_chunk WHERE run_id = r.id) c \
            WHERE r.finished_at IS NULL GROUP BY r.status";
    REJECTS = "SELECT count(*) FROM etl_rejected_row WHERE resolved_at IS NULL";
    SOURCES = "SELECT source, error IS NOT NULL AS failing, \
                      extract(epoch FROM looked_at - coalesce(fence_at, (holder->>'since')::timestamptz))::float8 AS fence_lag, \
                      extract(epoch FROM now() - written_at)::float8 AS seen_ago \
               FROM etl_source_watch \
               WHERE source IN (SELECT t.source FROM tenants t WHERE t.deleted_at IS NULL) ORDER BY source";
    VERIFICATIONS = "SELECT CASE WHEN v.tenant_id IS NULL THEN 'never' \
                                 WHEN v.missing + v.extra + v.stale + v.different + v.impossible = 0 THEN 'equal' ELSE 'different' END AS verdict, \
                            count(*) AS tenants \
                     FROM tenants t LEFT JOIN etl_verification v ON v.tenant_id = t.id \
                     WHERE t.deleted_at IS NULL GROUP BY 1";
    FAULTS = "SELECT coalesce(sum(v.missing), 0)::bigint, coalesce(sum(v.extra), 0)::bigint, \
                     coalesce(sum(v.stale), 0)::bigint, coalesce(sum(v.different), 0)::bigint, \
                     coalesce(sum(v.impossible), 0)::bigint \
              FROM etl_verification v JOIN tenants t ON t.id = v.tenant_id AND t.deleted_at IS NULL";
    PROCESSES = "SELECT role, count(*) FROM etl_process WHERE last_seen_at > now() - interval '30 seconds' GROUP BY role";
}

/// Numbers of the fleet at one moment. Durations are in seconds, by the ledger's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Tenants that are planned.
    pub tenants: Vec<TenantLag>,
    pub tenants_paused: i64,
    /// Open chunks.
    pub chunks: Vec<ChunkCount>,
    /// Open runs.
    pub runs: Vec<RunCount>,
    /// Open rejects.
    pub rejects: i64,
    pub sources: Vec<SourceLag>,
    /// Tenants by the verdict of their last comparison: `equal`, `different`, `never`.
    pub verifications: Vec<(String, i64)>,
    /// Rows that those comparisons found missing, extra, stale, different and impossible.
    pub faults: (i64, i64, i64, i64, i64),
    /// Live processes, by role.
    pub processes: Vec<(String, i64)>,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct TenantLag {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub watermark_lag: f64,
    pub consecutive_failures: i32,
    pub late: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ChunkCount {
    pub state: String,
    #[sqlx(try_from = "Stored<Lane>")]
    pub lane: Lane,
    pub chunks: i64,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct RunCount {
    pub state: String,
    pub runs: i64,
    /// The longest time that one of these runs has had no chunk begin or end.
    pub stalled: f64,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct SourceLag {
    pub source: String,
    /// Whether the source cannot be sampled at the moment.
    pub failing: bool,
    /// How far the fence was behind the source's clock at the last sample. While an open transaction is older than
    /// every sample, the age of that transaction. `None` when neither is known.
    pub fence_lag: Option<f64>,
    pub seen_ago: f64,
}

pub async fn load(db: &DbPool) -> DbResult<Fleet> {
    let attempted = "load the numbers of the fleet";
    Ok(Fleet {
        tenants: sqlx::query_as(TENANTS).fetch_all(db).await.attempt(attempted)?,
        tenants_paused: sqlx::query_scalar(PAUSED)
            .fetch_one(db)
            .await
            .attempt(attempted)?,
        chunks: sqlx::query_as(CHUNKS).fetch_all(db).await.attempt(attempted)?,
        runs: sqlx::query_as(RUNS).fetch_all(db).await.attempt(attempted)?,
        rejects: sqlx::query_scalar(REJECTS)
            .fetch_one(db)
            .await
            .attempt(attempted)?,
        sources: sqlx::query_as(SOURCES).fetch_all(db).await.attempt(attempted)?,
        verifications: sqlx::query_as(VERIFICATIONS)
            .fetch_all(db)
            .await
            .attempt(attempted)?,
        faults: sqlx::query_as(FAULTS).fetch_one(db).await.attempt(attempted)?,
        processes: sqlx::query_as(PROCESSES).fetch_all(db).await.attempt(attempted)?,
    })
}
