//! Clears personal data in rows that no load writes again.

use sqlx::PgConnection;
use tidemark_shared::ids::TenantId;
use tidemark_shared::privacy::{PersonalColumn, PrivacyPolicy, Treatment};

use super::removal::{RemovedRow, updates};
use crate::stored::Stored;
use crate::{Attempt, DbResult, change, statements};

statements! {
    IS_POLICY_APPLIED = "SELECT w.policy_version >= t.policy_version \
                         FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id WHERE t.id = $1";
    STRIP = include_str!("strip.sql");
}

/// Clears what the policy does not keep in the rows of rejected conversations, while rows may still follow an earlier
/// policy. A conversation that cannot be read is not written again.
pub async fn strip_rejected(
    tx: &mut PgConnection,
    tenant: TenantId,
    policy: &PrivacyPolicy,
    ids: &[i64],
) -> DbResult<()> {
    if ids.is_empty() || keeps_all(policy) {
        return Ok(());
    }
    let is_applied: bool = sqlx::query_scalar(IS_POLICY_APPLIED)
        .bind(Stored(tenant))
        .fetch_one(&mut *tx)
        .await
        .attempt("check which policy the tenant's rows satisfy")?;
    if is_applied {
        return Ok(());
    }
    strip(tx, tenant, policy, Some(ids)).await
}

fn keeps_all(policy: &PrivacyPolicy) -> bool {
    PersonalColumn::ALL
        .into_iter()
        .all(|personal| policy.of(personal) == Treatment::Keep)
}

/// Clears what the policy does not keep: in the rows of these conversations, or in every row marked deleted.
pub async fn strip(
    tx: &mut PgConnection,
    tenant: TenantId,
    policy: &PrivacyPolicy,
    ids: Option<&[i64]>,
) -> DbResult<()> {
    let columns: Vec<&str> = PersonalColumn::ALL
        .into_iter()
        .filter(|personal| policy.of(*personal) != Treatment::Keep)
        .map(PersonalColumn::as_str)
        .collect();
    if columns.is_empty() || ids.is_some_and(<[i64]>::is_empty) {
        return Ok(());
    }
    let live: Vec<RemovedRow> = sqlx::query_as(STRIP)
        .bind(Stored(tenant))
        .bind(columns)
        .bind(ids)
        .fetch_all(&mut *tx)
        .await
        .attempt("clear personal data in rows")?;
    change::record(tx, tenant, &updates(&live)).await
}
