//! Moving a tenant to another source. Nothing read from the old source may count as data of the new one.

use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, Actor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::privacy::PrivacyPolicy;

use crate::audit::{self, Entry};
use crate::stored::Stored;
use crate::{Attempt, DbResult, cancel, execute, privacy, retry_on_deadlock, statements, target, watermark};

statements! {
    // waits for open requests, and later ones wait for it; loads take a weaker lock
    LOCK = "SELECT source, privacy FROM tenants WHERE id = $1 AND deleted_at IS NULL FOR UPDATE";
    COUNT_FORGOTTEN = "SELECT count(*) FROM etl_forgotten_contact WHERE tenant_id = $1";
    HAS_HISTORY = "SELECT EXISTS (SELECT FROM etl_control WHERE tenant_id = $1) \
                       OR EXISTS (SELECT FROM etl_watermark WHERE tenant_id = $1 AND watermark IS NOT NULL) \
                       OR EXISTS (SELECT FROM conversations_analytics WHERE tenant_id = $1)";
    UNMAP = "UPDATE inbox_tenant_mapping SET is_active = false, updated_at = now() \
             WHERE tenant_id = $1 AND is_active RETURNING inbox_id";
    // a trigger raises mapping_version and source_version
    SET_SOURCE = "UPDATE tenants SET source = $2, account_id = $3, updated_at = now() WHERE id = $1";
    MARK_ROWS_DELETED = include_str!("tenant_move/mark_rows.sql");
    LOCK_CHUNKS = "SELECT FROM etl_chunk WHERE tenant_id = $1 AND status = 'done' AND source_epoch IS NOT NULL \
                   ORDER BY run_id, seq FOR NO KEY UPDATE";
    // otherwise loads from the new source would always seem older than these reads
    FORGET_VERSIONS = "UPDATE etl_chunk SET source_epoch = NULL, source_xmax = NULL, source_in_progress = NULL, \
                              source_extracted_at = NULL \
                       WHERE tenant_id = $1 AND status = 'done' AND source_epoch IS NOT NULL";
    RESOLVE_REJECTS = "UPDATE etl_rejected_row SET resolved_at = now() WHERE tenant_id = $1 AND resolved_at IS NULL";
    FORGET_NAMES = "DELETE FROM etl_name WHERE tenant_id = $1";
}

/// The destination of a move.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    pub source: &'a str,
    /// Chatwoot account at the new source. The account id of the old source may belong to another customer there.
    pub account_id: Option<i32>,
    pub actor: &'a Actor,
    pub reason: &'a str,
}

/// The result of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub tenant_id: TenantId,
    pub from: String,
    pub to: String,
    pub cancelled_runs: Vec<RunId>,
    pub unmapped_inboxes: Vec<i32>,
    pub rows_marked_deleted: i64,
}

/// The answer to a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveAnswer {
    Moved(Moved),
    /// The tenant has this source already.
    SameSource,
    /// So many contacts are forgotten. Their ids belong to other people at the new source.
    Forgotten(i64),
    /// There is no such tenant.
    Unknown,
}

/// Gives a tenant another source. Its open runs are cancelled, its inboxes unmapped and its rows marked deleted. It has
/// no watermark afterwards, so that its next sync is a first one.
pub async fn move_tenant(db: &DbPool, tenant: TenantId, to: Move<'_>) -> DbResult<MoveAnswer> {
    retry_on_deadlock(|| move_once(db, tenant, to)).await
}

async fn move_once(db: &DbPool, tenant: TenantId, to: Move<'_>) -> DbResult<MoveAnswer> {
    let mut tx = target::begin_write(db, tenant).await?;
    let found: Option<(String, Json<PrivacyPolicy>)> = sqlx::query_as(LOCK)
        .bind(Stored(tenant))
        .fetch_optional(&mut *tx)
        .await
        .attempt("lock the tenant")?;
    let Some((from, Json(policy))) = found else {
        return Ok(MoveAnswer::Unknown);
    };
    if from == to.source {
        return Ok(MoveAnswer::SameSource);
    }
    let forgotten: i64 = sqlx::query_scalar(COUNT_FORGOTTEN)
        .bind(Stored(tenant))
        .fetch_one(&mut *tx)
        .await
        .attempt("count the forgotten contacts")?;
    if forgotten > 0 {
        return Ok(MoveAnswer::Forgotten(forgotten));
    }
    let reason = format!("moved from source `{from}` to `{}`: {}", to.source, to.reason);
    let cancelled_runs = cancel::cancel_open_runs(&mut tx, tenant, to.actor, &reason).await?;
    let chunks = "clear the versions of chunks";
    execute(sqlx::query(LOCK_CHUNKS).bind(Stored(tenant)), &mut tx, chunks).await?;
    execute(sqlx::query(FORGET_VERSIONS).bind(Stored(tenant)), &mut tx, chunks).await?;
    watermark::clear(&mut tx, tenant, to.actor, &reason).await?;
    let mut unmapped_inboxes: Vec<i32> = sqlx::query_scalar(UNMAP)
        .bind(Stored(tenant))
        .fetch_all(&mut *tx)
        .await
        .attempt("unmap the tenant's inboxes")?;
    unmapped_inboxes.sort_unstable();
    let set = sqlx::query(SET_SOURCE)
        .bind(Stored(tenant))
        .bind(to.source)
        .bind(to.account_id);
    execute(set, &mut tx, "set the tenant's source").await?;
    let rows_marked_deleted = target::count_live(&mut tx, tenant).await?;
    let mark = sqlx::query(MARK_ROWS_DELETED).bind(Stored(tenant));
    execute(mark, &mut tx, "mark the tenant's rows deleted").await?;
    privacy::strip(&mut tx, tenant, &policy, None).await?;
    let resolve = sqlx::query(RESOLVE_REJECTS).bind(Stored(tenant));
    execute(resolve, &mut tx, "resolve the open rejects").await?;
    let forget = sqlx::query(FORGET_NAMES).bind(Stored(tenant));
    execute(forget, &mut tx, "delete the names of the old source").await?;
    let entry = Entry::new(Action::TenantMove)
        .tenant(tenant)
        .reason(Some(to.reason))
        .before(json!({"source": from, "inboxes": unmapped_inboxes}))
        .after(json!({"source": to.source, "cancelled_runs": cancelled_runs, "rows_marked_deleted": rows_marked_deleted}));
    audit::record(&mut *tx, to.actor, &entry).await?;
    tx.commit().await.attempt("move the tenant")?;
    Ok(MoveAnswer::Moved(Moved {
        tenant_id: tenant,
        from,
        to: to.source.to_owned(),
        cancelled_runs,
        unmapped_inboxes,
        rows_marked_deleted,
    }))
}

/// Locks the tenant against requests, plans and loads. Returns whether anything was read from its source: a run, a
/// watermark or a row. `None` when there is no such tenant.
pub async fn lock_and_check_history(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<Option<bool>> {
    target::set_tenant(tx, tenant).await?;
    let found: Option<(String, Json<PrivacyPolicy>)> = sqlx::query_as(LOCK)
        .bind(Stored(tenant))
        .fetch_optional(&mut **tx)
        .await
        .attempt("lock the tenant")?;
    if found.is_none() {
        return Ok(None);
    }
    sqlx::query_scalar(HAS_HISTORY)
        .bind(Stored(tenant))
        .fetch_one(&mut **tx)
        .await
        .map(Some)
        .attempt("find data from the tenant's source")
}
