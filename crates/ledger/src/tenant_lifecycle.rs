//! Pausing, resuming and removing a tenant, with its open work.

use serde_json::json;
use sqlx::postgres::PgTransaction;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{RunId, TenantId};

use crate::audit::{self, Entry};
use crate::stored::Stored;
use crate::{Attempt, DbResult, cancel, retry_on_deadlock, statements};

statements! {
    LOCK_PAUSE = "SELECT pause_reason FROM tenants WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE";
    PAUSE = "UPDATE tenants SET paused_at = coalesce(paused_at, now()), pause_reason = $2, updated_at = now() \
             WHERE id = $1 AND deleted_at IS NULL";
    RESUME = "UPDATE tenants SET paused_at = NULL, pause_reason = NULL, updated_at = now() \
              WHERE id = $1 AND deleted_at IS NULL AND paused_at IS NOT NULL";
    // waits for open requests, and later ones wait for it; loads take a weaker lock
    LOCK = "SELECT FROM tenants WHERE id = $1 FOR UPDATE";
    REMOVE = "UPDATE tenants SET deleted_at = now(), updated_at = now() WHERE id = $1 AND deleted_at IS NULL";
    // a claim refuses their messages, and they would otherwise stay queued until `requeue_after`
    RETURN_QUEUED = "UPDATE etl_chunk SET status = 'pending', next_attempt_at = now() \
                     WHERE (run_id, seq) IN (SELECT run_id, seq FROM etl_chunk WHERE tenant_id = $1 AND status = 'queued' \
                                             ORDER BY run_id, seq FOR NO KEY UPDATE SKIP LOCKED)";
}

/// Stops the tenant's planning and dispatch; running chunks continue. A paused tenant gets the new reason. `false` when
/// there is no such tenant.
pub async fn pause(db: &DbPool, actor: &Actor, tenant: TenantId, reason: &str) -> DbResult<bool> {
    retry_on_deadlock(|| pause_once(db, actor, tenant, reason)).await
}

async fn pause_once(db: &DbPool, actor: &Actor, tenant: TenantId, reason: &str) -> DbResult<bool> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let paused = pause_in(&mut tx, actor, tenant, reason).await?;
    tx.commit().await.attempt("pause the tenant")?;
    Ok(paused)
}

/// [`pause`] in a transaction with more.
pub async fn pause_in(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    tenant: TenantId,
    reason: &str,
) -> DbResult<bool> {
    let Some(before) = lock_pause(tx, tenant).await? else {
        return Ok(false);
    };
    sqlx::query(PAUSE)
        .bind(Stored(tenant))
        .bind(reason)
        .execute(&mut **tx)
        .await
        .attempt("pause the tenant")?;
    return_queued(tx, tenant).await?;
    let entry = Entry::new(Action::TenantPause)
        .tenant(tenant)
        .reason(Some(reason))
        .before(json!({"pause_reason": before}))
        .after(json!({"pause_reason": reason}));
    audit::record(&mut **tx, actor, &entry).await?;
    Ok(true)
}

/// The reason of a tenant that is paused; `None` when there is no such tenant.
async fn lock_pause(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<Option<Option<String>>> {
    sqlx::query_scalar(LOCK_PAUSE)
        .bind(Stored(tenant))
        .fetch_optional(&mut **tx)
        .await
        .attempt("lock the tenant")
}

/// Resumes a paused tenant; `false` when it was not paused.
pub async fn resume(db: &DbPool, actor: &Actor, tenant: TenantId) -> DbResult<bool> {
    retry_on_deadlock(|| resume_once(db, actor, tenant)).await
}

async fn resume_once(db: &DbPool, actor: &Actor, tenant: TenantId) -> DbResult<bool> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let was_paused = resume_in(&mut tx, actor, tenant).await?;
    tx.commit().await.attempt("resume the tenant")?;
    Ok(was_paused)
}

/// [`resume`] in a transaction with more.
pub async fn resume_in(tx: &mut PgTransaction<'_>, actor: &Actor, tenant: TenantId) -> DbResult<bool> {
    let Some(before) = lock_pause(tx, tenant).await? else {
        return Ok(false);
    };
    let resumed = sqlx::query(RESUME)
        .bind(Stored(tenant))
        .execute(&mut **tx)
        .await
        .attempt("resume the tenant")?;
    let was_paused = resumed.rows_affected() == 1;
    if was_paused {
        // chunks that a dispatcher marked while the tenant was being paused
        return_queued(tx, tenant).await?;
    }
    let entry = Entry::new(Action::TenantResume).tenant(tenant);
    let entry = match was_paused {
        true => entry.before(json!({"pause_reason": before})),
        false => entry.result(ActionResult::Unchanged),
    };
    audit::record(&mut **tx, actor, &entry).await?;
    Ok(was_paused)
}

async fn return_queued(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<()> {
    sqlx::query(RETURN_QUEUED)
        .bind(Stored(tenant))
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("return the tenant's queued chunks")
}

/// Removes a tenant: it is never planned, dispatched or listed again, and its open runs are cancelled. Its rows, runs
/// and mappings stay. Returns the cancelled runs; `None` when there is no such tenant.
pub async fn remove(db: &DbPool, actor: &Actor, tenant: TenantId) -> DbResult<Option<Vec<RunId>>> {
    retry_on_deadlock(|| remove_once(db, actor, tenant)).await
}

async fn remove_once(db: &DbPool, actor: &Actor, tenant: TenantId) -> DbResult<Option<Vec<RunId>>> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    sqlx::query(LOCK)
        .bind(Stored(tenant))
        .execute(&mut *tx)
        .await
        .attempt("lock the tenant")?;
    let removed = sqlx::query(REMOVE)
        .bind(Stored(tenant))
        .execute(&mut *tx)
        .await
        .attempt("remove the tenant")?;
    if removed.rows_affected() == 0 {
        return tx.rollback().await.map(|()| None).attempt("remove the tenant");
    }
    let cancelled = cancel::cancel_open_runs(&mut tx, tenant, actor, "the tenant was removed").await?;
    let entry = Entry::new(Action::TenantRemove)
        .tenant(tenant)
        .after(json!({"cancelled_runs": cancelled}));
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("remove the tenant")?;
    Ok(Some(cancelled))
}
