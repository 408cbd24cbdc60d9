//! Digests of the target's rows, to compare with those of the source.

use sqlx::FromRow;
use sqlx::postgres::PgTransaction;
use tidemark_shared::ids::TenantId;

use crate::statement::rows_by_key;
use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    BUCKETS = include_str!("buckets.sql");
    BUCKETS_WITHOUT_INBOXES = include_str!("buckets_without_inboxes.sql");
    DIGESTS_IN_BUCKETS = "SELECT a.conversation_id, a.source_digest FROM unnest($2::bigint[]) AS b (bucket) \
                          JOIN conversations_analytics a ON a.tenant_id = $1 AND a.source_deleted_at IS NULL \
                           AND a.conversation_id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 \
                          UNION ALL \
                          SELECT w.conversation_id, w.source_digest FROM etl_withheld_conversation w \
                          WHERE w.tenant_id = $1 AND w.conversation_id / $3 = ANY($2) \
                          ORDER BY 1";
    DIGESTS_IN_BUCKETS_WITHOUT_INBOXES = "SELECT a.conversation_id, a.source_digest FROM unnest($2::bigint[]) AS b (bucket) \
                                          JOIN conversations_analytics a ON a.tenant_id = $1 AND a.source_deleted_at IS NULL \
                                           AND a.conversation_id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 \
                                           AND (a.inbox_id = ANY($4)) IS NOT TRUE \
                                          UNION ALL \
                                          SELECT w.conversation_id, w.source_digest FROM etl_withheld_conversation w \
                                          WHERE w.tenant_id = $1 AND w.conversation_id / $3 = ANY($2) AND NOT w.inbox_id = ANY($4) \
                                          ORDER BY 1";
    DIGESTS_OF = concat!(
        "SELECT conversation_id, source_digest FROM ", rows_by_key!(), " WHERE source_deleted_at IS NULL \
         UNION ALL \
         SELECT conversation_id, source_digest FROM etl_withheld_conversation \
         WHERE tenant_id = $1 AND conversation_id = ANY($2)",
    );
    DIGESTS_OF_WITHOUT_INBOXES = concat!(
        "SELECT conversation_id, source_digest FROM ", rows_by_key!(), " WHERE source_deleted_at IS NULL \
           AND (inbox_id = ANY($3)) IS NOT TRUE \
         UNION ALL \
         SELECT conversation_id, source_digest FROM etl_withheld_conversation \
         WHERE tenant_id = $1 AND conversation_id = ANY($2) AND NOT inbox_id = ANY($3)",
    );
}

/// Live conversations in one range of ids.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Bucket {
    /// Id divided by the width.
    pub bucket: i64,
    pub count: i64,
    /// Sum of the rows' digests.
    pub digest: String,
    pub last: i64,
}

/// Counts and digests of the tenant's live conversations in buckets of `width` ids, without those of `except_inboxes`.
pub async fn buckets(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    width: i64,
    except_inboxes: &[i32],
) -> DbResult<Vec<Bucket>> {
    let query = if except_inboxes.is_empty() {
        sqlx::query_as(BUCKETS).bind(Stored(tenant)).bind(width)
    } else {
        sqlx::query_as(BUCKETS_WITHOUT_INBOXES)
            .bind(Stored(tenant))
            .bind(width)
            .bind(except_inboxes)
    };
    query
        .fetch_all(&mut **tx)
        .await
        .attempt("count the tenant's rows")
}

/// Live conversations in these buckets with their digests, ascending, without those of `except_inboxes`.
pub async fn digests_in_buckets(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    buckets: &[i64],
    width: i64,
    except_inboxes: &[i32],
) -> DbResult<Vec<(i64, i64)>> {
    let query = if except_inboxes.is_empty() {
        sqlx::query_as(DIGESTS_IN_BUCKETS)
            .bind(Stored(tenant))
            .bind(buckets)
            .bind(width)
    } else {
        sqlx::query_as(DIGESTS_IN_BUCKETS_WITHOUT_INBOXES)
            .bind(Stored(tenant))
            .bind(buckets)
            .bind(width)
            .bind(except_inboxes)
    };
    query.fetch_all(&mut **tx).await.attempt("list the tenant's rows")
}

/// The live ones of these conversations with their digests, in no order, without those of `except_inboxes`.
pub async fn digests_of(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    ids: &[i64],
    except_inboxes: &[i32],
) -> DbResult<Vec<(i64, i64)>> {
    let query = if except_inboxes.is_empty() {
        sqlx::query_as(DIGESTS_OF).bind(Stored(tenant)).bind(ids)
    } else {
        sqlx::query_as(DIGESTS_OF_WITHOUT_INBOXES)
            .bind(Stored(tenant))
            .bind(ids)
            .bind(except_inboxes)
    };
    query
        .fetch_all(&mut **tx)
        .await
        .attempt("list the digests of the tenant's rows")
}
