//! Marks rows deleted whose conversations the source no longer has.

use std::borrow::Cow;

use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_ledger as ledger;
use tidemark_ledger::stored::Stored;
use tidemark_postgres::day::Day;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::TenantId;

use super::chunk_load::ChunkLoad;
use super::error::{LoadError, target};
use super::statements::Statements;
use crate::extract::Extracted;

/// The rows of a range that may be gone from the source; an index serves it.
const LIST_LIVE_IN_RANGE: &str = "SELECT conversation_id FROM conversations_analytics \
     WHERE tenant_id = $1 AND conversation_id BETWEEN $2 AND $3 AND source_deleted_at IS NULL";

/// What became of the rows of gone conversations.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    /// Conversations that were marked deleted, each with its inbox and its day.
    pub marked: Vec<(i64, Option<i32>, Option<Day>)>,
    /// Conversations of inboxes that wait for an operator. Their rows stay.
    pub waiting: Vec<i64>,
}

/// Marks the rows of gone conversations deleted, except those of inboxes that wait for an operator.
pub(super) async fn tombstone(
    connection: &mut PgConnection,
    tenant: TenantId,
    load: ChunkLoad<'_>,
    spec: &ChunkSpec,
    extracted: &Extracted,
    version: &SourceVersion,
) -> Result<Tombstones, LoadError> {
    let gone = match spec {
        ChunkSpec::Keys { .. } => Cow::Borrowed(&extracted.gone),
        ChunkSpec::KeyRange { lo, hi } => {
            let mut live: Vec<i64> = sqlx::query_scalar(LIST_LIVE_IN_RANGE)
                .bind(Stored(tenant))
                .bind(lo)
                .bind(hi)
                .fetch_all(&mut *connection)
                .await
                .map_err(target("list the rows of the range"))?;
            live.retain(|id| extracted.found.binary_search(id).is_err());
            Cow::Owned(live)
        }
    };
    let waiting = ledger::target::list_of_inboxes(&mut *connection, tenant, &gone, load.waiting).await?;
    let gone = match waiting.is_empty() {
        true => gone,
        false => Cow::Owned(
            gone.iter()
                .copied()
                .filter(|id| waiting.binary_search(id).is_err())
                .collect(),
        ),
    };
    if gone.is_empty() {
        return Ok(Tombstones {
            waiting,
            ..Tombstones::default()
        });
    }
    let statement = Statements::of(connection).tombstone.as_str();
    let marked = sqlx::query_as(AssertSqlSafe(statement))
        .bind(Stored(tenant))
        .bind(gone.as_ref())
        .bind(version.snapshot.clock)
        .bind(Stored(load.chunk.run_id))
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(load.is_repair)
        .fetch_all(connection)
        .await
        .map_err(target("mark deleted rows"))?;
    Ok(Tombstones { marked, waiting })
}
