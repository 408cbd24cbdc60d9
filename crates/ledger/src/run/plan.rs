//! From requested to running: the claim of a planner, and the plan that it writes.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::RunType;

use crate::stored::{Stored, stored, value};
use crate::{Attempt, DbResult, secs, statements};

statements! {
    CLAIM_REQUESTED = "UPDATE etl_control SET status = 'planning', planner = $1, \
                              planning_until = now() + make_interval(secs => $2), started_at = coalesce(started_at, now()) \
                       WHERE id = (SELECT r.id FROM etl_control r JOIN tenants t ON t.id = r.tenant_id \
                                   WHERE r.finished_at IS NULL AND ($3::bigint[] IS NULL OR r.id = ANY($3)) \
                                     AND (r.status = 'requested' OR (r.status = 'planning' AND r.planning_until < now())) \
                                     AND t.paused_at IS NULL AND t.status IN ('active', 'trial') AND t.deleted_at IS NULL \
                                   ORDER BY r.id LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED) \
                       RETURNING id, tenant_id, type, request, traceparent";
    RENEW_PLANNING = "UPDATE etl_control SET planning_until = now() + make_interval(secs => $3) \
                      WHERE id = $1 AND status = 'planning' AND planner = $2";
    RECORD_PLANNING_ERROR = "UPDATE etl_control SET error_message = $3 WHERE id = $1 AND status = 'planning' AND planner = $2";
    START_PLANNED = "UPDATE etl_control SET status = 'running', planning_until = NULL, mapping_version = $3, \
                            watermark_start = $4, watermark_end = $5, signals = $6, warnings = $7, chunks_total = $8, \
                            compares_digests = $9, error_message = $10 \
                     WHERE id = $1 AND status = 'planning' AND planner = $2 \
                       AND NOT EXISTS (SELECT FROM tenants t WHERE t.id = tenant_id AND t.source_version > $3)";
    // refuses a tenant that has moved since: the plan read its old source
    INSERT_RUNNING = "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, mapping_version, \
                             watermark_start, watermark_end, signals, warnings, chunks_total, compares_digests, \
                             trace_id, traceparent, etl_version, error_message) \
                      SELECT $1, $2, 'running', 'scheduler', now(), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 \
                      FROM tenants t WHERE t.id = $1 AND t.deleted_at IS NULL AND t.source_version <= $3 FOR KEY SHARE OF t \
                      ON CONFLICT (tenant_id) WHERE finished_at IS NULL AND type IN ('incremental', 'full') DO NOTHING \
                      RETURNING id";
    FAIL_PLANNING = "UPDATE etl_control SET status = 'failed', finished_at = now(), planning_until = NULL, error_message = $3 \
                     WHERE id = $1 AND status = 'planning' AND planner = $2";
    INSERT_FAILED = "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, finished_at, error_message, \
                            trace_id, traceparent, etl_version) \
                     VALUES ($1, $2, 'failed', 'scheduler', now(), now(), $3, $4, $5, $6)";
}

/// A requested run that this producer may plan until its claim ends.
#[derive(Debug, Clone, FromRow)]
pub struct ClaimedRun {
    #[sqlx(try_from = "Stored<RunId>")]
    pub id: RunId,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(rename = "type")]
    #[sqlx(try_from = "Stored<RunType>")]
    pub run_type: RunType,
    /// As it was requested: see `RunRequest::read`.
    pub request: Json<serde_json::Value>,
    pub traceparent: Option<String>,
}

/// The plan that is written to its run.
#[derive(Debug, Clone)]
pub struct PlanRecord {
    pub mapping_version: i64,
    pub watermark_start: Option<DateTime<Utc>>,
    pub watermark_end: Option<DateTime<Utc>>,
    pub signals: BTreeMap<String, i64>,
    pub warnings: Vec<String>,
    pub chunks_total: i32,
    /// Whether the run takes every row with a different digest.
    pub compares_digests: bool,
    /// What the run leaves as it is until an operator decides. It ends partial, with this as its error.
    pub undecided: Option<String>,
}

/// Claims one requested run for planning, or one whose planner has disappeared. `only` restricts it to these runs.
pub async fn claim_requested(
    db: impl PgExecutor<'_>,
    planner: &str,
    claim_duration: Duration,
    only: Option<&[RunId]>,
) -> DbResult<Option<ClaimedRun>> {
    sqlx::query_as(CLAIM_REQUESTED)
        .bind(planner)
        .bind(secs(claim_duration))
        .bind(only.map(stored))
        .fetch_optional(db)
        .await
        .attempt("claim a requested run")
}

/// Extends the claim on a run that is being planned; `false` when the claim was lost or the run cancelled.
pub async fn renew_planning(
    db: impl PgExecutor<'_>,
    id: RunId,
    planner: &str,
    claim_duration: Duration,
) -> DbResult<bool> {
    sqlx::query(RENEW_PLANNING)
        .bind(Stored(id))
        .bind(planner)
        .bind(secs(claim_duration))
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("renew the claim on a run")
}

/// Moves a claimed run from planning to running; `false` when the claim was lost.
pub async fn start_planned(
    tx: &mut PgTransaction<'_>,
    id: RunId,
    planner: &str,
    plan: &PlanRecord,
) -> DbResult<bool> {
    sqlx::query(START_PLANNED)
        .bind(Stored(id))
        .bind(planner)
        .bind(plan.mapping_version)
        .bind(plan.watermark_start)
        .bind(plan.watermark_end)
        .bind(Json(&plan.signals))
        .bind(Json(&plan.warnings))
        .bind(plan.chunks_total)
        .bind(plan.compares_digests)
        .bind(&plan.undecided)
        .execute(&mut **tx)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("start the planned run")
}

/// Inserts a scheduled run that is already planned; `None` when the tenant has an open run since.
pub async fn insert_running(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    run_type: RunType,
    plan: &PlanRecord,
    trace_id: Option<&str>,
    traceparent: Option<&str>,
) -> DbResult<Option<RunId>> {
    sqlx::query_scalar(INSERT_RUNNING)
        .bind(Stored(tenant))
        .bind(Stored(run_type))
        .bind(plan.mapping_version)
        .bind(plan.watermark_start)
        .bind(plan.watermark_end)
        .bind(Json(&plan.signals))
        .bind(Json(&plan.warnings))
        .bind(plan.chunks_total)
        .bind(plan.compares_digests)
        .bind(trace_id)
        .bind(traceparent)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(&plan.undecided)
        .fetch_optional(&mut **tx)
        .await
        .map(value)
        .attempt("insert the planned run")
}

/// Records why a claimed run is not planned yet. Starting the run clears it.
pub async fn record_planning_error(
    db: impl PgExecutor<'_>,
    id: RunId,
    planner: &str,
    error: &str,
) -> DbResult<()> {
    sqlx::query(RECORD_PLANNING_ERROR)
        .bind(Stored(id))
        .bind(planner)
        .bind(error)
        .execute(db)
        .await
        .map(drop)
        .attempt("record why the run is not planned")
}

/// Ends a claimed run whose plan failed; `false` when the claim was lost.
pub async fn fail_planning(db: impl PgExecutor<'_>, id: RunId, planner: &str, error: &str) -> DbResult<bool> {
    sqlx::query(FAIL_PLANNING)
        .bind(Stored(id))
        .bind(planner)
        .bind(error)
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("fail the run")
}

/// Records that a scheduled plan failed, so that an operator sees it.
pub async fn insert_failed(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    run_type: RunType,
    error: &str,
    trace_id: Option<&str>,
    traceparent: Option<&str>,
) -> DbResult<()> {
    sqlx::query(INSERT_FAILED)
        .bind(Stored(tenant))
        .bind(Stored(run_type))
        .bind(error)
        .bind(trace_id)
        .bind(traceparent)
        .bind(env!("CARGO_PKG_VERSION"))
        .execute(db)
        .await
        .map(drop)
        .attempt("insert the failed run")
}
