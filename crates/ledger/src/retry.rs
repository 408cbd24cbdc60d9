//! Retries dead and cancelled chunks, at an operator's request.
//!
//! The run is reopened and not planned again: its done chunks stay done, and its plan stays valid. Everything before
//! its `watermark_end` was visible to that plan, even when its other keys are read much later. The watermark moves by
//! compare-and-set from the position that the plan found. So it moves at most once, and not at all when a later run has
//! moved it since.

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};

use crate::audit::{self, Entry};
use crate::stored::Stored;
use crate::{Attempt, DbError, DbResult, retry_on_deadlock, statements};

statements! {
    LOCK_RUN = "SELECT r.tenant_id, r.type::text, r.status::text, r.request, \
                       EXISTS (SELECT FROM etl_chunk c WHERE c.run_id = r.id) AS has_chunks, \
                       coalesce(r.mapping_version < t.source_version, false) AS is_of_another_source \
                FROM etl_control r JOIN tenants t ON t.id = r.tenant_id AND t.deleted_at IS NULL \
                WHERE r.id = $1 FOR NO KEY UPDATE OF r";
    // waits for a removal or a move of the tenant
    LOCK_TENANT = "SELECT FROM tenants WHERE id = (SELECT tenant_id FROM etl_control WHERE id = $1) FOR KEY SHARE";
    // the attempt stays, so that it fences off a worker of an earlier attempt
    RESET = "UPDATE etl_chunk c SET status = 'pending', finished_at = NULL, next_attempt_at = now(), worker_id = NULL, \
                    failure_count = 0, lost_count = 0, publish_count = 0, error = NULL \
             FROM (SELECT run_id, seq FROM etl_chunk \
                   WHERE run_id = $1 AND ($2::integer IS NULL OR seq = $2) AND status IN ('dead', 'cancelled') \
                   ORDER BY seq FOR NO KEY UPDATE) p \
             WHERE c.run_id = p.run_id AND c.seq = p.seq AND c.status IN ('dead', 'cancelled')";
    REOPEN = "UPDATE etl_control SET status = 'running', finished_at = NULL, error_message = NULL, \
                     warnings = warnings || jsonb_build_array(format('tried again by %s', $2::text)) \
              WHERE id = $1 AND status IN ('failed', 'cancelled')";
    COUNT_LEFT = "SELECT count(*) FROM etl_chunk WHERE run_id = $1 AND status IN ('dead', 'cancelled')";
}

/// The answer to a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// `chunks` chunks are due again. `left` others stay dead or cancelled: with those the run ends `failed`.
    Again { chunks: u64, left: i64 },
    /// None of its chunks is dead or cancelled.
    Nothing(RunStatus),
    /// It ended before it had chunks. There is nothing to reopen: request the same run again.
    NeverPlanned {
        tenant_id: TenantId,
        run_type: RunType,
        /// As it was requested: see `RunRequest::read`.
        request: Value,
    },
    /// The tenant has another open run that covers the same, and may have only one.
    OtherOpen,
    /// The tenant has moved to another source since; the plan is about the old one.
    OtherSource(TenantId),
    /// There is no such run, or its tenant was removed.
    Unknown,
}

/// Makes the dead and cancelled chunks of a run due again, or only chunk `seq`, and reopens the run if it has ended.
pub async fn retry(db: &DbPool, actor: &Actor, id: RunId, seq: Option<i32>) -> DbResult<Retried> {
    retry_on_deadlock(|| async move {
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        let retried = retry_in(&mut tx, actor, id, seq).await?;
        tx.commit().await.attempt("reopen the run")?;
        Ok(retried)
    })
    .await
}

/// [`retry`] in a transaction with more.
pub async fn retry_in(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    id: RunId,
    seq: Option<i32>,
) -> DbResult<Retried> {
    let mut trial = tx.begin().await.attempt("begin a transaction")?;
    let (tenant, retried) = try_in(&mut trial, actor, id, seq).await?;
    match &retried {
        Retried::Again { .. } => trial.commit().await,
        _ => trial.rollback().await,
    }
    .attempt("reopen the run")?;
    audit::record(&mut **tx, actor, &entry(id, seq, tenant, &retried)).await?;
    Ok(retried)
}

fn entry(id: RunId, seq: Option<i32>, tenant: Option<TenantId>, retried: &Retried) -> Entry<'static> {
    let (action, subject) = match seq {
        None => (Action::RunRetry, format!("run {id}")),
        Some(seq) => (
            Action::ChunkRetry,
            format!("chunk {}", ChunkId { run_id: id, seq }),
        ),
    };
    let mut entry = Entry::new(action).subject(subject);
    entry.tenant = tenant;
    match retried {
        Retried::Again { chunks, left } => entry.after(json!({"chunks": chunks, "left": left})),
        // it is requested again, which has an entry of its own
        Retried::NeverPlanned { .. } => entry.result(ActionResult::Unchanged),
        Retried::Nothing(_) | Retried::OtherOpen | Retried::OtherSource(_) | Retried::Unknown => {
            entry.result(ActionResult::Refused)
        }
    }
}

async fn try_in(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    id: RunId,
    seq: Option<i32>,
) -> DbResult<(Option<TenantId>, Retried)> {
    sqlx::query(LOCK_TENANT)
        .bind(Stored(id))
        .execute(&mut **tx)
        .await
        .attempt("lock the tenant")?;
    let found: Option<(_, _, _, Json<Value>, bool, bool)> = sqlx::query_as(LOCK_RUN)
        .bind(Stored(id))
        .fetch_optional(&mut **tx)
        .await
        .attempt("lock the run")?;
    let Some((
        Stored(tenant_id),
        Stored(run_type),
        Stored(status),
        Json(request),
        has_chunks,
        is_of_another_source,
    )) = found
    else {
        return Ok((None, Retried::Unknown));
    };
    if is_of_another_source {
        return Ok((Some(tenant_id), Retried::OtherSource(tenant_id)));
    }
    if !has_chunks && matches!(status, RunStatus::Failed | RunStatus::Cancelled) {
        let never_planned = Retried::NeverPlanned {
            tenant_id,
            run_type,
            request,
        };
        return Ok((Some(tenant_id), never_planned));
    }
    let chunks = sqlx::query(RESET)
        .bind(Stored(id))
        .bind(seq)
        .execute(&mut **tx)
        .await
        .attempt("make the chunks due again")?
        .rows_affected();
    if chunks == 0 {
        return Ok((Some(tenant_id), Retried::Nothing(status)));
    }
    let reopened = sqlx::query(REOPEN)
        .bind(Stored(id))
        .bind(actor.as_str())
        .execute(&mut **tx)
        .await
        .attempt("reopen the run");
    match reopened {
        Err(error) if is_taken(&error) => return Ok((Some(tenant_id), Retried::OtherOpen)),
        reopened => reopened.map(drop)?,
    }
    let left = sqlx::query_scalar(COUNT_LEFT)
        .bind(Stored(id))
        .fetch_one(&mut **tx)
        .await
        .attempt("count the chunks that stay dead")?;
    Ok((Some(tenant_id), Retried::Again { chunks, left }))
}

/// Whether a unique index refused the update: the unique indexes are about open runs.
fn is_taken(error: &DbError) -> bool {
    error
        .source
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
