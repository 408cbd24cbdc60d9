//! `etl_agreement`: when a tenant's rows last matched those of its source. See "when the target is not asked" in
//! `docs/design/digests.md` for why this record may replace a look at the target.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::{RunId, TenantId};

use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, statements};

statements! {
    // an open chunk of an ended run counts too: it may still be on its way to the target
    FIND_IDLE = "SELECT (SELECT max(r.id) FROM etl_control r WHERE r.tenant_id = t.id) AS newest_run_id, \
                        (SELECT max(r.finished_at) FROM etl_control r WHERE r.tenant_id = t.id) AS last_finished_at \
                 FROM tenants t WHERE t.id = $1 AND t.mapping_version = $2 \
                   AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = t.id AND r.finished_at IS NULL) \
                   AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.tenant_id = t.id AND c.status = 'pending') \
                   AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.tenant_id = t.id AND c.status IN ('queued', 'running'))";
    LIST_STILL_MATCHING = include_str!("matched_totals/list_still_matching.sql");
    RECORD = include_str!("matched_totals/record.sql");
}

/// Totals of a tenant's conversations at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub tenant_id: TenantId,
    /// Version of the mapping that selects the inboxes.
    pub mapping_version: i64,
    pub conversation_count: i64,
    /// Sum of the digests.
    pub digest: i128,
}

/// The tenant's runs at a moment without an open run or chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct IdleTenant {
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    newest_run_id: Option<RunId>,
    last_finished_at: Option<DateTime<Utc>>,
}

/// Totals that were the same in source and target while the tenant was idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchedTotals {
    pub totals: Totals,
    pub idle: IdleTenant,
}

/// The tenant's runs. `None` when a run or chunk is open, or the mapping has another version than these totals. Read it
/// in the snapshot that compares the target.
pub async fn find_idle(tx: &mut PgTransaction<'_>, totals: &Totals) -> DbResult<Option<IdleTenant>> {
    sqlx::query_as(FIND_IDLE)
        .bind(Stored(totals.tenant_id))
        .bind(totals.mapping_version)
        .fetch_optional(&mut **tx)
        .await
        .attempt("check the tenant for open work")
}

/// Tenants whose target still has these totals, and that have no open reject.
pub async fn list_still_matching(db: impl PgExecutor<'_>, totals: &[Totals]) -> DbResult<Vec<TenantId>> {
    if totals.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, versions, counts, digests) = columns(totals.iter());
    sqlx::query_scalar(LIST_STILL_MATCHING)
        .bind(stored(tenants))
        .bind(versions)
        .bind(counts)
        .bind(digests)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the tenants whose totals still match")
}

/// Records totals that matched, in place of each tenant's earlier record.
pub async fn record(db: impl PgExecutor<'_>, matched: &[MatchedTotals]) -> DbResult<()> {
    if matched.is_empty() {
        return Ok(());
    }
    let (tenants, versions, counts, digests) = columns(matched.iter().map(|one| &one.totals));
    let runs: Vec<_> = matched.iter().map(|a| a.idle.newest_run_id.map(Stored)).collect();
    let ends: Vec<Option<DateTime<Utc>>> = matched.iter().map(|a| a.idle.last_finished_at).collect();
    sqlx::query(RECORD)
        .bind(stored(tenants))
        .bind(versions)
        .bind(runs)
        .bind(ends)
        .bind(counts)
        .bind(digests)
        .execute(db)
        .await
        .map(drop)
        .attempt("record the tenants whose totals match")
}

fn columns<'a>(totals: impl Iterator<Item = &'a Totals>) -> (Vec<TenantId>, Vec<i64>, Vec<i64>, Vec<String>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for totals in totals {
        columns.0.push(totals.tenant_id);
        columns.1.push(totals.mapping_version);
        columns.2.push(totals.conversation_count);
        columns.3.push(totals.digest.to_string());
    }
    columns
}
