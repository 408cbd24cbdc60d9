//! Rows and chunks with a version that their source cannot have given: they were read from another source.
//!
//! A row that is visible here before the snapshot of a primary was read from that primary before. So its version is no
//! later than the snapshot's. A row with a later version came from another source. Only repairs use this.

use sqlx::{Executor, FromRow, PgConnection};
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::{ReadVersion, SourceVersion};
use tidemark_shared::ids::{RunId, TenantId};

use crate::stored::Stored;
use crate::{Attempt, DbResult, chunk_keys, statements, target};

statements! {
    ROWS = "SELECT conversation_id, source_epoch, source_xmax, source_in_progress FROM conversations_analytics \
            WHERE tenant_id = $1 AND (conversation_id = ANY($2) OR conversation_id BETWEEN $3 AND $4) \
              AND (source_epoch, source_xmax) >= ($5, $6) ORDER BY conversation_id";
    DONE_CHUNKS = "SELECT run_id, seq, source_epoch, source_xmax, source_in_progress FROM etl_chunk \
              WHERE tenant_id = $1 AND status = 'done' AND (source_epoch, source_xmax) >= ($2, $3) ORDER BY run_id, seq";
    // a row that was written since has another version and stays
    RESET_ROW_VERSIONS = include_str!("impossible/reset_row_versions.sql");
    LOCK_CHUNKS = "SELECT FROM etl_chunk c JOIN unnest($1::bigint[], $2::integer[]) AS n (run_id, seq) USING (run_id, seq) \
                   ORDER BY run_id, seq FOR NO KEY UPDATE OF c";
    CLEAR_CHUNK_VERSIONS = "UPDATE etl_chunk c SET source_epoch = NULL, source_xmax = NULL, source_in_progress = NULL, \
                                   source_extracted_at = NULL \
                            FROM unnest($1::bigint[], $2::integer[]) AS n (run_id, seq) \
                            WHERE c.run_id = n.run_id AND c.seq = n.seq AND c.status = 'done'";
}

/// A row with the version of its read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct ReadRow {
    pub conversation_id: i64,
    #[sqlx(flatten, try_from = "Stored<ReadVersion>")]
    pub version: ReadVersion,
}

/// A done chunk with the version of its read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
struct ReadChunk {
    #[sqlx(try_from = "Stored<RunId>")]
    run_id: RunId,
    seq: i32,
    #[sqlx(flatten, try_from = "Stored<ReadVersion>")]
    version: ReadVersion,
}

/// Rows and chunks as they were before a snapshot. After [`Self::beyond`], only those that the source cannot have
/// given.
#[derive(Debug, Clone, Default)]
pub struct Impossible {
    rows: Vec<ReadRow>,
    chunks: Vec<ReadChunk>,
}

impl Impossible {
    /// `rows` are in the order of their ids.
    #[must_use]
    pub const fn of_rows(rows: Vec<ReadRow>) -> Self {
        Self {
            rows,
            chunks: Vec::new(),
        }
    }

    /// Keeps only versions beyond the snapshot that was taken since.
    #[must_use]
    pub fn beyond(mut self, snapshot: &SourceVersion) -> Self {
        self.rows.retain(|row| row.version.is_later_than(snapshot));
        self.chunks.retain(|chunk| chunk.version.is_later_than(snapshot));
        self
    }

    /// Whether there is a row of this conversation with exactly this version.
    #[must_use]
    pub fn has(&self, conversation_id: i64, version: ReadVersion) -> bool {
        let found = self
            .rows
            .binary_search_by_key(&conversation_id, |row| row.conversation_id);
        found.is_ok_and(|at| self.rows[at].version == version)
    }

    /// Whether there is a row of this conversation.
    #[must_use]
    pub fn has_row(&self, conversation_id: i64) -> bool {
        self.rows
            .binary_search_by_key(&conversation_id, |row| row.conversation_id)
            .is_ok()
    }
}

/// Rows that these keys cover. Call it before the snapshot is taken.
pub async fn rows(
    db: &DbPool,
    tenant: TenantId,
    spec: &ChunkSpec,
    known_xmax: Option<(i32, i64)>,
) -> DbResult<Impossible> {
    let (epoch, xmax) = known_xmax.unwrap_or_default();
    let (keys, lo, hi) = chunk_keys(spec);
    let attempted = "read the versions of rows";
    let mut tx = target::begin(db, tenant).await?;
    let rows = sqlx::query_as(ROWS)
        .bind(Stored(tenant))
        .bind(keys)
        .bind(lo)
        .bind(hi)
        .bind(epoch)
        .bind(xmax)
        .fetch_all(&mut *tx)
        .await
        .attempt(attempted)?;
    tx.rollback().await.attempt(attempted)?;
    Ok(Impossible::of_rows(rows))
}

/// The same with the tenant's done chunks. `known_xmax` is the highest version that the ledger knows of the source.
/// Versions up to it are not beyond the snapshot either, and are left out.
pub async fn rows_and_chunks(
    db: &DbPool,
    tenant: TenantId,
    spec: &ChunkSpec,
    known_xmax: Option<(i32, i64)>,
) -> DbResult<Impossible> {
    let (epoch, xmax) = known_xmax.unwrap_or_default();
    let chunks = sqlx::query_as(DONE_CHUNKS)
        .bind(Stored(tenant))
        .bind(epoch)
        .bind(xmax)
        .fetch_all(db)
        .await
        .attempt("read the versions of chunks")?;
    let Impossible { rows, .. } = self::rows(db, tenant, spec, known_xmax).await?;
    Ok(Impossible { rows, chunks })
}

/// Sets these rows to version zero, so that any read of the source is newer.
pub async fn reset_row_versions(
    tx: &mut PgConnection,
    tenant: TenantId,
    impossible: &Impossible,
) -> DbResult<()> {
    let rows = &impossible.rows;
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.conversation_id).collect();
    let epochs: Vec<i32> = rows.iter().map(|row| row.version.epoch).collect();
    let xmaxes: Vec<i64> = rows.iter().map(|row| row.version.xmax).collect();
    let in_progress: Vec<i32> = rows.iter().map(|row| row.version.in_progress).collect();
    let query = sqlx::query(RESET_ROW_VERSIONS)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(epochs)
        .bind(xmaxes)
        .bind(in_progress);
    tx.execute(query)
        .await
        .map(drop)
        .attempt("reset the versions of rows from another source")
}

/// Clears the versions of these chunks, so that they no longer stop a load. The caller has locked the tenant's row.
pub async fn clear_chunk_versions(tx: &mut PgConnection, impossible: &Impossible) -> DbResult<()> {
    let chunks = &impossible.chunks;
    if chunks.is_empty() {
        return Ok(());
    }
    let (runs, seqs): (Vec<Stored<RunId>>, Vec<i32>) = chunks
        .iter()
        .map(|chunk| (Stored(chunk.run_id), chunk.seq))
        .unzip();
    for statement in [LOCK_CHUNKS, CLEAR_CHUNK_VERSIONS] {
        tx.execute(sqlx::query(statement).bind(&runs).bind(&seqs))
            .await
            .attempt("clear the versions of chunks from another source")?;
    }
    Ok(())
}
