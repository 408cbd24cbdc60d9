//! Cancelling a run. One transaction ends the run and all its chunks. A worker that executes one of them notices when
//! it renews its lease or completes.

use serde_json::json;
use sqlx::postgres::PgTransaction;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};

use crate::audit::{self, Entry};
use crate::stored::{Stored, values};
use crate::{Attempt, DbResult, retry_on_deadlock, statements};

statements! {
    // the finalizer takes the same lock to close a run, so only one of the two ends it
    LOCK_RUN = "SELECT tenant_id, type::text, status::text FROM etl_control WHERE id = $1 FOR NO KEY UPDATE";
    LOCK_CHUNKS = "SELECT count(*) FILTER (WHERE status <> 'running'), count(*) FILTER (WHERE status = 'running') \
                   FROM (SELECT status FROM etl_chunk WHERE run_id = $1 AND status IN ('pending', 'queued', 'running') \
                         ORDER BY seq FOR NO KEY UPDATE) open";
    CANCEL_CHUNKS = "UPDATE etl_chunk SET status = 'cancelled', finished_at = now(), lease_until = NULL \
                     WHERE run_id = $1 AND status IN ('pending', 'queued', 'running')";
    END_RUN = include_str!("cancel/end_run.sql");
    // not a failure, but the next tick must not start the cancelled work again
    POSTPONE = "UPDATE etl_watermark w SET next_due_at = greatest(w.next_due_at, now() + t.sync_interval) \
                FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id = $1";
    LIST_OPEN = "SELECT id FROM etl_control WHERE tenant_id = $1 AND finished_at IS NULL ORDER BY id";
}

/// The answer to a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run has ended `cancelled`. `waiting` chunks had not begun; workers were executing `running` chunks.
    Now {
        tenant_id: TenantId,
        was: RunStatus,
        waiting: i64,
        running: i64,
    },
    /// The run had already ended; nothing was changed.
    Ended(TenantId, RunStatus),
    /// There is no such run.
    Unknown,
}

/// Cancels a run and its open chunks; done chunks stay. The watermark stays, and the tenant's next scheduled sync is
/// due an interval from now. `actor` and `reason` become the run's error text.
pub async fn run(db: &DbPool, actor: &Actor, id: RunId, reason: Option<&str>) -> DbResult<Cancelled> {
    retry_on_deadlock(|| async move {
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        let cancelled = run_in(&mut tx, actor, id, reason).await?;
        tx.commit().await.attempt("cancel the run")?;
        Ok(cancelled)
    })
    .await
}

/// [`run`] in a transaction with more.
pub async fn run_in(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    id: RunId,
    reason: Option<&str>,
) -> DbResult<Cancelled> {
    let cancelled = cancel_in(tx, id, actor, reason).await?;
    let entry = Entry::new(Action::RunCancel)
        .subject(format!("run {id}"))
        .reason(reason);
    let entry = match cancelled {
        Cancelled::Now {
            tenant_id,
            was,
            waiting,
            running,
        } => entry
            .tenant(tenant_id)
            .before(json!({"status": was.as_str(), "waiting": waiting, "running": running}))
            .after(json!({"status": RunStatus::Cancelled.as_str()})),
        Cancelled::Ended(tenant, status) => entry
            .tenant(tenant)
            .before(json!({"status": status.as_str()}))
            .result(ActionResult::Refused),
        Cancelled::Unknown => entry.result(ActionResult::Refused),
    };
    audit::record(&mut **tx, actor, &entry).await?;
    Ok(cancelled)
}

async fn cancel_in(
    tx: &mut PgTransaction<'_>,
    id: RunId,
    actor: &Actor,
    reason: Option<&str>,
) -> DbResult<Cancelled> {
    let found: Option<(Stored<TenantId>, Stored<RunType>, Stored<RunStatus>)> = sqlx::query_as(LOCK_RUN)
        .bind(Stored(id))
        .fetch_optional(&mut **tx)
        .await
        .attempt("lock the run")?;
    let Some((Stored(tenant), Stored(run_type), Stored(status))) = found else {
        return Ok(Cancelled::Unknown);
    };
    if status.is_terminal() {
        return Ok(Cancelled::Ended(tenant, status));
    }
    let (waiting, running) = sqlx::query_as(LOCK_CHUNKS)
        .bind(Stored(id))
        .fetch_one(&mut **tx)
        .await
        .attempt("lock the run's chunks")?;
    sqlx::query(CANCEL_CHUNKS)
        .bind(Stored(id))
        .execute(&mut **tx)
        .await
        .attempt("cancel the run's chunks")?;
    let text = match reason {
        Some(reason) => format!("cancelled by {actor}: {reason}"),
        None => format!("cancelled by {actor}"),
    };
    sqlx::query(END_RUN)
        .bind(Stored(id))
        .bind(text)
        .execute(&mut **tx)
        .await
        .attempt("end the run")?;
    if run_type.moves_watermark() {
        sqlx::query(POSTPONE)
            .bind(Stored(tenant))
            .execute(&mut **tx)
            .await
            .attempt("postpone the tenant's next sync")?;
    }
    Ok(Cancelled::Now {
        tenant_id: tenant,
        was: status,
        waiting,
        running,
    })
}

/// Cancels every open run of a tenant and returns them.
pub async fn cancel_open_runs(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    actor: &Actor,
    reason: &str,
) -> DbResult<Vec<RunId>> {
    let open: Vec<RunId> = sqlx::query_scalar(LIST_OPEN)
        .bind(Stored(tenant))
        .fetch_all(&mut **tx)
        .await
        .map(values)
        .attempt("list the tenant's open runs")?;
    let mut cancelled = Vec::with_capacity(open.len());
    for id in open {
        if let Cancelled::Now { .. } = cancel_in(tx, id, actor, Some(reason)).await? {
            cancelled.push(id);
        }
    }
    Ok(cancelled)
}
