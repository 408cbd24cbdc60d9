//! Staging beside the target, by SQL.

use sqlx::{AssertSqlSafe, PgConnection};
use tidemark_ledger::stored::Stored;
use tidemark_shared::ids::TenantId;

use super::classify::{Criteria, PairedRow};
use super::sums::IdRange;
use crate::load::row_digest::Hashing;
use crate::row::columns::{COLUMNS, Column, ROW_HASH};

/// Rows in the range, or those of these ids, that are not the same and proven on both sides.
pub(super) async fn list_unequal(
    connection: &mut PgConnection,
    rules: &Criteria<'_>,
    range: IdRange,
    ids: Option<&[i64]>,
) -> Result<Vec<PairedRow>, sqlx::Error> {
    let mut differing: Vec<String> = COLUMNS
        .iter()
        .map(|Column { name, .. }| format!("CASE WHEN s.{name} IS DISTINCT FROM t.{name} THEN '{name}' END"))
        .collect();
    // the hash of a row that was taken over from elsewhere is zero, and says nothing
    let hash = ROW_HASH.name;
    differing.push(format!(
        "CASE WHEN s.{hash} <> t.{hash} AND t.{hash} <> decode(repeat('00', 16), 'hex') THEN '{hash}' END"
    ));
    let statement = format!(
        "SELECT * FROM ( \
             SELECT conversation_id AS id, s.row_hash IS NOT NULL AS staged, \
                    t.row_hash IS NOT NULL AND t.source_deleted_at IS NULL AS live, \
                    CASE WHEN s.row_hash IS NOT NULL AND t.row_hash IS NOT NULL \
                         THEN array_remove(ARRAY[{}]::text[], NULL) ELSE '{{}}' END AS columns, \
                    coalesce(s.source_digest <> t.source_digest, false) AS source_differs, \
                    coalesce(s.related_digest <> t.related_digest, false) AS related_differs, \
                    coalesce(t.source_epoch, 0) AS source_epoch, coalesce(t.source_xmax, 0) AS source_xmax, \
                    coalesce(t.source_in_progress, 0) AS source_in_progress, \
                    t.row_digest IS NULL OR t.related_digest IS NULL AS no_digest, \
                    t.row_digest IS NOT NULL AND {} AS digest_mismatch, \
                    coalesce((t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
                             > ($5, $6, -$7::integer, $8), false) AS newer, \
                    coalesce((t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
                             > ($11, $12, -$13::integer, $14), false) AS read_after_first_pass, \
                    coalesce(greatest(s.conversation_created_at, s.conversation_updated_at, s.last_activity_at, \
                                      s.waiting_since, s.first_reply_created_at, s.contact_last_seen_at, \
                                      s.agent_last_seen_at, s.mc_last_message_at, s.csat_created_at) \
                             BETWEEN $9::timestamptz AND $8, false) AS is_recent, \
                    coalesce(s.inbox_id = ANY($10), false) AS is_unfetched \
             FROM pg_temp.tidemark_staging s \
             FULL JOIN (SELECT * FROM conversations_analytics WHERE tenant_id = $1 AND conversation_id BETWEEN $2 AND $3 \
                        AND ($4::bigint[] IS NULL OR conversation_id = ANY($4))) t USING (tenant_id, conversation_id) \
         ) compared \
         WHERE CASE WHEN staged AND live THEN columns <> '{{}}' OR source_differs OR related_differs OR no_digest OR digest_mismatch \
                                               OR ($15 AND newer) \
                    ELSE staged OR live END",
        differing.join(", "),
        Hashing::of(connection).digest_is_invalid("t")
    );
    let snapshot = &rules.version.snapshot;
    sqlx::query_as(AssertSqlSafe(statement))
        // planned for what is bound
        .persistent(false)
        .bind(Stored(rules.tenant))
        .bind(range.lo)
        .bind(range.hi)
        .bind(ids)
        .bind(rules.version.epoch)
        .bind(snapshot.xmax)
        .bind(snapshot.in_progress)
        .bind(snapshot.clock)
        .bind(rules.watermark)
        .bind(rules.unfetched)
        .bind(rules.since.map(|since| since.epoch))
        .bind(rules.since.map(|since| since.snapshot.xmax))
        .bind(rules.since.map(|since| since.snapshot.in_progress))
        .bind(rules.since.map(|since| since.snapshot.clock))
        .bind(rules.is_latest)
        .fetch_all(connection)
        .await
}

/// Where a range of so many rows of the target ends that begins at `lo`; `None` when there are fewer.
pub(super) async fn target_end(
    connection: &mut PgConnection,
    tenant: TenantId,
    lo: i64,
    at_once: i64,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT conversation_id FROM conversations_analytics WHERE tenant_id = $1 AND conversation_id >= $2 \
         ORDER BY conversation_id OFFSET $3 - 1 LIMIT 1",
    )
    .bind(Stored(tenant))
    .bind(lo)
    .bind(at_once)
    .fetch_optional(connection)
    .await
}

/// How many live rows of the target are in the range, or are those of these ids.
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
