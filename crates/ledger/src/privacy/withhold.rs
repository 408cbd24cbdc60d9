//! `etl_withheld_conversation`: conversations of forgotten contacts that the source still has.

use sqlx::PgConnection;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::TenantId;

use super::removal::{RemovedRow, removals};
use crate::stored::Stored;
use crate::{Attempt, DbResult, change, chunk_keys, statements};

statements! {
    // not rows from a newer read
    REMOVE_WITHHELD = "DELETE FROM conversations_analytics t WHERE t.tenant_id = $1 AND t.conversation_id = ANY($2) \
                       AND ($3, $4, -$5::integer, $6) \
                           >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
                       RETURNING t.conversation_id, t.conversation_date, t.source_deleted_at IS NULL";
    DROP_WITHHELD = "DELETE FROM etl_withheld_conversation WHERE tenant_id = $1 \
                     AND (conversation_id = ANY($2) OR conversation_id BETWEEN $3 AND $4) \
                     AND NOT conversation_id = ANY($5) RETURNING conversation_id";
    PUT_WITHHELD = include_str!("put_withheld.sql");
}

/// A conversation of a forgotten contact, as the source has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withheld {
    pub conversation_id: i64,
    pub contact_id: i64,
    pub inbox_id: i32,
    pub source_digest: i64,
}

/// Records which of a chunk's conversations belong to forgotten contacts, and that its other keys do not. Deletes their
/// rows, unless those are from a newer read. Returns the conversations for which something has changed.
pub async fn withhold(
    tx: &mut PgConnection,
    tenant: TenantId,
    spec: &ChunkSpec,
    withheld: &[Withheld],
    version: &SourceVersion,
) -> DbResult<WithheldRows> {
    let ids: Vec<i64> = withheld.iter().map(|one| one.conversation_id).collect();
    let (keys, lo, hi) = chunk_keys(spec);
    let mut changed: Vec<i64> = sqlx::query_scalar(DROP_WITHHELD)
        .bind(Stored(tenant))
        .bind(keys)
        .bind(lo)
        .bind(hi)
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await
        .attempt("delete records of conversations that are not withheld")?;
    // PostgreSQL may search all of the tenant's rows even for no key
    if withheld.is_empty() {
        return Ok(WithheldRows {
            removed: Vec::new(),
            changed,
        });
    }
    let removed: Vec<RemovedRow> = sqlx::query_as(REMOVE_WITHHELD)
        .bind(Stored(tenant))
        .bind(&ids)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(version.snapshot.clock)
        .fetch_all(&mut *tx)
        .await
        .attempt("remove rows of forgotten contacts")?;
    change::record(tx, tenant, &removals(&removed)).await?;
    let removed = removed.into_iter().map(|(id, ..)| id).collect();
    let put: Vec<i64> = sqlx::query_scalar(PUT_WITHHELD)
        .bind(Stored(tenant))
        .bind(&ids)
        .bind(withheld.iter().map(|one| one.contact_id).collect::<Vec<_>>())
        .bind(withheld.iter().map(|one| one.inbox_id).collect::<Vec<_>>())
        .bind(withheld.iter().map(|one| one.source_digest).collect::<Vec<_>>())
        .fetch_all(tx)
        .await
        .attempt("record the conversations that are withheld")?;
    changed.extend(put);
    Ok(WithheldRows { removed, changed })
}

/// Conversations of forgotten contacts that a load has changed.
#[derive(Debug, Default)]
pub struct WithheldRows {
    /// Their rows were deleted.
    pub removed: Vec<i64>,
    /// They are newly withheld, no longer withheld, or changed at the source.
    pub changed: Vec<i64>,
}
