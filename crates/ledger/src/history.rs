//! Chunks and runs that covered one conversation.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

/// How many of the tenant's newest runs are searched: no index covers the keys of a chunk.
const RUNS_SEARCHED: i64 = 500;

statements! {
    LIST_COVERING = include_str!("history/list_covering.sql");
    LIST_PLANNING = "SELECT id, type::text, status::text FROM etl_control \
                     WHERE tenant_id = $1 AND finished_at IS NULL AND status IN ('requested', 'planning') ORDER BY id";
}

/// A chunk that covers the conversation, with its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct CoveringChunk {
    #[sqlx(try_from = "Stored<RunId>")]
    pub run_id: RunId,
    pub seq: i32,
    #[serde(rename = "type")]
    #[sqlx(try_from = "Stored<RunType>")]
    pub run_type: RunType,
    #[sqlx(try_from = "Stored<RunStatus>")]
    pub run_status: RunStatus,
    #[sqlx(try_from = "Stored<ChunkStatus>")]
    pub status: ChunkStatus,
    pub attempt: i32,
    pub error: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The source's clock when a done chunk was read.
    pub source_extracted_at: Option<DateTime<Utc>>,
    pub trace_id: Option<String>,
}

impl CoveringChunk {
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        ChunkId {
            run_id: self.run_id,
            seq: self.seq,
        }
    }
}

/// The newest chunks that cover a conversation, newest first, at most one a run. Old runs are not searched.
pub async fn list_covering(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    conversation: i64,
    limit: i64,
) -> DbResult<Vec<CoveringChunk>> {
    sqlx::query_as(LIST_COVERING)
        .bind(Stored(tenant))
        .bind(conversation)
        .bind(RUNS_SEARCHED)
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the chunks of the conversation")
}

/// The tenant's runs that have no chunks yet, oldest first.
pub async fn list_planning(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
) -> DbResult<Vec<(RunId, RunType, RunStatus)>> {
    let found: Vec<(Stored<RunId>, Stored<RunType>, Stored<RunStatus>)> = sqlx::query_as(LIST_PLANNING)
        .bind(Stored(tenant))
        .fetch_all(db)
        .await
        .attempt("list the tenant's runs without chunks")?;
    Ok(found
        .into_iter()
        .map(|(Stored(run), Stored(run_type), Stored(status))| (run, run_type, status))
        .collect())
}
