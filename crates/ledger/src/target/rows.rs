//! Finds, counts and lists conversations of the target.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgConnection};
use tidemark_postgres::DbPool;
use tidemark_shared::contact_digest::bound_to;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::inbox::WaitingInbox;

use super::transaction::begin;
use crate::statement::rows_by_key;
use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    FIND = "SELECT inbox_id, etl_run_id, etl_inserted_at, etl_updated_at, source_extracted_at, source_deleted_at, source_digest, \
                   CASE WHEN client_sender_id IS DISTINCT FROM contact_id THEN client_sender_id END AS other_client_id \
            FROM conversations_analytics WHERE tenant_id = $1 AND conversation_id = $2";
    FIND_LAST_LIVE = "SELECT conversation_id FROM conversations_analytics \
                      WHERE tenant_id = $1 AND source_deleted_at IS NULL ORDER BY conversation_id DESC LIMIT 1";
    IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM conversations_analytics WHERE tenant_id = $1) \
                AND NOT EXISTS (SELECT FROM etl_withheld_conversation WHERE tenant_id = $1)";
    COUNT_LIVE = "SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL";
    COUNT_BY_INBOX = concat!(
        "SELECT inbox_id, max(inbox_name) AS name, count(*) AS rows FROM ", rows_by_key!(),
        " WHERE inbox_id = ANY($3) AND source_deleted_at IS NULL GROUP BY inbox_id ORDER BY inbox_id",
    );
    COUNT_LIVE_IN_INBOXES = "SELECT count(*) FROM conversations_analytics \
                             WHERE tenant_id = $1 AND inbox_id = ANY($2) AND source_deleted_at IS NULL";
    LIST_OF_INBOXES = concat!(
        "SELECT conversation_id FROM ", rows_by_key!(), " WHERE inbox_id = ANY($3) AND source_deleted_at IS NULL ORDER BY 1",
    );
    COUNT_DELETED_BY = "SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1 AND etl_run_id = $2 \
                        AND inbox_id = ANY($3) AND source_deleted_at IS NOT NULL";
    LIST_LIVE = concat!("SELECT conversation_id FROM ", rows_by_key!(), " WHERE source_deleted_at IS NULL ORDER BY 1");
    LIST_NOT_NEWER = concat!(
        "SELECT conversation_id FROM ", rows_by_key!(),
        " WHERE (source_epoch, source_xmax, -source_in_progress) <= ($3, $4, -$5::integer) ORDER BY 1",
    );
    LIST_LIVE_IN_INBOXES = "SELECT conversation_id FROM conversations_analytics \
                            WHERE tenant_id = $1 AND inbox_id = ANY($2) AND source_deleted_at IS NULL ORDER BY 1";
    LIST_WITH_OTHER_CLIENT = "SELECT conversation_id FROM conversations_analytics \
                              WHERE tenant_id = $1 AND client_sender_id = ANY($2) \
                                AND client_sender_id IS DISTINCT FROM contact_id AND client_sender_id IS NOT NULL \
                                AND source_deleted_at IS NULL ORDER BY conversation_id";
    // A load that is at work may have read a contact as it was before, and commit later.
    LIST_CONTACT_DIGESTS = concat!(
        "SELECT conversation_id, row_hash, contact_digest FROM ", rows_by_key!(),
        " WHERE contact_digest IS NOT NULL AND source_deleted_at IS NULL \
           AND NOT EXISTS (SELECT FROM etl_chunk c WHERE c.tenant_id = $1 AND c.status IN ('queued', 'running'))",
    );
    LIST_OPEN_REJECTS = "SELECT conversation_id FROM etl_rejected_row \
                         WHERE tenant_id = $1 AND resolved_at IS NULL ORDER BY conversation_id";
}

/// Columns of a row that describe its state, not its content.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct StoredRow {
    pub inbox_id: Option<i32>,
    /// The run that wrote it last.
    #[sqlx(try_from = "Stored<RunId>")]
    pub etl_run_id: RunId,
    pub etl_inserted_at: DateTime<Utc>,
    pub etl_updated_at: DateTime<Utc>,
    /// The source's clock when it was read.
    pub source_extracted_at: DateTime<Utc>,
    /// Set while the source does not have it among the tenant's conversations.
    pub source_deleted_at: Option<DateTime<Utc>>,
    pub source_digest: i64,
    /// The contact that wrote, when the conversation belongs to another contact.
    pub other_client_id: Option<i64>,
}

/// The state of a conversation's row, live or marked deleted.
pub async fn find(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    conversation: i64,
) -> DbResult<Option<StoredRow>> {
    sqlx::query_as(FIND)
        .bind(Stored(tenant))
        .bind(conversation)
        .fetch_optional(&mut **tx)
        .await
        .attempt("find the conversation's row")
}

/// Whether no row of the tenant was ever loaded.
pub async fn is_empty(db: &DbPool, tenant: TenantId) -> DbResult<bool> {
    let mut tx = begin(db, tenant).await?;
    let is_empty = sqlx::query_scalar(IS_EMPTY)
        .bind(Stored(tenant))
        .fetch_one(&mut *tx)
        .await
        .attempt("find a row of the tenant")?;
    tx.rollback().await.attempt("end the transaction")?;
    Ok(is_empty)
}

/// How many live conversations the tenant has.
pub async fn count_live(connection: &mut PgConnection, tenant: TenantId) -> DbResult<i64> {
    sqlx::query_scalar(COUNT_LIVE)
        .bind(Stored(tenant))
        .fetch_one(connection)
        .await
        .attempt("count the tenant's rows")
}

/// Those of these conversations whose rows were not read later than `version`. That version says nothing about rows of
/// a later read.
pub async fn list_not_newer(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    ids: &[i64],
    version: &SourceVersion,
) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(LIST_NOT_NEWER)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .fetch_all(&mut **tx)
        .await
        .attempt("read the versions of rows")
}

/// How many rows of these inboxes a run has marked deleted. Reads all rows of the tenant.
pub async fn count_deleted_by(
    connection: &mut PgConnection,
    tenant: TenantId,
    run: RunId,
    inboxes: &[i32],
) -> DbResult<i64> {
    sqlx::query_scalar(COUNT_DELETED_BY)
        .bind(Stored(tenant))
        .bind(Stored(run))
        .bind(inboxes)
        .fetch_one(connection)
        .await
        .attempt("count the rows that the run has marked deleted")
}

/// The highest id of a live conversation of the tenant.
pub async fn find_last_live(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<Option<i64>> {
    sqlx::query_scalar(FIND_LAST_LIVE)
        .bind(Stored(tenant))
        .fetch_optional(&mut **tx)
        .await
        .attempt("find the tenant's last row")
}

/// How many of these conversations are live in each of these inboxes; inboxes without any are left out.
pub async fn count_by_inbox(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    ids: &[i64],
    inboxes: &[i32],
) -> DbResult<Vec<WaitingInbox>> {
    let counted: Vec<(i32, Option<String>, i64)> = sqlx::query_as(COUNT_BY_INBOX)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(inboxes)
        .fetch_all(&mut **tx)
        .await
        .attempt("count the rows of the tenant's inboxes")?;
    let counted = counted
        .into_iter()
        .map(|(inbox_id, name, rows)| WaitingInbox { inbox_id, name, rows });
    Ok(counted.collect())
}

/// How many live conversations these inboxes have.
pub async fn count_live_in_inboxes(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    inboxes: &[i32],
) -> DbResult<i64> {
    if inboxes.is_empty() {
        return Ok(0);
    }
    sqlx::query_scalar(COUNT_LIVE_IN_INBOXES)
        .bind(Stored(tenant))
        .bind(inboxes)
        .fetch_one(&mut **tx)
        .await
        .attempt("count the rows of inboxes")
}

/// Those of these conversations that are live in one of these inboxes, ascending.
pub async fn list_of_inboxes(
    connection: &mut PgConnection,
    tenant: TenantId,
    ids: &[i64],
    inboxes: &[i32],
) -> DbResult<Vec<i64>> {
    if inboxes.is_empty() || ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(LIST_OF_INBOXES)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(inboxes)
        .fetch_all(connection)
        .await
        .attempt("list the rows of inboxes")
}

/// The live ones of these conversations, ascending.
pub async fn list_live(tx: &mut PgTransaction<'_>, tenant: TenantId, ids: &[i64]) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(LIST_LIVE)
        .bind(Stored(tenant))
        .bind(ids)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the live rows")
}

/// Live conversations of these inboxes, ascending.
pub async fn list_live_in_inboxes(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    inboxes: &[i32],
) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(LIST_LIVE_IN_INBOXES)
        .bind(Stored(tenant))
        .bind(inboxes)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the rows of the inboxes")
}

/// Conversations in which one of these contacts wrote, though they belong to another contact.
pub async fn list_with_other_client(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    contacts: &[i64],
) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(LIST_WITH_OTHER_CLIENT)
        .bind(Stored(tenant))
        .bind(contacts)
        .fetch_all(&mut **tx)
        .await
        .attempt("list conversations that these contacts wrote in")
}

/// Those of these conversations whose rows are live and have a digest of their contact, each with that digest. None while a chunk
/// of the tenant is in flight.
pub async fn list_contact_digests(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    conversations: &[i64],
) -> DbResult<Vec<(i64, i64)>> {
    let rows: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(LIST_CONTACT_DIGESTS)
        .bind(Stored(tenant))
        .bind(conversations)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the digests of contacts")?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, hash, stored)| Some((id, bound_to(stored, hash.try_into().ok()?))))
        .collect())
}

/// Conversations with an open reject.
pub async fn list_open_rejects(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(LIST_OPEN_REJECTS)
        .bind(Stored(tenant))
        .fetch_all(&mut **tx)
        .await
        .attempt("list the tenant's rejects")
}
