//! What done chunks have read, so that a plan need not name it again.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::ids::TenantId;

use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, statements};

statements! {
    LIST_READS = include_str!("list_reads.sql");
}

/// A tenant whose reads are asked for.
#[derive(Debug, Clone, Copy)]
pub struct ReadQuery {
    pub tenant_id: TenantId,
    /// Chunks that were planned under another mapping may have passed over an inbox.
    pub mapping_version: i64,
    /// Only reads whose snapshot ends after this transaction.
    pub after: i64,
}

/// A done chunk, and the snapshot of the source that it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRead {
    pub tenant_id: TenantId,
    pub spec: ChunkSpec,
    /// All transactions below it had ended.
    pub xmin: i64,
    /// The source's clock before the snapshot.
    pub clock: DateTime<Utc>,
}

#[derive(Debug, FromRow)]
struct Row {
    tenant_id: Stored<TenantId>,
    spec: Json<ChunkSpec>,
    source_xmin: i64,
    source_extracted_at: DateTime<Utc>,
}

/// The newest reads of these tenants from the source in this epoch.
pub async fn list_reads(
    db: impl PgExecutor<'_>,
    epoch: i32,
    queries: &[ReadQuery],
) -> DbResult<Vec<KnownRead>> {
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<TenantId> = queries.iter().map(|query| query.tenant_id).collect();
    let versions: Vec<i64> = queries.iter().map(|query| query.mapping_version).collect();
    let after: Vec<i64> = queries.iter().map(|query| query.after).collect();
    let rows: Vec<Row> = sqlx::query_as(LIST_READS)
        .bind(stored(tenants))
        .bind(versions)
        .bind(after)
        .bind(epoch)
        .fetch_all(db)
        .await
        .attempt("list what was read lately")?;
    Ok(rows
        .into_iter()
        .map(|row| KnownRead {
            tenant_id: row.tenant_id.0,
            spec: row.spec.0,
            xmin: row.source_xmin,
            clock: row.source_extracted_at,
        })
        .collect())
}
