//! From requested to running: the claim of a planner, and the plan that it writes.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::RunType;

use crate::coverage::Coverage;
use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, secs, statements};

statements! {
    CLAIM_REQUESTED = "UPDATE etl_control SET status = 'planning', planner = $1, \
                              planning_until = now() + make_interval(secs => $2), started_at = coalesce(started_at, now()) \
                       WHERE id = (SELECT r.id FROM etl_control r JOIN tenants t ON t.id = r.tenant_id \
                                   WHERE r.finished_at IS NULL AND ($3::bigint[] IS NULL OR r.id = ANY($3)) \
                                     AND r.status IN ('requested', 'planning') AND (r.status = 'requested' OR (r.status = 'planning' AND r.planning_until < now())) \
                                     AND t.paused_at IS NULL AND t.status IN ('active', 'trial') AND t.deleted_at IS NULL \
                                   ORDER BY r.id LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED) \
                       RETURNING id, tenant_id, type::text, request, traceparent";
    RENEW_PLANNING = "UPDATE etl_control SET planning_until = now() + make_interval(secs => $3) \
                      WHERE id = $1 AND status = 'planning' AND planner = $2";
    RECORD_PLANNING_ERROR = "UPDATE etl_control SET error_message = $3 WHERE id = $1 AND status = 'planning' AND planner = $2";
    START_PLANNED = "UPDATE etl_control SET status = 'running', planning_until = NULL, mapping_version = $3, \
                            watermark_start = $4, watermark_end = $5, signals = $6, warnings = $7, chunks_total = $8, \
                            compares_digests = $9, error_message = $10, \
                            plan_epoch = $11, plan_xmin = $12, plan_clock = $13, plan_since = $14 \
                     WHERE id = $1 AND status = 'planning' AND planner = $2 \
                       AND NOT EXISTS (SELECT FROM tenants t WHERE t.id = tenant_id AND t.source_version > $3)";
    INSERT_RUNNING = include_str!("insert_running.sql");
    FAIL_PLANNING = "UPDATE etl_control SET status = 'failed', finished_at = now(), planning_until = NULL, error_message = $3 \
                     WHERE id = $1 AND status = 'planning' AND planner = $2";
    INSERT_FAILED = "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, finished_at, error_message, \
                            trace_id, traceparent, etl_version) \
                     VALUES ($1, $2::text::etl_run_type, 'failed', 'scheduler', now(), now(), $3, $4, $5, $6)";
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
    /// What its end will cover; `None` for a run that does not move the watermark.
    pub coverage: Option<Coverage>,
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
        .bind(plan.coverage.map(|coverage| coverage.epoch))
        .bind(plan.coverage.map(|coverage| coverage.xmin))
        .bind(plan.coverage.map(|coverage| coverage.clock))
        .bind(plan.coverage.and_then(|coverage| coverage.since))
        .execute(&mut **tx)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("start the planned run")
}

/// A scheduled run that is already planned.
#[derive(Debug, Clone)]
pub struct NewRunningRun<'a> {
    pub tenant_id: TenantId,
    pub run_type: RunType,
    pub plan: &'a PlanRecord,
    pub trace_id: Option<String>,
    pub traceparent: Option<String>,
}

/// Inserts scheduled runs of different tenants. Leaves out a tenant that has an open run since, or another source.
pub async fn insert_running(
    tx: &mut PgTransaction<'_>,
    runs: &[NewRunningRun<'_>],
) -> DbResult<Vec<(TenantId, RunId)>> {
    fn column<'a, T>(runs: &'a [NewRunningRun<'_>], of: impl Fn(&'a NewRunningRun<'_>) -> T) -> Vec<T> {
        runs.iter().map(of).collect()
    }
    let inserted: Vec<(Stored<TenantId>, Stored<RunId>)> = sqlx::query_as(INSERT_RUNNING)
        .bind(column(runs, |run| Stored(run.tenant_id)))
        .bind(column(runs, |run| Stored(run.run_type)))
        .bind(column(runs, |run| run.plan.mapping_version))
        .bind(column(runs, |run| run.plan.watermark_start))
        .bind(column(runs, |run| run.plan.watermark_end))
        .bind(column(runs, |run| Json(&run.plan.signals)))
        .bind(column(runs, |run| Json(&run.plan.warnings)))
        .bind(column(runs, |run| run.plan.chunks_total))
        .bind(column(runs, |run| run.plan.compares_digests))
        .bind(column(runs, |run| run.trace_id.as_deref()))
        .bind(column(runs, |run| run.traceparent.as_deref()))
        .bind(column(runs, |run| run.plan.undecided.as_deref()))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(column(runs, |run| Some(run.plan.coverage?.epoch)))
        .bind(column(runs, |run| Some(run.plan.coverage?.xmin)))
        .bind(column(runs, |run| Some(run.plan.coverage?.clock)))
        .bind(column(runs, |run| run.plan.coverage?.since))
        .fetch_all(&mut **tx)
        .await
        .attempt("insert the planned runs")?;
    Ok(inserted
        .into_iter()
        .map(|(Stored(tenant), Stored(run))| (tenant, run))
        .collect())
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
