//! `etl_rejected_row`: rows that could not be taken. No cell value is kept.

use sqlx::PgConnection;

use super::{Attempt, DbResult, statements};
use crate::ids::{ChunkId, TenantId};

statements! {
    RECORD = "INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, sqlstate, error) \
              SELECT $1, conversation_id, $2, $3, side, sqlstate, error \
              FROM unnest($4::bigint[], $5::text[], $6::text[], $7::text[]) AS new (conversation_id, side, sqlstate, error) \
              ON CONFLICT (tenant_id, conversation_id) DO UPDATE \
              SET run_id = excluded.run_id, chunk_seq = excluded.chunk_seq, side = excluded.side, \
                  sqlstate = excluded.sqlstate, error = excluded.error, last_seen_at = now(), resolved_at = NULL, \
                  attempts = CASE WHEN etl_rejected_row.resolved_at IS NULL THEN etl_rejected_row.attempts + 1 ELSE 1 END";
    RESOLVE = "UPDATE etl_rejected_row SET resolved_at = now() \
               WHERE tenant_id = $1 AND resolved_at IS NULL AND conversation_id = ANY($2) \
                 AND NOT conversation_id = ANY($3)";
}

/// Where a row failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectSide {
    /// The source could not give it.
    Source,
    /// It cannot be transformed.
    Transform,
    /// The target refuses it.
    Target,
}

impl RejectSide {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Target => "target",
        }
    }
}

/// A row that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub conversation_id: i64,
    pub side: RejectSide,
    pub sqlstate: Option<String>,
    /// Without any cell value.
    pub error: String,
}

/// Records a chunk's rejects, and resolves the open ones among `keys` that have now passed.
///
/// # Errors
/// When the ledger does not answer.
pub async fn record(
    tx: &mut PgConnection,
    tenant: TenantId,
    chunk: ChunkId,
    keys: &[i64],
    rejects: &[Reject],
) -> DbResult<()> {
    let ids: Vec<i64> = rejects.iter().map(|reject| reject.conversation_id).collect();
    sqlx::query(RESOLVE)
        .bind(tenant)
        .bind(keys)
        .bind(&ids)
        .execute(&mut *tx)
        .await
        .attempt("resolve rejected rows")?;
    if rejects.is_empty() {
        return Ok(());
    }
    let sides: Vec<&str> = rejects.iter().map(|reject| reject.side.as_str()).collect();
    let sqlstates: Vec<Option<&str>> = rejects.iter().map(|reject| reject.sqlstate.as_deref()).collect();
    let errors: Vec<&str> = rejects.iter().map(|reject| reject.error.as_str()).collect();
    sqlx::query(RECORD)
        .bind(tenant)
        .bind(chunk.run_id)
        .bind(chunk.seq)
        .bind(ids)
        .bind(sides)
        .bind(sqlstates)
        .bind(errors)
        .execute(tx)
        .await
        .map(drop)
        .attempt("record rejected rows")
}
