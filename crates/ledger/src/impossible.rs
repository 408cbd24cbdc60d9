//! Rows and chunks of a version that their source cannot have had: they were read from another source.
//!
//! What is visible here before a snapshot of a primary is taken was read from it before, so its version is no later than
//! the snapshot's. Whatever is later all the same is not of this source. Only repairs act on that.

use sqlx::{Executor, FromRow, PgConnection};

use super::{Attempt, DbResult, reject, statements, target};
use crate::stored::Stored;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::{ReadVersion, SourceVersion};
use tidemark_shared::ids::{RunId, TenantId};

statements! {
    ROWS = "SELECT conversation_id, source_epoch, source_xmax, source_in_progress FROM conversations_analytics \
            WHERE tenant_id = $1 AND (conversation_id = ANY($2) OR conversation_id BETWEEN $3 AND $4) \
              AND (source_epoch, source_xmax) >= ($5, $6) ORDER BY conversation_id";
    DONE_CHUNKS = "SELECT run_id, seq, source_epoch, source_xmax, source_in_progress FROM etl_chunk \
              WHERE tenant_id = $1 AND status = 'done' AND (source_epoch, source_xmax) >= ($2, $3) ORDER BY run_id, seq";
    // unless somebody has written it since
    RESET_ROW_VERSIONS = include_str!("impossible/reset_row_versions.sql");
    LOCK_CHUNKS = "SELECT FROM etl_chunk c JOIN unnest($1::bigint[], $2::integer[]) AS n (run_id, seq) USING (run_id, seq) \
                   ORDER BY run_id, seq FOR NO KEY UPDATE OF c";
    CLEAR_CHUNK_VERSIONS = "UPDATE etl_chunk c SET source_epoch = NULL, source_xmax = NULL, source_in_progress = NULL, \
                            source_extracted_at = NULL \
                     FROM unnest($1::bigint[], $2::integer[]) AS n (run_id, seq) \
                     WHERE c.run_id = n.run_id AND c.seq = n.seq AND c.status = 'done'";
}

/// A row with the version that it was read at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct ReadRow {
    pub conversation_id: i64,
    #[sqlx(flatten, try_from = "Stored<ReadVersion>")]
    pub version: ReadVersion,
}

/// A done chunk with the version that it was read at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
struct ReadChunk {
    #[sqlx(try_from = "Stored<RunId>")]
    run_id: RunId,
    seq: i32,
    #[sqlx(flatten, try_from = "Stored<ReadVersion>")]
    version: ReadVersion,
}

/// What was there before a snapshot; after it, what of that the source cannot have given.
#[derive(Debug, Clone, Default)]
pub struct Impossible {
    rows: Vec<ReadRow>,
    chunks: Vec<ReadChunk>,
}

impl Impossible {
    /// Of rows in the order of their ids.
    #[must_use]
    pub const fn of_rows(rows: Vec<ReadRow>) -> Self {
        Self {
            rows,
            chunks: Vec::new(),
        }
    }

    /// Only what is beyond the snapshot that was taken since.
    #[must_use]
    pub fn beyond(mut self, snapshot: &SourceVersion) -> Self {
        self.rows.retain(|row| row.version.is_beyond(snapshot));
        self.chunks.retain(|chunk| chunk.version.is_beyond(snapshot));
        self
    }

    /// Whether the row was there, of exactly this version.
    #[must_use]
    pub fn has(&self, conversation_id: i64, version: ReadVersion) -> bool {
        let found = self
            .rows
            .binary_search_by_key(&conversation_id, |row| row.conversation_id);
        found.is_ok_and(|at| self.rows[at].version == version)
    }

    /// Whether a row of this conversation was there.
    #[must_use]
    pub fn has_row(&self, conversation_id: i64) -> bool {
        self.rows
            .binary_search_by_key(&conversation_id, |row| row.conversation_id)
            .is_ok()
    }
}

/// Rows that these keys cover, as they are before a snapshot is taken.
pub async fn rows(
    db: &DbPool,
    tenant: TenantId,
    spec: &ChunkSpec,
    known_xmax: Option<(i32, i64)>,
) -> DbResult<Impossible> {
    let (epoch, xmax) = known_xmax.unwrap_or_default();
    let (keys, lo, hi) = reject::keys(spec);
    let what = "look which versions rows were read at";
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
        .attempt(what)?;
    tx.rollback().await.attempt(what)?;
    Ok(Impossible::of_rows(rows))
}

/// The same with the tenant's done chunks. `known_xmax` is what is known of the source by then: what is not beyond that is
/// not beyond the snapshot either, and is left out.
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
        .attempt("look which versions chunks were read at")?;
    let Impossible { rows, .. } = self::rows(db, tenant, spec, known_xmax).await?;
    Ok(Impossible { rows, chunks })
}

/// Gives rows that the source cannot have given version zero, so that any read of it is newer.
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
        .attempt("take rows for those of another source")
}

/// Lets chunks that this source cannot have given stop no load any more. Runs after the tenant's row is locked.
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
            .attempt("take chunks for those of another source")?;
    }
    Ok(())
}
