//! `etl_agreement`: when a tenant's rows were last seen to be those of its source. See "When the target is not read" in
//! `docs/design/digests.md` for why the row may stand for the target.

use crate::stored::{Stored, stored, values};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgExecutor};

use super::{Attempt, DbResult, statements};
use tidemark_shared::ids::{RunId, TenantId};

statements! {
    // an open chunk of an ended run counts too: it may still be on its way to the target
    QUIET = "SELECT (SELECT max(r.id) FROM etl_control r WHERE r.tenant_id = t.id) AS newest_run_id, \
                    (SELECT max(r.finished_at) FROM etl_control r WHERE r.tenant_id = t.id) AS last_finished_at \
             FROM tenants t WHERE t.id = $1 AND t.mapping_version = $2 \
               AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = t.id AND r.finished_at IS NULL) \
               AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.tenant_id = t.id AND c.status = 'pending') \
               AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.tenant_id = t.id AND c.status IN ('queued', 'running'))";
    // rejects are asked for with it: a tenant that has some is planned with its target; tenants that were compared together
    // are not all compared anew in the same plan
    UPHELD = "SELECT a.tenant_id \
              FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[]) \
                       AS n (tenant_id, mapping_version, conversation_count, digest) \
              JOIN etl_agreement a ON a.tenant_id = n.tenant_id AND a.mapping_version = n.mapping_version \
               AND a.conversation_count = n.conversation_count AND a.digest = n.digest::numeric \
              WHERE a.agreed_at > now() - interval '1 hour' * (0.5 + a.tenant_id % 16 / 32.0) \
                AND a.newest_run_id IS NOT DISTINCT FROM \
                    (SELECT max(r.id) FROM etl_control r WHERE r.tenant_id = a.tenant_id) \
                AND a.last_finished_at IS NOT DISTINCT FROM \
                    (SELECT max(r.finished_at) FROM etl_control r WHERE r.tenant_id = a.tenant_id) \
                AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = a.tenant_id AND r.finished_at IS NULL) \
                AND NOT EXISTS (SELECT FROM etl_rejected_row j WHERE j.tenant_id = a.tenant_id AND j.resolved_at IS NULL) \
              ORDER BY a.tenant_id";
    RECORD = "INSERT INTO etl_agreement (tenant_id, mapping_version, newest_run_id, last_finished_at, \
                                         conversation_count, digest) \
              SELECT n.tenant_id, mapping_version, newest_run_id, last_finished_at, conversation_count, digest::numeric \
              FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::text[]) \
                       AS n (tenant_id, mapping_version, newest_run_id, last_finished_at, conversation_count, digest) \
              ORDER BY n.tenant_id \
              ON CONFLICT (tenant_id) DO UPDATE \
              SET mapping_version = excluded.mapping_version, newest_run_id = excluded.newest_run_id, \
                  last_finished_at = excluded.last_finished_at, conversation_count = excluded.conversation_count, \
                  digest = excluded.digest, agreed_at = now()";
}

/// A tenant's conversations at its source, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub tenant_id: TenantId,
    /// Version of the mapping that says which inboxes they are in.
    pub mapping_version: i64,
    pub conversation_count: i64,
    /// Sum of the digests.
    pub digest: i128,
}

/// The tenant's runs at a moment in which none was open and no chunk on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Quiet {
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    newest_run_id: Option<RunId>,
    last_finished_at: Option<DateTime<Utc>>,
}

/// Totals that source and target had in common in a quiet moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchedTotals {
    pub totals: Totals,
    pub quiet: Quiet,
}

/// The tenant's runs, when none is open, none of its chunks is on its way, and the mapping is that of these totals. Asked
/// in the snapshot in which the target was compared.
///
/// # Errors
/// When the ledger does not answer.
pub async fn find_quiet(tx: &mut PgTransaction<'_>, totals: &Totals) -> DbResult<Option<Quiet>> {
    sqlx::query_as(QUIET)
        .bind(Stored(totals.tenant_id))
        .bind(totals.mapping_version)
        .fetch_optional(&mut **tx)
        .await
        .attempt("look for the tenant's open work")
}

/// Those of the tenants whose target is known to hold these totals, and that have no open reject.
///
/// # Errors
/// When the ledger does not answer.
pub async fn list_still_matching(db: impl PgExecutor<'_>, totals: &[Totals]) -> DbResult<Vec<TenantId>> {
    if totals.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, versions, counts, digests) = columns(totals.iter());
    sqlx::query_scalar(UPHELD)
        .bind(stored(tenants))
        .bind(versions)
        .bind(counts)
        .bind(digests)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("look for the tenants that are in step")
}

/// Notes agreements, each in place of the tenant's earlier one.
///
/// # Errors
/// When the ledger does not answer.
pub async fn record(db: impl PgExecutor<'_>, agreements: &[MatchedTotals]) -> DbResult<()> {
    if agreements.is_empty() {
        return Ok(());
    }
    let (tenants, versions, counts, digests) = columns(agreements.iter().map(|agreement| &agreement.totals));
    let runs: Vec<_> = agreements
        .iter()
        .map(|a| a.quiet.newest_run_id.map(Stored))
        .collect();
    let ends: Vec<Option<DateTime<Utc>>> = agreements.iter().map(|a| a.quiet.last_finished_at).collect();
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
        .attempt("note the tenants that are in step")
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
