//! `etl_control`: one row a run.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgRow, PgTransaction};
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, Row};

use super::reject::{MAX_REJECT_PERCENT, MAX_REJECTS};
use super::{Attempt, DbResult, or_all, secs, statements};
use crate::stored::{Stored, stored, value, values};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{ChunkTotals, RecordTotals, RunReport, RunRequest, RunStatus, RunType};
use tidemark_shared::since::Since;

/// Lists the newest runs for which a condition holds that a plan can see. $1 tenant, $2 types, $3 statuses, $4 and $5 since
/// when or for how many seconds, $6 limit.
macro_rules! list_ids {
    ($condition:literal) => {
        concat!(
            "SELECT id FROM etl_control WHERE ",
            $condition,
            " AND type = ANY($2::etl_run_type[]) AND status = ANY($3::etl_run_status[]) \
              AND ($4::timestamptz IS NULL OR requested_at >= $4) \
              AND ($5::float8 IS NULL OR requested_at >= now() - make_interval(secs => $5)) \
              ORDER BY id DESC LIMIT $6"
        )
    };
}

statements! {
    // a tenant without a watermark gets everything: its first sync is a full one. The lock lets a removal that is under
    // way come first, which cancels what it finds
    REQUEST = "INSERT INTO etl_control (tenant_id, type, triggered_by, reason, request, trace_id, traceparent, etl_version) \
               SELECT $1, CASE WHEN $2 = 'incremental'::etl_run_type AND w.watermark IS NULL \
                               THEN 'full'::etl_run_type ELSE $2 END, \
                      $3, $4, $5, $6, $7, $8 \
               FROM etl_watermark w JOIN tenants t ON t.id = w.tenant_id AND t.deleted_at IS NULL \
               WHERE w.tenant_id = $1 FOR KEY SHARE OF t \
               ON CONFLICT DO NOTHING RETURNING id, pg_notify('tidemark_requests', '')";
    FIND_SAME = "SELECT id FROM etl_control WHERE tenant_id = $1 AND finished_at IS NULL \
                 AND CASE WHEN $2::etl_run_type IN ('incremental', 'full') THEN type IN ('incremental', 'full') \
                          ELSE type = $2 AND md5(coalesce((request -> 'selection')::text, '')) \
                                             = md5(coalesce(($3::jsonb -> 'selection')::text, '')) END";
    FIND_OPEN = "SELECT id FROM etl_control \
                 WHERE tenant_id = $1 AND finished_at IS NULL AND type IN ('incremental', 'full')";
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
    NOTE_PLANNING = "UPDATE etl_control SET error_message = $3 WHERE id = $1 AND status = 'planning' AND planner = $2";
    START_PLANNED = "UPDATE etl_control SET status = 'running', planning_until = NULL, error_message = NULL, mapping_version = $3, \
                            watermark_start = $4, watermark_end = $5, signals = $6, warnings = $7, chunks_total = $8, \
                            compares_digests = $9 \
                     WHERE id = $1 AND status = 'planning' AND planner = $2 \
                       AND NOT EXISTS (SELECT FROM tenants t WHERE t.id = tenant_id AND t.source_version > $3)";
    // not for a tenant that has moved since: the plan is of its old source
    INSERT_RUNNING = "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, mapping_version, \
                             watermark_start, watermark_end, signals, warnings, chunks_total, compares_digests, \
                             trace_id, traceparent, etl_version) \
                      SELECT $1, $2, 'running', 'scheduler', now(), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 \
                      FROM tenants t WHERE t.id = $1 AND t.deleted_at IS NULL AND t.source_version <= $3 FOR KEY SHARE OF t \
                      ON CONFLICT (tenant_id) WHERE finished_at IS NULL AND type IN ('incremental', 'full') DO NOTHING \
                      RETURNING id";
    FAIL_PLANNING = "UPDATE etl_control SET status = 'failed', finished_at = now(), planning_until = NULL, error_message = $3 \
                     WHERE id = $1 AND status = 'planning' AND planner = $2";
    INSERT_FAILED = "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, finished_at, error_message, \
                            trace_id, traceparent, etl_version) \
                     VALUES ($1, $2, 'failed', 'scheduler', now(), now(), $3, $4, $5, $6)";
    LOCK_COMPLETE = "SELECT id, tenant_id, type, watermark_start, watermark_end, chunks_total, traceparent FROM etl_control r \
                     WHERE status = 'running' AND finished_at IS NULL AND ($2::bigint[] IS NULL OR id = ANY($2)) AND id <> ALL($3::bigint[]) \
                       AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.run_id = r.id \
                                       AND (c.status = 'pending' OR c.status IN ('queued', 'running'))) \
                     ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED";
    // each chunk alone may have few rejects and the run too many; see db/reject.rs for those that count
    CLOSE = "WITH total AS ( \
                 SELECT count(*) FILTER (WHERE status = 'done') AS done, \
                        count(*) FILTER (WHERE status = 'dead') AS dead, \
                        count(*) FILTER (WHERE status = 'cancelled') AS cancelled, \
                        coalesce(sum(extracted), 0)::bigint AS extracted, coalesce(sum(inserted), 0)::bigint AS inserted, \
                        coalesce(sum(updated), 0)::bigint AS updated, coalesce(sum(unchanged), 0)::bigint AS unchanged, \
                        coalesce(sum(stale), 0)::bigint AS stale, coalesce(sum(deleted), 0)::bigint AS deleted, \
                        coalesce(sum(rejected), 0)::bigint AS rejected, \
                        (array_agg(error ORDER BY seq) FILTER (WHERE status = 'dead'))[1] AS error \
                 FROM etl_chunk WHERE run_id = $1), \
             fresh AS ( \
                 SELECT count(*) > $2 AND count(*) * 100 > max(t.extracted) * $3 AS too_many, \
                        format('%s of %s rows cannot be taken: these are no single bad rows', \
                               count(*), max(t.extracted)) AS error \
                 FROM total t \
                 JOIN etl_rejected_row j ON j.run_id = $1 AND j.resolved_at IS NULL \
                 JOIN etl_control r ON r.id = $1 AND r.tenant_id = j.tenant_id \
                 JOIN etl_watermark w ON w.tenant_id = j.tenant_id \
                 WHERE w.advanced_at IS NULL OR j.first_seen_at > w.advanced_at) \
             UPDATE etl_control SET finished_at = now(), \
                    status = CASE WHEN total.dead > 0 OR total.cancelled > 0 OR fresh.too_many THEN 'failed' \
                                  WHEN total.rejected > 0 THEN 'partial' ELSE 'success' END::etl_run_status, \
                    chunks_done = total.done, chunks_dead = total.dead, \
                    records_extracted = total.extracted, records_inserted = total.inserted, \
                    records_updated = total.updated, records_unchanged = total.unchanged, records_stale = total.stale, \
                    records_deleted = total.deleted, records_rejected = total.rejected, \
                    error_message = coalesce(total.error, CASE WHEN fresh.too_many THEN fresh.error END, error_message) \
             FROM total, fresh WHERE id = $1 AND status = 'running' RETURNING status";
    // totals of an open run are summed from its chunks, so that progress is seen before the end
    REPORT = "SELECT r.id, r.tenant_id, r.type, r.status, r.watermark_start, r.watermark_end, r.signals, r.trace_id, \
                     r.error_message, r.chunks_total, r.requested_at, r.finished_at, \
                     (extract(epoch FROM coalesce(r.finished_at, now()) - r.requested_at) * 1000)::bigint AS duration_ms, \
                     coalesce(c.done, r.chunks_done) AS chunks_done, coalesce(c.dead, r.chunks_dead) AS chunks_dead, \
                     coalesce(c.extracted, r.records_extracted) AS extracted, coalesce(c.inserted, r.records_inserted) AS inserted, \
                     coalesce(c.updated, r.records_updated) AS updated, coalesce(c.unchanged, r.records_unchanged) AS unchanged, \
                     coalesce(c.stale, r.records_stale) AS stale, coalesce(c.deleted, r.records_deleted) AS deleted, \
                     coalesce(c.rejected, r.records_rejected) AS rejected, to_jsonb(v) AS verification \
              FROM etl_control r \
              LEFT JOIN LATERAL (SELECT sum(source_rows) AS source_rows, sum(target_rows) AS target_rows, \
                                        sum(missing) AS missing, sum(extra) AS extra, sum(stale) AS stale, \
                                        sum(different) AS different, sum(impossible) AS impossible, \
                                        sum(pending) AS pending, sum(unproven) AS unproven \
                                 FROM etl_verification_part WHERE run_id = r.id HAVING count(*) > 0) v \
                     ON r.type = 'verify' \
              LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE status = 'done')::integer AS done, \
                                   count(*) FILTER (WHERE status = 'dead')::integer AS dead, \
                                   sum(extracted)::bigint AS extracted, sum(inserted)::bigint AS inserted, \
                                   sum(updated)::bigint AS updated, sum(unchanged)::bigint AS unchanged, \
                                   sum(stale)::bigint AS stale, sum(deleted)::bigint AS deleted, \
                                   sum(rejected)::bigint AS rejected \
                            FROM etl_chunk WHERE run_id = r.id) c ON r.finished_at IS NULL \
              WHERE r.id = ANY($1) ORDER BY r.id";
    // each states what its index is about, which parameters would hide from a plan that is kept
    LIST_UNFINISHED = list_ids!("($1::integer IS NULL OR tenant_id = $1) AND finished_at IS NULL");
    LIST_ENDED_BADLY = list_ids!("($1::integer IS NULL OR tenant_id = $1) AND status IN ('failed', 'partial', 'cancelled')");
    LIST_OF_TENANT = list_ids!("tenant_id = $1::integer");
    LIST_ALL = list_ids!("$1::integer IS NULL");
}

/// Who asks for a run, and why.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub tenant_id: TenantId,
    pub run_type: RunType,
    pub triggered_by: String,
    pub reason: Option<String>,
    pub request: RunRequest,
    pub trace_id: Option<String>,
    pub traceparent: Option<String>,
}

/// The answer to a request for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    Created(RunId),
    /// One was open already; nothing was written.
    Open(RunId),
}

impl Requested {
    #[must_use]
    pub const fn run_id(self) -> RunId {
        match self {
            Self::Created(id) | Self::Open(id) => id,
        }
    }
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
    /// As it was requested: see [`RunRequest::read`].
    pub request: Json<serde_json::Value>,
    pub traceparent: Option<String>,
}

/// What a plan writes on its run.
#[derive(Debug, Clone)]
pub struct PlanRecord {
    pub mapping_version: i64,
    pub watermark_start: Option<DateTime<Utc>>,
    pub watermark_end: Option<DateTime<Utc>>,
    pub signals: BTreeMap<String, i64>,
    pub warnings: Vec<String>,
    pub chunks_total: i32,
    /// Whether the run takes whatever differs by digest.
    pub compares_digests: bool,
}

/// A run all of whose chunks are terminal, locked for closing.
#[derive(Debug, Clone, FromRow)]
pub struct CompleteRun {
    #[sqlx(try_from = "Stored<RunId>")]
    pub id: RunId,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(rename = "type")]
    #[sqlx(try_from = "Stored<RunType>")]
    pub run_type: RunType,
    pub watermark_start: Option<DateTime<Utc>>,
    pub watermark_end: Option<DateTime<Utc>>,
    pub chunks_total: i32,
    pub traceparent: Option<String>,
}

impl FromRow<'_, PgRow> for Stored<RunReport> {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self(RunReport {
            run_id: row.try_get::<Stored<_>, _>("id")?.0,
            tenant_id: row.try_get::<Stored<_>, _>("tenant_id")?.0,
            run_type: row.try_get::<Stored<_>, _>("type")?.0,
            status: row.try_get::<Stored<_>, _>("status")?.0,
            watermark_start: row.try_get("watermark_start")?,
            watermark_end: row.try_get("watermark_end")?,
            chunks: ChunkTotals {
                total: row.try_get("chunks_total")?,
                done: row.try_get("chunks_done")?,
                dead: row.try_get("chunks_dead")?,
            },
            records: RecordTotals {
                extracted: row.try_get("extracted")?,
                inserted: row.try_get("inserted")?,
                updated: row.try_get("updated")?,
                unchanged: row.try_get("unchanged")?,
                stale: row.try_get("stale")?,
                deleted: row.try_get("deleted")?,
                rejected: row.try_get("rejected")?,
            },
            signals: row.try_get::<Json<BTreeMap<String, i64>>, _>("signals")?.0,
            requested_at: row.try_get("requested_at")?,
            finished_at: row.try_get("finished_at")?,
            duration_ms: row.try_get("duration_ms")?,
            trace_id: row.try_get("trace_id")?,
            verification: row
                .try_get::<Option<Json<_>>, _>("verification")?
                .map(|Json(compared)| compared),
            error: row.try_get("error_message")?,
        }))
    }
}

/// Asks for a run, or finds the open one: a tenant has one incremental or full run at a time, and of the other types one
/// a selection.
///
/// # Errors
/// When the ledger does not answer.
pub async fn request(db: &DbPool, run: &NewRun) -> DbResult<Requested> {
    // the open run may end between the two statements: then the insert has its turn again
    const TRIES: usize = 10;
    for _ in 0..TRIES {
        if let Some(id) = insert_requested(db, run).await? {
            return Ok(Requested::Created(id));
        }
        let open = sqlx::query_scalar(FIND_SAME)
            .bind(Stored(run.tenant_id))
            .bind(Stored(run.run_type))
            .bind(Json(&run.request))
            .fetch_optional(db)
            .await
            .map(value)
            .attempt("find the open run")?;
        if let Some(id) = open {
            return Ok(Requested::Open(id));
        }
    }
    Err(sqlx::Error::RowNotFound).attempt("request a run: the tenant was removed or has no watermark row")
}

/// Asks for a run; `None` when the same is open already.
///
/// # Errors
/// When the ledger does not answer.
pub async fn insert_requested(db: impl PgExecutor<'_>, run: &NewRun) -> DbResult<Option<RunId>> {
    sqlx::query_scalar(REQUEST)
        .bind(Stored(run.tenant_id))
        .bind(Stored(run.run_type))
        .bind(&run.triggered_by)
        .bind(&run.reason)
        .bind(Json(&run.request))
        .bind(&run.trace_id)
        .bind(&run.traceparent)
        .bind(env!("CARGO_PKG_VERSION"))
        .fetch_optional(db)
        .await
        .map(value)
        .attempt("request a run")
}

/// The tenant's open incremental or full run.
///
/// # Errors
/// When the ledger does not answer.
pub async fn find_open(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<Option<RunId>> {
    sqlx::query_scalar(FIND_OPEN)
        .bind(Stored(tenant))
        .fetch_optional(db)
        .await
        .map(value)
        .attempt("find the open run")
}

/// Claims one requested run for planning, also one whose planner has gone. `only` restricts it to these runs.
///
/// # Errors
/// When the ledger does not answer.
pub async fn claim_requested(
    db: impl PgExecutor<'_>,
    planner: &str,
    hold: Duration,
    only: Option<&[RunId]>,
) -> DbResult<Option<ClaimedRun>> {
    sqlx::query_as(CLAIM_REQUESTED)
        .bind(planner)
        .bind(secs(hold))
        .bind(only.map(stored))
        .fetch_optional(db)
        .await
        .attempt("claim a requested run")
}

/// Prolongs the claim on a run that is being planned; `false` when it was lost or the run cancelled.
///
/// # Errors
/// When the ledger does not answer.
pub async fn renew_planning(
    db: impl PgExecutor<'_>,
    id: RunId,
    planner: &str,
    hold: Duration,
) -> DbResult<bool> {
    sqlx::query(RENEW_PLANNING)
        .bind(Stored(id))
        .bind(planner)
        .bind(secs(hold))
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("renew the claim on a run")
}

/// Moves a claimed run from planning to running; `false` when the claim was lost.
///
/// # Errors
/// When the ledger does not answer.
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
        .execute(&mut **tx)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("start the planned run")
}

/// Writes a scheduled run that is already planned; `None` when the tenant has got an open one meanwhile.
///
/// # Errors
/// When the ledger does not answer.
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
        .fetch_optional(&mut **tx)
        .await
        .map(value)
        .attempt("insert the planned run")
}

/// Notes why a claimed run is not planned yet; starting it clears that.
///
/// # Errors
/// When the ledger does not answer.
pub async fn note_planning(db: impl PgExecutor<'_>, id: RunId, planner: &str, error: &str) -> DbResult<()> {
    sqlx::query(NOTE_PLANNING)
        .bind(Stored(id))
        .bind(planner)
        .bind(error)
        .execute(db)
        .await
        .map(drop)
        .attempt("note why the run is not planned")
}

/// Ends a claimed run whose plan failed; `false` when the claim was lost.
///
/// # Errors
/// When the ledger does not answer.
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

/// Writes down that a scheduled plan failed, so that somebody sees it.
///
/// # Errors
/// When the ledger does not answer.
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

/// Locks runs all of whose chunks are terminal; those that another finalizer holds are left to it, and so are `except`.
///
/// # Errors
/// When the ledger does not answer.
pub async fn lock_complete(
    tx: &mut PgTransaction<'_>,
    limit: i64,
    only: Option<&[RunId]>,
    except: &[RunId],
) -> DbResult<Vec<CompleteRun>> {
    sqlx::query_as(LOCK_COMPLETE)
        .bind(limit)
        .bind(only.map(stored))
        .bind(stored(except))
        .fetch_all(&mut **tx)
        .await
        .attempt("find complete runs")
}

/// Closes a locked run with the totals of its chunks and says how it ended.
///
/// # Errors
/// When the ledger does not answer, or the run is not running.
pub async fn close(tx: &mut PgTransaction<'_>, id: RunId) -> DbResult<RunStatus> {
    sqlx::query_scalar(CLOSE)
        .bind(Stored(id))
        .bind(i64::try_from(MAX_REJECTS).expect("a small number"))
        .bind(i64::try_from(MAX_REJECT_PERCENT).expect("a percentage"))
        .fetch_one(&mut **tx)
        .await
        .map(|Stored(status)| status)
        .attempt("close the run")
}

/// Reports of these runs, ascending by id.
///
/// # Errors
/// When the ledger does not answer.
pub async fn reports(db: impl PgExecutor<'_>, ids: &[RunId]) -> DbResult<Vec<RunReport>> {
    sqlx::query_as(REPORT)
        .bind(stored(ids))
        .fetch_all(db)
        .await
        .map(values)
        .attempt("report the runs")
}

/// Which runs to list; nothing set: all.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub tenant: Option<TenantId>,
    /// Any of these; empty: all.
    pub types: Vec<RunType>,
    /// Any of these; empty: all.
    pub statuses: Vec<RunStatus>,
    /// Asked for since.
    pub since: Option<Since>,
}

/// The newest of these runs, newest first.
///
/// # Errors
/// When the ledger does not answer.
pub async fn list_ids(db: impl PgExecutor<'_>, filter: &RunFilter, limit: i64) -> DbResult<Vec<RunId>> {
    let (since, ago) = Since::split(filter.since);
    let types = or_all(&filter.types, &RunType::ALL);
    let statuses = or_all(&filter.statuses, &RunStatus::ALL);
    let text = if statuses.iter().all(|status| !status.is_terminal()) {
        LIST_UNFINISHED
    } else if statuses.iter().all(|status| status.ended_badly()) {
        LIST_ENDED_BADLY
    } else if filter.tenant.is_some() {
        LIST_OF_TENANT
    } else {
        LIST_ALL
    };
    sqlx::query_scalar(text)
        .bind(filter.tenant.map(Stored))
        .bind(stored(types))
        .bind(stored(statuses))
        .bind(since)
        .bind(ago)
        .bind(limit)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the runs")
}
