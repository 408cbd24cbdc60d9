//! Runs as operators see them.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, Row};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{ChunkTotals, RecordTotals, RunReport, RunStatus, RunType};
use tidemark_shared::since::Since;

use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, or_all, statements};

/// Lists the newest runs. The condition is in the text, so that a generic plan can use the partial index. $1 tenant, $2
/// types, $3 statuses, $4 requested since, $5 requested within so many seconds, $6 limit, $7 before this run.
macro_rules! list_ids {
    ($condition:literal) => {
        concat!(
            "SELECT id FROM etl_control WHERE ",
            $condition,
            " AND type = ANY($2::text[]::etl_run_type[]) AND status = ANY($3::text[]::etl_run_status[]) \
              AND id < $7 AND ($4::timestamptz IS NULL OR requested_at >= $4) \
              AND ($5::float8 IS NULL OR requested_at >= now() - make_interval(secs => $5)) \
              ORDER BY id DESC LIMIT $6"
        )
    };
}

statements! {
    REPORT = include_str!("report.sql");
    // each repeats the condition of its partial index: a generic plan does not see the values of parameters
    LIST_UNFINISHED = list_ids!("($1::integer IS NULL OR tenant_id = $1) AND finished_at IS NULL");
    LIST_ENDED_BADLY = list_ids!("($1::integer IS NULL OR tenant_id = $1) AND status IN ('failed', 'partial', 'cancelled')");
    LIST_OF_RARE_TYPES = list_ids!("$1::integer IS NULL AND type <> 'incremental'");
    LIST_OF_TENANT = list_ids!("tenant_id = $1::integer");
    LIST_ALL = list_ids!("$1::integer IS NULL");
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
            triggered_by: row.try_get("triggered_by")?,
            reason: row.try_get("reason")?,
            request: row.try_get("request")?,
            requested_at: row.try_get("requested_at")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
            duration_ms: row.try_get("duration_ms")?,
            trace_id: row.try_get("trace_id")?,
            verification: row
                .try_get::<Option<Json<_>>, _>("verification")?
                .map(|Json(compared)| compared),
            warnings: row.try_get::<Json<_>, _>("warnings")?.0,
            error: row.try_get("error_message")?,
        }))
    }
}

/// Reports of these runs, ascending by id.
pub async fn reports(db: impl PgExecutor<'_>, ids: &[RunId]) -> DbResult<Vec<RunReport>> {
    sqlx::query_as(REPORT)
        .bind(stored(ids))
        .fetch_all(db)
        .await
        .map(values)
        .attempt("report the runs")
}

/// Which runs to list; the default is all.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub tenant: Option<TenantId>,
    /// Any of these; empty: all.
    pub types: Vec<RunType>,
    /// Any of these; empty: all.
    pub statuses: Vec<RunStatus>,
    /// Requested since.
    pub since: Option<Since>,
}

/// The newest of these runs before `before`, newest first.
pub async fn list_ids(
    db: impl PgExecutor<'_>,
    filter: &RunFilter,
    before: Option<RunId>,
    limit: i64,
) -> DbResult<Vec<RunId>> {
    let (since, ago) = Since::split(filter.since);
    let types = or_all(&filter.types, &RunType::ALL);
    let statuses = or_all(&filter.statuses, &RunStatus::ALL);
    let text = if statuses.iter().all(|status| !status.is_terminal()) {
        LIST_UNFINISHED
    } else if statuses.iter().all(|status| status.ended_badly()) {
        LIST_ENDED_BADLY
    } else if filter.tenant.is_some() {
        LIST_OF_TENANT
    } else if types.iter().all(|run_type| *run_type != RunType::Incremental) {
        LIST_OF_RARE_TYPES
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
        .bind(before.map_or(i64::MAX, |before| before.0))
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the runs")
}
