//! Pausing, resuming and removing a tenant, with its open work.

use sqlx::postgres::PgTransaction;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::{RunId, TenantId};

use crate::stored::Stored;
use crate::{Attempt, DbResult, cancel, retry_on_deadlock, statements};

statements! {
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
pub async fn pause(db: &DbPool, tenant: TenantId, reason: &str) -> DbResult<bool> {
    retry_on_deadlock(async || pause_once(db, tenant, reason).await).await
}

async fn pause_once(db: &DbPool, tenant: TenantId, reason: &str) -> DbResult<bool> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let paused = sqlx::query(PAUSE)
        .bind(Stored(tenant))
        .bind(reason)
        .execute(&mut *tx)
        .await
        .attempt("pause the tenant")?;
    return_queued(&mut tx, tenant).await?;
    tx.commit().await.attempt("pause the tenant")?;
    Ok(paused.rows_affected() == 1)
}

/// Resumes a paused tenant; `false` when it was not paused.
pub async fn resume(db: &DbPool, tenant: TenantId) -> DbResult<bool> {
    retry_on_deadlock(async || resume_once(db, tenant).await).await
}

async fn resume_once(db: &DbPool, tenant: TenantId) -> DbResult<bool> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let resumed = sqlx::query(RESUME)
        .bind(Stored(tenant))
        .execute(&mut *tx)
        .await
        .attempt("resume the tenant")?;
    if resumed.rows_affected() == 0 {
        return tx.rollback().await.map(|()| false).attempt("resume the tenant");
    }
    // chunks that a dispatcher marked while the tenant was being paused
    return_queued(&mut tx, tenant).await?;
    tx.commit().await.attempt("resume the tenant")?;
    Ok(true)
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
pub async fn remove(db: &DbPool, tenant: TenantId, actor: &str) -> DbResult<Option<Vec<RunId>>> {
    retry_on_deadlock(async || remove_once(db, tenant, actor).await).await
}

async fn remove_once(db: &DbPool, tenant: TenantId, actor: &str) -> DbResult<Option<Vec<RunId>>> {
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
    tx.commit().await.attempt("remove the tenant")?;
    Ok(Some(cancelled))
}
