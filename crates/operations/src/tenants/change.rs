//! Changes a tenant's settings.

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::tenant::TenantChange;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::RunId;
use tidemark_shared::privacy::{PrivacyChange, PrivacyPolicy};
use tidemark_shared::tenant::Tenant;

use super::{check_name, check_timezone, explain_conflict, removed_just_now};
use crate::error::{OperationError, OperationResult};
use crate::run_requests::new_run;

pub async fn change(db: &DbPool, tenant: &Tenant, change: &TenantChange) -> OperationResult<()> {
    if let Some(name) = &change.name {
        check_name(name)?;
    }
    if let Some(timezone) = &change.timezone {
        check_timezone(db, timezone).await?;
    }
    let slug = change.slug.as_deref().unwrap_or_default();
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    if change
        .source
        .as_ref()
        .is_some_and(|source| *source != tenant.source)
    {
        let has_history = ledger::tenant_move::lock_and_check_history(&mut tx, tenant.id).await?;
        check_source_may_change(tenant, has_history == Some(true))?;
    }
    let changed = ledger::tenant::update(&mut *tx, tenant.id, change)
        .await
        .map_err(|error| explain_conflict(error, tenant.id, slug))?;
    if !changed {
        return Err(removed_just_now(tenant.id));
    }
    tx.commit().await.attempt("change the tenant")?;
    Ok(())
}

/// The rows, the watermark, the digests and the inboxes belong to the present source.
fn check_source_may_change(tenant: &Tenant, has_history: bool) -> OperationResult<()> {
    if !has_history {
        return Ok(());
    }
    Err(OperationError::Invalid(format!(
        "tenant {0} is synced from source `{1}` already, or its first sync was begun. `tidemark tenant move --tenant {0} \
         --source NAME --reason TEXT` marks its rows deleted and begins anew from another source; where `{1}` itself is on \
         another server now, change its URL in the settings",
        tenant.id, tenant.source
    )))
}

/// Changes which personal data is stored. Returns the new policy, and the backfill run that rewrites the stored rows.
pub async fn change_privacy(
    db: &DbPool,
    actor: &str,
    tenant: &Tenant,
    change: &PrivacyChange,
) -> OperationResult<(PrivacyPolicy, Option<RunId>)> {
    let policy = tenant.privacy.clone().with(change);
    let reason = "the policy for personal data was changed".to_owned();
    let backfill = new_run(actor, tenant, Some(reason));
    let changed = ledger::privacy::set_policy(db, tenant.id, &policy, &backfill).await?;
    Ok((policy, changed.and_then(|changed| changed.backfill)))
}
