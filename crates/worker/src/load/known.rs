//! Rows that the target already has: they are not sent again.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection};
use tidemark_ledger::stored::Stored;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::contact_digest::bound_to;
use tidemark_shared::ids::TenantId;

use super::error::{LoadError, target};
use crate::row::encode::{Content, CopyEncoder, Digests, RowHash};

// the same conditions as in merge.sql, so that a merge would leave these rows alone
const LIST_IN_RANGE: &str = "SELECT conversation_id, row_hash, source_digest, related_digest, contact_digest FROM conversations_analytics \
     WHERE tenant_id = $1 AND conversation_id BETWEEN $2 AND $3 AND related_digest IS NOT NULL AND row_digest IS NOT NULL \
       AND source_deleted_at IS NULL AND handled_by IS NOT NULL";
// Keys are looked up one by one, as by `rows_by_key` of the ledger: see there.
const LIST_BY_KEY: &str = "SELECT conversation_id, row_hash, source_digest, related_digest, contact_digest \
     FROM unnest($2::bigint[]) AS k (key) CROSS JOIN LATERAL \
       (SELECT * FROM conversations_analytics r WHERE r.tenant_id = $1 AND r.conversation_id BETWEEN k.key AND k.key \
        ORDER BY r.conversation_id LIMIT 1) a \
     WHERE related_digest IS NOT NULL AND row_digest IS NOT NULL AND source_deleted_at IS NULL AND handled_by IS NOT NULL";

/// What the target has of a chunk, and which of its rows were left out because they are the same.
#[derive(Debug, Default)]
pub(super) struct KnownRows {
    contents: HashMap<i64, Content>,
    unchanged: Vec<i64>,
    /// First and last key of a chunk that has all between them.
    range: Option<(i64, i64)>,
}

impl KnownRows {
    pub async fn look_up(
        connection: &mut PgConnection,
        tenant: TenantId,
        spec: &ChunkSpec,
    ) -> Result<Self, LoadError> {
        let (contents, range) = match spec {
            ChunkSpec::Keys { ids } => (list_by_key(connection, tenant, ids).await?, None),
            ChunkSpec::KeyRange { lo, hi } => {
                let range = (*lo, *hi);
                (list_in_range(connection, tenant, range).await?, Some(range))
            }
        };
        Ok(Self {
            contents,
            unchanged: Vec::new(),
            range,
        })
    }

    /// Removes the rows that the target has as they are.
    pub fn leave_out(&mut self, buffer: &mut CopyEncoder) {
        if self.contents.is_empty() {
            return;
        }
        let Self {
            contents, unchanged, ..
        } = self;
        buffer.retain(|id, content| {
            let is_known = contents.get(&id) == Some(&content);
            if is_known {
                unchanged.push(id);
            }
            !is_known
        });
    }

    pub fn unchanged_count(&self) -> usize {
        self.unchanged.len()
    }

    /// Fails when a row that was left out has another content by now. With the tenant's lock no other load can change it
    /// afterwards.
    pub async fn check(&self, connection: &mut PgConnection, tenant: TenantId) -> Result<(), LoadError> {
        if self.unchanged.is_empty() {
            return Ok(());
        }
        // not a thousand keys for a range: in a target without statistics PostgreSQL reads all of the tenant's index for them
        let now = match self.range {
            Some(range) => list_in_range(connection, tenant, range).await?,
            None => list_by_key(connection, tenant, &self.unchanged).await?,
        };
        let is_same = |id: &i64| now.get(id) == self.contents.get(id);
        if self.unchanged.iter().all(is_same) {
            Ok(())
        } else {
            Err(LoadError::Overtaken)
        }
    }
}

async fn list_in_range(
    connection: &mut PgConnection,
    tenant: TenantId,
    (first, last): (i64, i64),
) -> Result<HashMap<i64, Content>, LoadError> {
    let rows = sqlx::query_as(LIST_IN_RANGE)
        .bind(Stored(tenant))
        .bind(first)
        .bind(last)
        .fetch_all(connection)
        .await
        .map_err(target("look up what the target has"))?;
    Ok(contents(rows))
}

async fn list_by_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    ids: &[i64],
) -> Result<HashMap<i64, Content>, LoadError> {
    let rows = sqlx::query_as(LIST_BY_KEY)
        .bind(Stored(tenant))
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(target("look up what the target has"))?;
    Ok(contents(rows))
}

#[derive(FromRow)]
struct KnownRow {
    conversation_id: i64,
    row_hash: Vec<u8>,
    source_digest: i64,
    related_digest: i64,
    contact_digest: Option<i64>,
}

fn contents(rows: Vec<KnownRow>) -> HashMap<i64, Content> {
    rows.into_iter()
        .filter_map(|row| {
            let hash = RowHash(row.row_hash.try_into().ok()?);
            let digests = Digests {
                source: row.source_digest,
                related: row.related_digest,
                contact: row.contact_digest.map(|stored| bound_to(stored, hash.0)),
            };
            Some((row.conversation_id, Content { hash, digests }))
        })
        .collect()
}
