//! Queries that compare staging with the target.

use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_ledger::stored::Stored;
use tidemark_shared::ids::TenantId;

use super::classify::{Criteria, PairedRow};
use super::sums::IdRange;
use crate::load::row_digest::Hashing;
use crate::row::columns::{COLUMNS, Column, ROW_HASH};

/// Lists the rows of the range that are not proven equal; with `ids`, only of these conversations.
pub(super) async fn list_unequal(
    connection: &mut PgConnection,
    criteria: &Criteria<'_>,
    range: IdRange,
    ids: Option<&[i64]>,
) -> Result<Vec<PairedRow>, sqlx::Error> {
    let mut differing: Vec<String> = COLUMNS
        .iter()
        .map(|Column { name, .. }| format!("CASE WHEN s.{name} IS DISTINCT FROM t.{name} THEN '{name}' END"))
        .collect();
    // a hash of zeros means that the row was imported without one
    let hash = ROW_HASH.name;
    differing.push(format!(
        "CASE WHEN s.{hash} <> t.{hash} AND t.{hash} <> decode(repeat('00', 16), 'hex') THEN '{hash}' END"
    ));
    let statement = include_str!("unequal.sql")
        .replace("{differing_columns}", &differing.join(", "))
        .replace(
            "{digest_is_invalid}",
            &Hashing::of(connection).digest_is_invalid("t"),
        );
    let snapshot = &criteria.version.snapshot;
    sqlx::query_as(AssertSqlSafe(statement))
        // not prepared, so that the server plans for the bound values
        .persistent(false)
        .bind(Stored(criteria.tenant))
        .bind(range.lo)
        .bind(range.hi)
        .bind(ids)
        .bind(criteria.version.epoch)
        .bind(snapshot.xmax)
        .bind(snapshot.in_progress)
        .bind(snapshot.clock)
        .bind(criteria.watermark)
        .bind(criteria.unfetched)
        .bind(criteria.since.map(|since| since.epoch))
        .bind(criteria.since.map(|since| since.snapshot.xmax))
        .bind(criteria.since.map(|since| since.snapshot.in_progress))
        .bind(criteria.since.map(|since| since.snapshot.clock))
        .bind(criteria.is_latest)
        .fetch_all(connection)
        .await
}

/// The last id of a range of `row_count` target rows that starts at `lo`; `None` when there are fewer rows.
pub(super) async fn target_end(
    connection: &mut PgConnection,
    tenant: TenantId,
    lo: i64,
    row_count: i64,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT conversation_id FROM conversations_analytics WHERE tenant_id = $1 AND conversation_id >= $2 \
         ORDER BY conversation_id OFFSET $3 - 1 LIMIT 1",
    )
    .bind(Stored(tenant))
    .bind(lo)
    .bind(row_count)
    .fetch_optional(connection)
    .await
}

/// Counts the live target rows of the range; with `ids`, only of these conversations.
pub(super) async fn count_live(
    connection: &mut PgConnection,
    tenant: TenantId,
    range: IdRange,
    ids: Option<&[i64]>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1 AND conversation_id BETWEEN $2 AND $3 \
           AND ($4::bigint[] IS NULL OR conversation_id = ANY($4)) AND source_deleted_at IS NULL",
    )
    .persistent(false)
    .bind(Stored(tenant))
    .bind(range.lo)
    .bind(range.hi)
    .bind(ids)
    .fetch_one(connection)
    .await
}
