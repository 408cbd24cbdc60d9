//! A tenant's policy, and the record which policy its rows satisfy.

use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::privacy::PrivacyPolicy;
use tidemark_shared::run::RunType;
use tidemark_shared::selection::Selection;

use super::strip::strip;
use crate::audit::{self, Entry};
use crate::run::{NewRun, Requested, insert_requested, record_request};
use crate::stored::Stored;
use crate::target::begin_write;
use crate::{Attempt, DbResult, execute, retry_on_deadlock, statements};

statements! {
    LOCK_POLICY = "SELECT privacy FROM tenants WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE";
    SET_POLICY = "UPDATE tenants SET privacy = $2, mapping_version = mapping_version + 1, \
                         policy_version = mapping_version + 1, updated_at = now() \
                  WHERE id = $1 AND deleted_at IS NULL AND privacy <> $2 RETURNING mapping_version";
    HAS_LIVE_ROWS = "SELECT EXISTS (SELECT FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL)";
    RECORD_POLICY = "UPDATE etl_watermark SET policy_version = greatest(policy_version, $2) WHERE tenant_id = $1";
    RECORD_RUN_POLICY = "UPDATE etl_watermark w SET policy_version = greatest(w.policy_version, r.mapping_version) \
                         FROM etl_control r \
                         WHERE r.id = $1 AND r.tenant_id = w.tenant_id AND r.mapping_version IS NOT NULL \
                           AND (r.type = 'full' OR (r.type = 'backfill' AND r.request #>> '{selection,kind}' = 'policy'))";
    OPEN_REJECTS = "SELECT conversation_id FROM etl_rejected_row WHERE tenant_id = $1 AND resolved_at IS NULL";
}

/// The policy has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyChanged {
    /// The run that writes the tenant's rows again; `None` when the tenant has no rows, or the same run is open.
    pub backfill: Option<RunId>,
}

/// Changes a tenant's policy and requests the backfill that writes its rows again, in one transaction. Rows marked
/// deleted lose at once what the new policy does not keep. `request` says who asks. `None` when the policy is the same
/// already, or there is no such tenant.
pub async fn set_policy(
    db: &DbPool,
    actor: &Actor,
    tenant: TenantId,
    policy: &PrivacyPolicy,
    request: &NewRun,
) -> DbResult<Option<PolicyChanged>> {
    retry_on_deadlock(|| async move {
        let mut tx = begin_write(db, tenant).await?;
        let before: Option<Json<PrivacyPolicy>> = sqlx::query_scalar(LOCK_POLICY)
            .bind(Stored(tenant))
            .fetch_optional(&mut *tx)
            .await
            .attempt("lock the tenant's policy")?;
        let entry = Entry::new(Action::TenantPrivacy)
            .tenant(tenant)
            .before(before.as_ref().map(|Json(policy)| policy));
        let version: Option<i64> = sqlx::query_scalar(SET_POLICY)
            .bind(Stored(tenant))
            .bind(Json(policy))
            .fetch_optional(&mut *tx)
            .await
            .attempt("change the tenant's policy")?;
        let Some(version) = version else {
            if before.is_some() {
                let same = entry.result(ActionResult::Unchanged);
                audit::record(&mut *tx, actor, &same).await?;
            }
            return tx
                .commit()
                .await
                .map(|()| None)
                .attempt("change the tenant's policy");
        };
        audit::record(&mut *tx, actor, &entry.after(policy)).await?;
        strip(&mut tx, tenant, policy, None).await?;
        let rejected: Vec<i64> = sqlx::query_scalar(OPEN_REJECTS)
            .bind(Stored(tenant))
            .fetch_all(&mut *tx)
            .await
            .attempt("list the open rejects")?;
        strip(&mut tx, tenant, policy, Some(&rejected)).await?;
        // loads wait for the tenant's row, and those that were read before are rolled back: no other rows can appear
        let has_rows: bool = sqlx::query_scalar(HAS_LIVE_ROWS)
            .bind(Stored(tenant))
            .fetch_one(&mut *tx)
            .await
            .attempt("find a live row of the tenant")?;
        let backfill = if has_rows {
            let run = request.with_selection(RunType::Backfill, Selection::Policy { version });
            let backfill = insert_requested(&mut *tx, &run).await?;
            if let Some(id) = backfill {
                record_request(&mut tx, actor, &run, Requested::Created(id)).await?;
            }
            backfill
        } else {
            let satisfied = sqlx::query(RECORD_POLICY).bind(Stored(tenant)).bind(version);
            execute(
                satisfied,
                &mut tx,
                "record that the tenant's rows satisfy the policy",
            )
            .await?;
            None
        };
        tx.commit().await.attempt("change the tenant's policy")?;
        Ok(Some(PolicyChanged { backfill }))
    })
    .await
}

/// Records that all rows satisfy the policy of this run's plan, if the run reads every row. Call it when the run has
/// ended well: every chunk was read under that policy or a later one.
pub async fn record_policy_applied(tx: &mut PgTransaction<'_>, run: RunId) -> DbResult<()> {
    let satisfied = sqlx::query(RECORD_RUN_POLICY).bind(Stored(run));
    execute(satisfied, tx, "record which policy the tenant's rows satisfy").await
}
