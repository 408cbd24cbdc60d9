//! What planning asks of `conversations_analytics`: which conversations it holds, never what is in them.

use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgPool};

use super::{Attempt, DbResult, statements};
use crate::ids::TenantId;

statements! {
    ENTER = "SELECT set_config('app.current_tenant_id', $1::integer::text, true)";
    BUCKETS = "SELECT conversation_id / $2 AS bucket, count(*) AS count, sum(source_digest)::text AS digest, \
                      max(conversation_id) AS last \
               FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL \
               GROUP BY 1 ORDER BY 1";
    DIGESTS_IN_BUCKETS = "SELECT a.conversation_id, a.source_digest FROM unnest($2::bigint[]) AS b (bucket) \
                          JOIN conversations_analytics a ON a.tenant_id = $1 AND a.source_deleted_at IS NULL \
                           AND a.conversation_id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 \
                          ORDER BY a.conversation_id";
    CLIENTS_OF = "SELECT conversation_id FROM conversations_analytics \
                  WHERE tenant_id = $1 AND client_sender_id = ANY($2) \
                    AND client_sender_id IS DISTINCT FROM contact_id AND client_sender_id IS NOT NULL \
                    AND source_deleted_at IS NULL ORDER BY conversation_id";
    OPEN_REJECTS = "SELECT conversation_id FROM etl_rejected_row \
                    WHERE tenant_id = $1 AND resolved_at IS NULL ORDER BY conversation_id";
}

/// Live conversations in one stretch of ids.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Bucket {
    /// Id divided by the width.
    pub bucket: i64,
    pub count: i64,
    /// Sum of the rows' digests.
    pub digest: String,
    pub last: i64,
}

/// Begins a transaction in which row-level security shows and takes this tenant's rows only.
///
/// # Errors
/// When the database does not answer.
pub async fn begin(db: &PgPool, tenant: TenantId) -> DbResult<PgTransaction<'static>> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    sqlx::query(ENTER)
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .attempt("enter the tenant")?;
    Ok(tx)
}

/// Counts and digests of the tenant's live conversations, in buckets of `width` ids.
///
/// # Errors
/// When the database does not answer.
pub async fn buckets(tx: &mut PgTransaction<'_>, tenant: TenantId, width: i64) -> DbResult<Vec<Bucket>> {
    sqlx::query_as(BUCKETS)
        .bind(tenant)
        .bind(width)
        .fetch_all(&mut **tx)
        .await
        .attempt("count the tenant's rows")
}

/// Live conversations in these buckets with their digests, ascending.
///
/// # Errors
/// When the database does not answer.
pub async fn digests_in_buckets(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    buckets: &[i64],
    width: i64,
) -> DbResult<Vec<(i64, i64)>> {
    sqlx::query_as(DIGESTS_IN_BUCKETS)
        .bind(tenant)
        .bind(buckets)
        .bind(width)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the tenant's rows")
}

/// Conversations whose client is one of these contacts though the conversation belongs to another.
///
/// # Errors
/// When the database does not answer.
pub async fn clients_of(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    contacts: &[i64],
) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(CLIENTS_OF)
        .bind(tenant)
        .bind(contacts)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the contacts' conversations")
}

/// Conversations that an earlier run could not take.
///
/// # Errors
/// When the database does not answer.
pub async fn open_rejects(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(OPEN_REJECTS)
        .bind(tenant)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the tenant's rejects")
}
