//! Changes a tenant's settings.

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::audit::{Entry, difference};
use tidemark_ledger::tenant::TenantChange;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::RunId;
use tidemark_shared::privacy::{PrivacyChange, PrivacyPolicy};
use tidemark_shared::tenant::Tenant;

use super::limits::Limited;
use super::{check_name, check_timezone, explain_conflict};
use crate::error::OperationResult;
use crate::refusal::Refusal;
use crate::run_requests::new_run;

pub async fn change(
    db: &DbPool,
    actor: &Actor,
    tenant: &Tenant,
    change: &TenantChange,
) -> OperationResult<()> {
    if *change == TenantChange::default() {
        return Ok(());
    }
    if let Some(name) = &change.name {
        check_name(name)?;
    }
    if let Some(timezone) = &change.timezone {
        check_timezone(db, timezone).await?;
    }
    Limited {
        chunk_size: change.chunk_size,
        max_in_flight: change.max_in_flight,
        sync_interval: change.sync_interval,
        verify_interval: change.verify_interval.flatten(),
    }
    .check()?;
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
    let Some(before) = ledger::tenant::lock(&mut tx, tenant.id).await? else {
        return Err(Refusal::RemovedJustNow(tenant.id).into());
    };
    let changed = ledger::tenant::update(&mut *tx, tenant.id, change)
        .await
        .map_err(|error| explain_conflict(error, tenant.id, slug))?;
    if !changed {
        return Err(Refusal::RemovedJustNow(tenant.id).into());
    }
    let after = ledger::tenant::find(&mut *tx, tenant.id).await?;
    let (before, after) = difference(&before, &after);
    let entry = Entry::new(Action::TenantChange)
        .tenant(tenant.id)
        .result(if after == serde_json::json!({}) {
            ActionResult::Unchanged
        } else {
            ActionResult::Done
        })
        .before(before)
        .after(after);
    ledger::audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("change the tenant")?;
    Ok(())
}

/// The rows, the watermark, the digests and the inboxes belong to the present source.
fn check_source_may_change(tenant: &Tenant, has_history: bool) -> OperationResult<()> {
    if !has_history {
        return Ok(());
    }
    Err(Refusal::HasHistory {
        tenant: tenant.id,
        from: tenant.source.clone(),
    }
    .into())
}

/// Changes which personal data is stored. Returns the new policy, and the backfill run that rewrites the stored rows.
pub async fn change_privacy(
    db: &DbPool,
    actor: &Actor,
    tenant: &Tenant,
    change: &PrivacyChange,
) -> OperationResult<(PrivacyPolicy, Option<RunId>)> {
    let policy = tenant.privacy.clone().with(change);
    let reason = "the policy for personal data was changed".to_owned();
    let backfill = new_run(actor, tenant, Some(reason));
    let changed = ledger::privacy::set_policy(db, actor, tenant.id, &policy, &backfill).await?;
    Ok((policy, changed.and_then(|changed| changed.backfill)))
}
