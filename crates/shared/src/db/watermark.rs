//! `etl_watermark` and its audit. One function advances a watermark; another sets it as an operator says.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgExecutor};

use super::{Attempt, DbResult, run, statements};
use crate::ids::{RunId, TenantId};

statements! {
    LOAD = "SELECT tenant_id, watermark, run_id, advanced_at, checked_at, consecutive_failures, next_due_at \
            FROM etl_watermark WHERE tenant_id = $1";
    LIST = "SELECT tenant_id, watermark, run_id, advanced_at, checked_at, consecutive_failures, next_due_at \
            FROM etl_watermark ORDER BY tenant_id";
    ADVANCE = "UPDATE etl_watermark SET watermark = $3, run_id = coalesce($4, run_id), advanced_at = now() \
               WHERE tenant_id = $1 AND watermark IS NOT DISTINCT FROM $2 AND ($2 IS NULL OR $3 > $2)";
    LOCK = "SELECT watermark FROM etl_watermark WHERE tenant_id = $1 FOR UPDATE";
    SET_BY_HAND = "UPDATE etl_watermark SET watermark = $2, advanced_at = now() WHERE tenant_id = $1";
    LIST_MOVES = "SELECT moved_at, old, new, run_id, actor, reason FROM etl_watermark_audit \
                  WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2";
    AUDIT = "INSERT INTO etl_watermark_audit (tenant_id, old, new, run_id, actor, reason) VALUES ($1, $2, $3, $4, $5, $6)";
    // a quiet tenant's moves are one line that grows, not a line a minute
    EXTEND_IDLE_AUDIT = "UPDATE etl_watermark_audit SET new = $3, moved_at = now() \
                         WHERE id = (SELECT max(id) FROM etl_watermark_audit WHERE tenant_id = $1) \
                           AND new = $2 AND run_id IS NULL AND actor = $4 AND reason = $5";
    SUCCEEDED = "UPDATE etl_watermark w SET checked_at = now(), consecutive_failures = 0, \
                        next_due_at = now() + t.sync_interval \
                 FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id = $1";
    // doubles with every failure, up to an hour
    FAILED = "UPDATE etl_watermark w SET checked_at = now(), consecutive_failures = w.consecutive_failures + 1, \
                     next_due_at = now() + greatest(t.sync_interval, \
                         least(interval '1 hour', t.sync_interval * power(2, least(w.consecutive_failures, 10)))) \
              FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id = $1";
    CLAIM_DUE = "UPDATE etl_watermark w SET next_due_at = now() + t.sync_interval \
                 FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id IN ( \
                     SELECT d.tenant_id FROM etl_watermark d JOIN tenants a ON a.id = d.tenant_id \
                     WHERE d.next_due_at <= now() AND a.paused_at IS NULL AND a.deleted_at IS NULL \
                       AND a.status IN ('active', 'trial') \
                       AND EXISTS (SELECT FROM inbox_tenant_mapping m \
                                   WHERE m.tenant_id = a.id AND m.source = a.source AND m.is_active) \
                       AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = a.id AND r.finished_at IS NULL \
                                       AND r.type IN ('incremental', 'full')) \
                     ORDER BY d.next_due_at LIMIT $1 FOR UPDATE OF d SKIP LOCKED) \
                 RETURNING w.tenant_id";
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Watermark {
    pub tenant_id: TenantId,
    /// Everything that the source wrote before this instant is in the target.
    pub watermark: Option<DateTime<Utc>>,
    pub run_id: Option<RunId>,
    pub advanced_at: Option<DateTime<Utc>>,
    pub checked_at: Option<DateTime<Utc>>,
    pub consecutive_failures: i32,
    pub next_due_at: DateTime<Utc>,
}

/// Who moves a watermark.
#[derive(Debug, Clone, Copy)]
pub enum Mover<'a> {
    Run(RunId),
    /// Not a run: who, and why.
    Actor {
        actor: &'a str,
        reason: &'a str,
    },
}

/// One move of a watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Move {
    pub moved_at: DateTime<Utc>,
    pub old: Option<DateTime<Utc>>,
    pub new: Option<DateTime<Utc>>,
    pub run_id: Option<RunId>,
    pub actor: Option<String>,
    pub reason: Option<String>,
}

/// The answer to setting a watermark by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// It was at `old`.
    From { old: Option<DateTime<Utc>> },
    /// This run is under way from where the watermark stands; nothing was changed.
    Open(RunId),
}

/// # Errors
/// When the ledger does not answer, or has no such tenant.
pub async fn load(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<Watermark> {
    sqlx::query_as(LOAD)
        .bind(tenant)
        .fetch_one(db)
        .await
        .attempt("load the watermark")
}

/// # Errors
/// When the ledger does not answer.
pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<Watermark>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .attempt("list the watermarks")
}

/// Moves the watermark from `old` forward to `new`, with its audit row; `false`, and nothing written, when it is no
/// longer at `old` or `new` is not ahead of it.
///
/// # Errors
/// When the ledger does not answer.
pub async fn advance(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    old: Option<DateTime<Utc>>,
    new: DateTime<Utc>,
    mover: Mover<'_>,
) -> DbResult<bool> {
    let (run_id, actor, reason) = match mover {
        Mover::Run(run_id) => (Some(run_id), None, None),
        Mover::Actor { actor, reason } => (None, Some(actor), Some(reason)),
    };
    let moved = sqlx::query(ADVANCE)
        .bind(tenant)
        .bind(old)
        .bind(new)
        .bind(run_id)
        .execute(&mut **tx)
        .await
        .attempt("advance the watermark")?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    if run_id.is_none() {
        let extended = sqlx::query(EXTEND_IDLE_AUDIT)
            .bind(tenant)
            .bind(old)
            .bind(new)
            .bind(actor)
            .bind(reason)
            .execute(&mut **tx)
            .await
            .attempt("extend the watermark's audit")?;
        if extended.rows_affected() == 1 {
            return Ok(true);
        }
    }
    sqlx::query(AUDIT)
        .bind(tenant)
        .bind(old)
        .bind(new)
        .bind(run_id)
        .bind(actor)
        .bind(reason)
        .execute(&mut **tx)
        .await
        .attempt("audit the watermark")?;
    Ok(true)
}

/// Puts the watermark where an operator says, also backwards, with its audit row. The caller makes sure that `to` is
/// not above the source's clock. A plan under way meanwhile began elsewhere, so that its advance does nothing.
///
/// # Errors
/// When the ledger does not answer, or has no such tenant.
pub async fn set(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    to: DateTime<Utc>,
    actor: &str,
    reason: &str,
) -> DbResult<Set> {
    let old: Option<DateTime<Utc>> = sqlx::query_scalar(LOCK)
        .bind(tenant)
        .fetch_one(&mut **tx)
        .await
        .attempt("lock the watermark")?;
    if let Some(open) = run::find_open(&mut **tx, tenant).await? {
        return Ok(Set::Open(open));
    }
    sqlx::query(SET_BY_HAND)
        .bind(tenant)
        .bind(to)
        .execute(&mut **tx)
        .await
        .attempt("set the watermark")?;
    sqlx::query(AUDIT)
        .bind(tenant)
        .bind(old)
        .bind(to)
        .bind(None::<RunId>)
        .bind(actor)
        .bind(reason)
        .execute(&mut **tx)
        .await
        .attempt("audit the watermark")?;
    Ok(Set::From { old })
}

/// The newest moves of a tenant's watermark.
///
/// # Errors
/// When the ledger does not answer.
pub async fn list_moves(db: impl PgExecutor<'_>, tenant: TenantId, limit: i64) -> DbResult<Vec<Move>> {
    sqlx::query_as(LIST_MOVES)
        .bind(tenant)
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the watermark's moves")
}

/// Notes a successful look: due again after the tenant's interval.
///
/// # Errors
/// When the ledger does not answer.
pub async fn succeeded(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<()> {
    sqlx::query(SUCCEEDED)
        .bind(tenant)
        .execute(db)
        .await
        .map(drop)
        .attempt("schedule the tenant")
}

/// Notes a failure: due again after an interval that grows with every failure in a row.
///
/// # Errors
/// When the ledger does not answer.
pub async fn failed(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<()> {
    sqlx::query(FAILED)
        .bind(tenant)
        .execute(db)
        .await
        .map(drop)
        .attempt("back the tenant's schedule off")
}

/// Takes tenants whose next sync is due and that have no open run; each is due again one interval later, so that
/// nobody else takes it meanwhile and a crash loses no more than that.
///
/// # Errors
/// When the ledger does not answer.
pub async fn claim_due(db: impl PgExecutor<'_>, limit: i64) -> DbResult<Vec<TenantId>> {
    sqlx::query_scalar(CLAIM_DUE)
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("claim due tenants")
}
