//! `etl_verification`: the result of each tenant's last comparison with its source. `etl_verification_part` and
//! `etl_verification_fault`: results of single chunks of a comparison.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::{PgRow, PgTransaction};
use sqlx::{FromRow, PgExecutor, Row};
use tidemark_postgres::DbPool;
use tidemark_shared::fence::{SourceSnapshot, SourceVersion};
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::verification::{Compared, Fault, FaultKind, Verdict};

use crate::stored::{Stored, values};
use crate::{Attempt, DbResult, statements};

statements! {
    RECORD = "INSERT INTO etl_verification (tenant_id, source_rows, target_rows, missing, extra, stale, different, \
                                            impossible, pending, unproven) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
              ON CONFLICT (tenant_id) DO UPDATE \
              SET verified_at = now(), run_id = NULL, source_rows = excluded.source_rows, \
                  target_rows = excluded.target_rows, missing = excluded.missing, extra = excluded.extra, \
                  stale = excluded.stale, different = excluded.different, impossible = excluded.impossible, \
                  pending = excluded.pending, unproven = excluded.unproven";
    CONCLUDE = include_str!("verification/conclude.sql");
    LIST = "SELECT tenant_id, verified_at, run_id, source_rows, target_rows, missing, extra, stale, different, impossible, \
                   pending, unproven FROM etl_verification ORDER BY tenant_id";
    LIST_FAULTS = "SELECT conversation_id, kind, columns FROM etl_verification_fault \
                   WHERE run_id = $1 ORDER BY conversation_id LIMIT $2";
    LIST_DUE = include_str!("verification/list_due.sql");
    HAS_OPEN_SYNC = "SELECT EXISTS (SELECT FROM etl_control WHERE tenant_id = $1 AND finished_at IS NULL \
                                    AND type IN ('incremental', 'full'))";
    LOAD_REQUEST = "SELECT coalesce((request ->> 'deep')::boolean, false) AS deep, triggered_by = 'scheduler' AS is_scheduled \
                    FROM etl_control WHERE id = $1";
    FIND_UNSETTLED = include_str!("verification/find_unsettled.sql");
    LIST_FAULT_IDS = "SELECT conversation_id FROM etl_verification_fault WHERE run_id = $1 AND seq = $2 ORDER BY 1";
    DELETE_FAULTS = "DELETE FROM etl_verification_fault WHERE run_id = $1 AND seq = $2";
    RECORD_PART = include_str!("verification/record_part.sql");
    INSERT_FAULTS = "INSERT INTO etl_verification_fault (run_id, seq, tenant_id, conversation_id, kind, columns) \
                     SELECT $1, $2, $3, id, kind, string_to_array(columns, ',') \
                     FROM unnest($4::bigint[], $5::text[], $6::text[]) AS f (id, kind, columns)";
}

/// A tenant's last comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastVerification {
    #[serde(skip)]
    pub tenant_id: TenantId,
    pub verified_at: DateTime<Utc>,
    /// `None`: a command compared without a run.
    pub run_id: Option<RunId>,
    pub verdict: Verdict,
    #[serde(flatten)]
    pub compared: Compared,
}

fn compared(row: &PgRow) -> Result<Compared, sqlx::Error> {
    Ok(Compared {
        source_rows: row.try_get("source_rows")?,
        target_rows: row.try_get("target_rows")?,
        missing: row.try_get("missing")?,
        extra: row.try_get("extra")?,
        stale: row.try_get("stale")?,
        different: row.try_get("different")?,
        impossible: row.try_get("impossible")?,
        pending: row.try_get("pending")?,
        unproven: row.try_get("unproven")?,
    })
}

impl FromRow<'_, PgRow> for LastVerification {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let compared = compared(row)?;
        Ok(Self {
            tenant_id: row.try_get::<Stored<_>, _>("tenant_id")?.0,
            verified_at: row.try_get("verified_at")?,
            run_id: row.try_get::<Stored<Option<_>>, _>("run_id")?.0,
            verdict: compared.verdict(),
            compared,
        })
    }
}

/// How a run was asked to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct ComparisonRequest {
    /// Compares column by column and ignores the digests.
    pub deep: bool,
    pub is_scheduled: bool,
}

/// Findings of a chunk that must be compared a second time.
#[derive(Debug, Clone)]
pub struct Unsettled {
    /// The version of the source at the first look.
    pub version: SourceVersion,
    pub source_rows: i64,
    pub target_rows: i64,
    pub pending: i64,
    /// Conversations to compare again; `None`: too many to list.
    pub ids: Option<Vec<i64>>,
    /// The second look is due.
    pub is_due: bool,
    /// The second look has waited too long.
    pub is_overdue: bool,
}

/// The findings of a chunk.
#[derive(Debug, Clone, Copy)]
pub struct ChunkFindings<'a> {
    pub chunk: ChunkId,
    pub tenant_id: TenantId,
    pub version: &'a SourceVersion,
    pub is_settled: bool,
    pub compared: &'a Compared,
    pub faults: &'a [Fault],
}

/// Records the result of a comparison, in place of the tenant's earlier one.
pub async fn record(db: impl PgExecutor<'_>, tenant: TenantId, found: &Compared) -> DbResult<()> {
    sqlx::query(RECORD)
        .bind(Stored(tenant))
        .bind(found.source_rows)
        .bind(found.target_rows)
        .bind(found.missing)
        .bind(found.extra)
        .bind(found.stale)
        .bind(found.different)
        .bind(found.impossible)
        .bind(found.pending)
        .bind(found.unproven)
        .execute(db)
        .await
        .map(drop)
        .attempt("record the comparison")
}

/// Records the result of a run from its chunks, in place of the tenant's earlier one.
pub async fn conclude(db: impl PgExecutor<'_>, run: RunId) -> DbResult<()> {
    sqlx::query(CONCLUDE)
        .bind(Stored(run))
        .execute(db)
        .await
        .map(drop)
        .attempt("record the comparison")
}

/// The last comparison of every tenant that was ever compared.
pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<LastVerification>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .attempt("list the last comparisons")
}

/// The first faults that a run found, ascending by conversation.
pub async fn list_faults(db: impl PgExecutor<'_>, run: RunId, limit: i64) -> DbResult<Vec<Fault>> {
    let found: Vec<(i64, Stored<FaultKind>, Vec<String>)> = sqlx::query_as(LIST_FAULTS)
        .bind(Stored(run))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the faults")?;
    Ok(found
        .into_iter()
        .map(|(conversation_id, Stored(kind), columns)| Fault {
            conversation_id,
            kind,
            columns,
        })
        .collect())
}

/// Tenants that are due to be compared.
pub async fn list_due(db: impl PgExecutor<'_>) -> DbResult<Vec<TenantId>> {
    sqlx::query_scalar(LIST_DUE)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the tenants to compare")
}

/// Whether the tenant has an open incremental or full run.
pub async fn has_open_sync(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<bool> {
    sqlx::query_scalar(HAS_OPEN_SYNC)
        .bind(Stored(tenant))
        .fetch_one(db)
        .await
        .attempt("find an open run")
}

/// # Errors
/// When there is no such run.
pub async fn load_request(db: impl PgExecutor<'_>, run: RunId) -> DbResult<ComparisonRequest> {
    sqlx::query_as(LOAD_REQUEST)
        .bind(Stored(run))
        .fetch_one(db)
        .await
        .attempt("load the request of the comparison")
}

/// The findings that a chunk must compare a second time; `None` before its first look.
pub async fn find_unsettled(
    db: &DbPool,
    chunk: ChunkId,
    request: ComparisonRequest,
) -> DbResult<Option<Unsettled>> {
    let attempted = "load the chunk's findings";
    let row = sqlx::query(FIND_UNSETTLED)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(request.is_scheduled)
        .fetch_optional(db)
        .await
        .attempt(attempted)?;
    let Some(row) = row else { return Ok(None) };
    let mut unsettled = unsettled(&row).attempt(attempted)?;
    let (found, listed): (i64, i64) = row
        .try_get("found")
        .and_then(|found| Ok((found, row.try_get("fault_count")?)))
        .attempt(attempted)?;
    if found == listed {
        let ids = sqlx::query_scalar(LIST_FAULT_IDS)
            .bind(Stored(chunk.run_id))
            .bind(chunk.seq)
            .fetch_all(db)
            .await
            .attempt(attempted)?;
        unsettled.ids = Some(ids);
    }
    Ok(Some(unsettled))
}

fn unsettled(row: &PgRow) -> Result<Unsettled, sqlx::Error> {
    let xmax = row.try_get("source_xmax")?;
    Ok(Unsettled {
        version: SourceVersion {
            epoch: row.try_get("source_epoch")?,
            snapshot: SourceSnapshot {
                // not stored, because nothing is compared with it
                xmin: xmax,
                xmax,
                in_progress: row.try_get("source_in_progress")?,
                clock: row.try_get("source_looked_at")?,
            },
        },
        source_rows: row.try_get("source_rows")?,
        target_rows: row.try_get("target_rows")?,
        pending: row.try_get("pending")?,
        ids: None,
        is_due: row.try_get("is_due")?,
        is_overdue: row.try_get("is_overdue")?,
    })
}

/// Records a chunk's findings, in place of earlier ones. Call it in the transaction that has checked that the attempt
/// still has the chunk.
pub async fn record_part(tx: &mut PgTransaction<'_>, part: &ChunkFindings<'_>) -> DbResult<()> {
    let attempted = "record the chunk's findings";
    let ChunkFindings { chunk, compared, .. } = part;
    sqlx::query(DELETE_FAULTS)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .execute(&mut **tx)
        .await
        .attempt(attempted)?;
    sqlx::query(RECORD_PART)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(Stored(part.tenant_id))
        .bind(part.is_settled)
        .bind(i64::try_from(part.faults.len()).expect("a bounded list"))
        .bind(part.version.epoch)
        .bind(part.version.snapshot.xmax)
        .bind(part.version.snapshot.in_progress)
        .bind(part.version.snapshot.clock)
        .bind(compared.source_rows)
        .bind(compared.target_rows)
        .bind(compared.missing)
        .bind(compared.extra)
        .bind(compared.stale)
        .bind(compared.different)
        .bind(compared.impossible)
        .bind(compared.pending)
        .bind(compared.unproven)
        .execute(&mut **tx)
        .await
        .attempt(attempted)?;
    let ids: Vec<i64> = part.faults.iter().map(|fault| fault.conversation_id).collect();
    let kinds: Vec<&str> = part.faults.iter().map(|fault| fault.kind.as_str()).collect();
    let columns: Vec<String> = part.faults.iter().map(|fault| fault.columns.join(",")).collect();
    sqlx::query(INSERT_FAULTS)
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(Stored(part.tenant_id))
        .bind(ids)
        .bind(kinds)
        .bind(columns)
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt(attempted)
}
