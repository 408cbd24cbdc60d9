//! `etl_verification`: what each tenant's last comparison with its source found.

use sqlx::PgExecutor;

use super::{Attempt, DbResult, statements};
use crate::ids::TenantId;

statements! {
    RECORD = "INSERT INTO etl_verification (tenant_id, source_rows, target_rows, missing, extra, different) \
              VALUES ($1, $2, $3, $4, $5, $6) \
              ON CONFLICT (tenant_id) DO UPDATE \
              SET verified_at = now(), source_rows = excluded.source_rows, target_rows = excluded.target_rows, \
                  missing = excluded.missing, extra = excluded.extra, different = excluded.different";
}

/// Rows that a comparison counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    pub source_rows: i64,
    pub target_rows: i64,
    /// Only in the source.
    pub missing: i64,
    /// Only in the target.
    pub extra: i64,
    pub different: i64,
}

/// Notes what was found, in place of what was found before.
///
/// # Errors
/// When the ledger does not answer.
pub async fn record(db: impl PgExecutor<'_>, tenant: TenantId, found: Compared) -> DbResult<()> {
    sqlx::query(RECORD)
        .bind(tenant)
        .bind(found.source_rows)
        .bind(found.target_rows)
        .bind(found.missing)
        .bind(found.extra)
        .bind(found.different)
        .execute(db)
        .await
        .map(drop)
        .attempt("note what the comparison found")
}
