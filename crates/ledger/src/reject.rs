//! `etl_rejected_row`: rows that could not be loaded. No cell value is stored.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor};
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::ids::{ChunkId, ConversationKey, RunId, TenantId};
use tidemark_shared::since::Since;

use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, chunk_keys, statements};

/// More rejects than both limits fail a chunk, and a run: so many bad rows have a common cause. Rejects that were known
/// when the watermark last advanced do not count: every run tries them again.
pub const MAX_REJECTS: usize = 100;
pub const MAX_REJECT_PERCENT: usize = 1;

statements! {
    RECORD = include_str!("reject/record.sql");
    RESOLVE = "UPDATE etl_rejected_row SET resolved_at = now() \
               WHERE tenant_id = $1 AND resolved_at IS NULL \
                 AND (conversation_id = ANY($2) OR conversation_id BETWEEN $3 AND $4) \
                 AND NOT conversation_id = ANY($5) \
               RETURNING conversation_id";
    LIST_TOLERATED = "SELECT j.conversation_id FROM etl_rejected_row j JOIN etl_watermark w ON w.tenant_id = j.tenant_id \
                      WHERE j.tenant_id = $1 AND j.resolved_at IS NULL AND j.first_seen_at <= w.advanced_at \
                        AND (j.conversation_id = ANY($2) OR j.conversation_id BETWEEN $3 AND $4)";
    LIST_WITHOUT_OPEN = "SELECT n.tenant_id FROM unnest($1::integer[]) AS n (tenant_id) \
                         WHERE NOT EXISTS (SELECT FROM etl_rejected_row j \
                                           WHERE j.tenant_id = n.tenant_id AND j.resolved_at IS NULL)";
    LIST = include_str!("reject/list.sql");
    LIST_GROUPS = "SELECT side, sqlstate, error, count(*) AS rejects, count(DISTINCT tenant_id) AS tenants, \
                          max(last_seen_at) AS last_seen_at \
                   FROM etl_rejected_row WHERE resolved_at IS NULL AND ($1::integer IS NULL OR tenant_id = $1) \
                   GROUP BY side, sqlstate, error ORDER BY rejects DESC, side, sqlstate, error LIMIT $2";
}

/// Where a row failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectSide {
    /// The source could not return it.
    Source,
    /// It cannot be transformed.
    Transform,
    /// The target refuses it.
    Target,
}

impl RejectSide {
    pub const ALL: [Self; 3] = [Self::Source, Self::Transform, Self::Target];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Target => "target",
        }
    }
}

/// A row that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub conversation_id: i64,
    pub side: RejectSide,
    pub sqlstate: Option<String>,
    /// Without any cell value.
    pub error: String,
}

/// A reject as commands print it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct RejectedRow {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub conversation_id: i64,
    pub side: String,
    pub sqlstate: Option<String>,
    pub error: String,
    /// The last run and chunk that saw it.
    #[sqlx(try_from = "Stored<RunId>")]
    pub run_id: RunId,
    pub chunk_seq: i32,
    pub attempts: i32,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// When it was loaded, or had disappeared from the source.
    pub resolved_at: Option<DateTime<Utc>>,
}

impl RejectedRow {
    #[must_use]
    pub const fn key(&self) -> ConversationKey {
        ConversationKey {
            tenant_id: self.tenant_id,
            conversation_id: self.conversation_id,
        }
    }
}

/// Open rejects with the same cause. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct RejectGroup {
    pub side: String,
    pub sqlstate: Option<String>,
    pub error: String,
    pub rejects: i64,
    pub tenants: i64,
    pub last_seen_at: DateTime<Utc>,
}

/// Which rejects to list; the default is all open ones.
#[derive(Debug, Clone, Default)]
pub struct RejectFilter {
    pub tenant: Option<TenantId>,
    /// Also rejects that were resolved.
    pub also_resolved: bool,
    pub conversation: Option<i64>,
    /// Last seen by this run.
    pub run: Option<RunId>,
    pub side: Option<RejectSide>,
    /// A SQLSTATE, or its first characters.
    pub sqlstate: Option<String>,
    /// The whole text of the error.
    pub error: Option<String>,
    /// Last seen since.
    pub since: Option<Since>,
}

/// Rejects by tenant and conversation, behind `after`, at most `limit`.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &RejectFilter,
    after: Option<ConversationKey>,
    limit: i64,
) -> DbResult<Vec<RejectedRow>> {
    // ids of tenants and conversations are positive
    let (tenant, conversation) =
        after.map_or((TenantId(0), 0), |after| (after.tenant_id, after.conversation_id));
    let (since, ago) = Since::split(filter.since);
    sqlx::query_as(LIST)
        .bind(filter.tenant.map(Stored))
        .bind(filter.also_resolved)
        .bind(filter.conversation)
        .bind(filter.run.map(Stored))
        .bind(filter.side.map(RejectSide::as_str))
        .bind(&filter.sqlstate)
        .bind(since)
        .bind(ago)
        .bind(limit)
        .bind(Stored(tenant))
        .bind(conversation)
        .bind(&filter.error)
        .fetch_all(db)
        .await
        .attempt("list the rejected rows")
}

/// Open rejects by their cause, the most frequent first, at most `limit` causes.
pub async fn list_groups(
    db: impl PgExecutor<'_>,
    tenant: Option<TenantId>,
    limit: i64,
) -> DbResult<Vec<RejectGroup>> {
    sqlx::query_as(LIST_GROUPS)
        .bind(tenant.map(Stored))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("group the rejected rows")
}

/// Those of the tenants that have no open reject.
pub async fn list_without_open(db: impl PgExecutor<'_>, tenants: &[TenantId]) -> DbResult<Vec<TenantId>> {
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(LIST_WITHOUT_OPEN)
        .bind(stored(tenants))
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list tenants without open rejects")
}

/// Open rejects among a chunk's keys that were known when the watermark last advanced.
pub async fn list_tolerated(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    spec: &ChunkSpec,
) -> DbResult<HashSet<i64>> {
    let (ids, lo, hi) = chunk_keys(spec);
    let known: Vec<i64> = sqlx::query_scalar(LIST_TOLERATED)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(lo)
        .bind(hi)
        .fetch_all(db)
        .await
        .attempt("list known rejects")?;
    Ok(known.into_iter().collect())
}

/// Records a chunk's rejects. Resolves and returns the open rejects among its keys that were loaded or have
/// disappeared.
pub async fn record(
    tx: &mut PgConnection,
    tenant: TenantId,
    chunk: ChunkId,
    spec: &ChunkSpec,
    rejects: &[Reject],
) -> DbResult<Vec<i64>> {
    let ids: Vec<i64> = rejects.iter().map(|reject| reject.conversation_id).collect();
    let (keys, lo, hi) = chunk_keys(spec);
    let resolved = sqlx::query_scalar(RESOLVE)
        .bind(Stored(tenant))
        .bind(keys)
        .bind(lo)
        .bind(hi)
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await
        .attempt("resolve rejected rows")?;
    if rejects.is_empty() {
        return Ok(resolved);
    }
    let sides: Vec<&str> = rejects.iter().map(|reject| reject.side.as_str()).collect();
    let sqlstates: Vec<Option<&str>> = rejects.iter().map(|reject| reject.sqlstate.as_deref()).collect();
    let errors: Vec<&str> = rejects.iter().map(|reject| reject.error.as_str()).collect();
    sqlx::query(RECORD)
        .bind(Stored(tenant))
        .bind(Stored(chunk.run_id))
        .bind(chunk.seq)
        .bind(ids)
        .bind(sides)
        .bind(sqlstates)
        .bind(errors)
        .execute(tx)
        .await
        .attempt("record rejected rows")?;
    Ok(resolved)
}
