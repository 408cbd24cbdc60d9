//! What planning asks of `conversations_analytics`: which conversations it holds, never what is in them.

use crate::stored::Stored;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::{Attempt, DbResult, statements};
use tidemark_postgres::DbPool;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::selection::{NameOf, Sender};

statements! {
    LOCK_FOR_READING = "LOCK TABLE conversations_analytics, etl_withheld_conversation IN ACCESS SHARE MODE";
    ENTER = "SELECT set_config('app.current_tenant_id', $1::integer::text, true)";
    // conversations that are withheld count as rows: they are what the source has, and missing on purpose
    BUCKETS = "SELECT bucket, sum(count)::bigint AS count, sum(digest)::text AS digest, max(last) AS last FROM ( \
                   SELECT conversation_id / $2 AS bucket, count(*) AS count, sum(source_digest) AS digest, \
                          max(conversation_id) AS last \
                   FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL GROUP BY 1 \
                   UNION ALL \
                   SELECT conversation_id / $2, 1, source_digest, conversation_id \
                   FROM etl_withheld_conversation WHERE tenant_id = $1) b \
               GROUP BY 1 ORDER BY 1";
    // touches the wide table, so only while some inboxes are left to a backfill
    BUCKETS_BESIDE = "SELECT bucket, sum(count)::bigint AS count, sum(digest)::text AS digest, max(last) AS last FROM ( \
                          SELECT conversation_id / $2 AS bucket, count(*) AS count, sum(source_digest) AS digest, \
                                 max(conversation_id) AS last \
                          FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL \
                            AND (inbox_id = ANY($3)) IS NOT TRUE GROUP BY 1 \
                          UNION ALL \
                          SELECT conversation_id / $2, 1, source_digest, conversation_id \
                          FROM etl_withheld_conversation WHERE tenant_id = $1 AND NOT inbox_id = ANY($3)) b \
                      GROUP BY 1 ORDER BY 1";
    DIGESTS_IN_BUCKETS = "SELECT a.conversation_id, a.source_digest FROM unnest($2::bigint[]) AS b (bucket) \
                          JOIN conversations_analytics a ON a.tenant_id = $1 AND a.source_deleted_at IS NULL \
                           AND a.conversation_id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 \
                          UNION ALL \
                          SELECT w.conversation_id, w.source_digest FROM etl_withheld_conversation w \
                          WHERE w.tenant_id = $1 AND w.conversation_id / $3 = ANY($2) \
                          ORDER BY 1";
    DIGESTS_BESIDE = "SELECT a.conversation_id, a.source_digest FROM unnest($2::bigint[]) AS b (bucket) \
                      JOIN conversations_analytics a ON a.tenant_id = $1 AND a.source_deleted_at IS NULL \
                       AND a.conversation_id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 \
                       AND (a.inbox_id = ANY($4)) IS NOT TRUE \
                      UNION ALL \
                      SELECT w.conversation_id, w.source_digest FROM etl_withheld_conversation w \
                      WHERE w.tenant_id = $1 AND w.conversation_id / $3 = ANY($2) AND NOT w.inbox_id = ANY($4) \
                      ORDER BY 1";
    DIGESTS_OF = "SELECT conversation_id, source_digest FROM conversations_analytics \
                  WHERE tenant_id = $1 AND conversation_id = ANY($2) AND source_deleted_at IS NULL \
                  UNION ALL \
                  SELECT conversation_id, source_digest FROM etl_withheld_conversation \
                  WHERE tenant_id = $1 AND conversation_id = ANY($2)";
    DIGESTS_OF_BESIDE = "SELECT conversation_id, source_digest FROM conversations_analytics \
                         WHERE tenant_id = $1 AND conversation_id = ANY($2) AND source_deleted_at IS NULL \
                           AND (inbox_id = ANY($3)) IS NOT TRUE \
                         UNION ALL \
                         SELECT conversation_id, source_digest FROM etl_withheld_conversation \
                         WHERE tenant_id = $1 AND conversation_id = ANY($2) AND NOT inbox_id = ANY($3)";
    FIND = "SELECT inbox_id, etl_run_id, etl_inserted_at, etl_updated_at, source_extracted_at, source_deleted_at, source_digest, \
                   CASE WHEN client_sender_id IS DISTINCT FROM contact_id THEN client_sender_id END AS other_client_id \
            FROM conversations_analytics WHERE tenant_id = $1 AND conversation_id = $2";
    LAST_LIVE = "SELECT conversation_id FROM conversations_analytics \
                 WHERE tenant_id = $1 AND source_deleted_at IS NULL ORDER BY conversation_id DESC LIMIT 1";
    NOT_NULL = "SELECT attname::text FROM pg_attribute \
                WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND attnotnull ORDER BY attnum";
    TYPES = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND NOT attisdropped";
    IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM conversations_analytics WHERE tenant_id = $1) \
                AND NOT EXISTS (SELECT FROM etl_withheld_conversation WHERE tenant_id = $1)";
    COUNT_LIVE = "SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL";
    COUNT_IN_INBOXES = "SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1 \
                        AND conversation_id = ANY($2) AND inbox_id = ANY($3) AND source_deleted_at IS NULL";
    COUNT_MARKED_BY = "SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1 AND etl_run_id = $2 \
                       AND inbox_id = ANY($3) AND source_deleted_at IS NOT NULL";
    LIVE_AMONG = "SELECT conversation_id FROM conversations_analytics \
                  WHERE tenant_id = $1 AND conversation_id = ANY($2) AND source_deleted_at IS NULL ORDER BY 1";
    READ_BY = "SELECT conversation_id FROM conversations_analytics \
               WHERE tenant_id = $1 AND conversation_id = ANY($2) \
                 AND (source_epoch, source_xmax, -source_in_progress) <= ($3, $4, -$5::integer) ORDER BY 1";
    LIVE_IN_INBOXES = "SELECT conversation_id FROM conversations_analytics \
                       WHERE tenant_id = $1 AND inbox_id = ANY($2) AND source_deleted_at IS NULL ORDER BY 1";
    // reads the messages of every row
    LIVE_WITH_SENDERS = "SELECT conversation_id FROM conversations_analytics \
                         WHERE tenant_id = $1 AND source_deleted_at IS NULL AND message_compiled @> ANY( \
                             SELECT jsonb_build_array(jsonb_build_object('sender', sender_type, 'sender_id', sender_id)) \
                             FROM unnest($2::text[], $3::bigint[]) AS s (sender_type, sender_id)) \
                         ORDER BY 1";
    // cut as the transform cuts; a kind that nothing was asked about costs no scan
    CARRY_OTHERS = "WITH n AS (SELECT position::integer - 1 AS position, kind, id, texts \
                               FROM unnest($2::text[], $3::bigint[], $4::jsonb[]) \
                                    WITH ORDINALITY AS n (kind, id, texts, position)), \
                         a AS NOT MATERIALIZED (SELECT * FROM conversations_analytics \
                                                WHERE tenant_id = $1 AND source_deleted_at IS NULL AND source_epoch > 0) \
                    SELECT n.position FROM n JOIN a ON n.kind = 'inbox' AND a.inbox_id = n.id \
                      AND (a.inbox_name, a.inbox_channel_type, a.inbox_timezone) \
                          IS DISTINCT FROM (nullif(left(texts->>0, 255), ''), nullif(left(texts->>1, 50), ''), left(texts->>2, 50)) \
                    UNION SELECT n.position FROM n JOIN a ON n.kind = 'account' AND a.account_id = n.id \
                      AND a.account_name IS DISTINCT FROM nullif(left(texts->>0, 255), '') \
                    UNION SELECT n.position FROM n JOIN a ON n.kind = 'user' AND a.assignee_id = n.id \
                      AND (a.assignee_name, a.assignee_email) \
                          IS DISTINCT FROM (nullif(left(texts->>0, 255), ''), nullif(left(texts->>1, 255), '')) \
                    UNION SELECT n.position FROM n JOIN a ON n.kind = 'team' AND a.team_id = n.id \
                      AND a.team_name IS DISTINCT FROM nullif(left(texts->>0, 255), '') \
                    ORDER BY 1";
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

/// What the target keeps of a row beside its content.
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
    /// Set while the source does not have it among the tenant's.
    pub source_deleted_at: Option<DateTime<Utc>>,
    pub source_digest: i64,
    /// The contact that wrote in a conversation of another's.
    pub other_client_id: Option<i64>,
}

/// Begins a transaction that reads one moment, and in which row-level security shows this tenant's rows only.
///
/// # Errors
/// When the database does not answer.
pub async fn begin(db: &DbPool, tenant: TenantId) -> DbResult<PgTransaction<'static>> {
    let mut tx = db
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .attempt("begin a transaction")?;
    // before the snapshot: to an older one a table that is rewritten meanwhile looks empty
    sqlx::raw_sql(LOCK_FOR_READING)
        .execute(&mut *tx)
        .await
        .attempt("lock the table conversations_analytics for reading")?;
    enter(&mut tx, tenant).await?;
    Ok(tx)
}

/// From here on row-level security lets the transaction see and write this tenant's rows only.
///
/// # Errors
/// When the database does not answer.
pub async fn enter(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<()> {
    sqlx::query(ENTER)
        .bind(Stored(tenant))
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("enter the tenant")
}

/// Columns that take no NULL.
///
/// # Errors
/// When the database does not answer.
pub async fn not_null_columns(db: impl PgExecutor<'_>) -> DbResult<Vec<String>> {
    sqlx::query_scalar(NOT_NULL)
        .fetch_all(db)
        .await
        .attempt("look the target's columns up")
}

/// Columns that planning reads, as the migrations make them.
const PLANNED_FROM: [(&str, &str); 8] = [
    ("tenant_id", "integer"),
    ("conversation_id", "bigint"),
    ("inbox_id", "integer"),
    ("contact_id", "bigint"),
    ("client_sender_id", "bigint"),
    ("etl_run_id", "bigint"),
    ("source_deleted_at", "timestamp with time zone"),
    ("source_digest", "bigint"),
];

/// What keeps plans from reading the target, when that is a column that somebody has changed: which, and what to do.
pub async fn changed_columns(db: impl PgExecutor<'_>) -> DbResult<Option<String>> {
    let found: HashMap<String, String> = sqlx::query_as(TYPES)
        .fetch_all(db)
        .await
        .attempt("look the target's columns up")?
        .into_iter()
        .collect();
    let wrong: Vec<String> = PLANNED_FROM
        .iter()
        .filter_map(|(column, expected)| match found.get(*column) {
            Some(is) if is == expected => None,
            Some(is) => Some(format!(
                "column {column} of conversations_analytics has the type {is} and not {expected}: change it back with \
                 `ALTER TABLE conversations_analytics ALTER COLUMN {column} TYPE {expected}`"
            )),
            None => Some(format!(
                "conversations_analytics has no column {column} any more: give it back its name, or restore it with \
                 the type {expected}"
            )),
        })
        .collect();
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}

/// Counts and digests of the tenant's live conversations, in buckets of `width` ids, those of the inboxes `but` left out.
///
/// # Errors
/// When the database does not answer.
pub async fn buckets(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    width: i64,
    but: &[i32],
) -> DbResult<Vec<Bucket>> {
    let query = if but.is_empty() {
        sqlx::query_as(BUCKETS).bind(Stored(tenant)).bind(width)
    } else {
        sqlx::query_as(BUCKETS_BESIDE)
            .bind(Stored(tenant))
            .bind(width)
            .bind(but)
    };
    query
        .fetch_all(&mut **tx)
        .await
        .attempt("count the tenant's rows")
}

/// Live conversations in these buckets with their digests, ascending, those of the inboxes `but` left out.
///
/// # Errors
/// When the database does not answer.
pub async fn digests_in_buckets(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    buckets: &[i64],
    width: i64,
    but: &[i32],
) -> DbResult<Vec<(i64, i64)>> {
    let query = if but.is_empty() {
        sqlx::query_as(DIGESTS_IN_BUCKETS)
            .bind(Stored(tenant))
            .bind(buckets)
            .bind(width)
    } else {
        sqlx::query_as(DIGESTS_BESIDE)
            .bind(Stored(tenant))
            .bind(buckets)
            .bind(width)
            .bind(but)
    };
    query.fetch_all(&mut **tx).await.attempt("list the tenant's rows")
}

/// Those of these conversations that are live, with their digests, in no order, those of the inboxes `but` left out.
///
/// # Errors
/// When the database does not answer.
pub async fn digests_of(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    ids: &[i64],
    but: &[i32],
) -> DbResult<Vec<(i64, i64)>> {
    let query = if but.is_empty() {
        sqlx::query_as(DIGESTS_OF).bind(Stored(tenant)).bind(ids)
    } else {
        sqlx::query_as(DIGESTS_OF_BESIDE)
            .bind(Stored(tenant))
            .bind(ids)
            .bind(but)
    };
    query
        .fetch_all(&mut **tx)
        .await
        .attempt("look up the tenant's rows")
}

/// What the target keeps of a conversation, live or marked deleted.
///
/// # Errors
/// When the database does not answer.
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

/// Whether nothing of the tenant was ever loaded.
///
/// # Errors
/// When the database does not answer.
pub async fn is_empty(db: &DbPool, tenant: TenantId) -> DbResult<bool> {
    let mut tx = begin(db, tenant).await?;
    let is_empty = sqlx::query_scalar(IS_EMPTY)
        .bind(Stored(tenant))
        .fetch_one(&mut *tx)
        .await
        .attempt("look for rows of the tenant")?;
    tx.rollback().await.attempt("end the transaction")?;
    Ok(is_empty)
}

/// How many live conversations the tenant has.
///
/// # Errors
/// When the database does not answer.
pub async fn count_live(connection: &mut PgConnection, tenant: TenantId) -> DbResult<i64> {
    sqlx::query_scalar(COUNT_LIVE)
        .bind(Stored(tenant))
        .fetch_one(connection)
        .await
        .attempt("count the tenant's rows")
}

/// Those of these conversations whose rows were read no later than this. Of a later row that read says nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn read_by(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    ids: &[i64],
    version: &SourceVersion,
) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(READ_BY)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .fetch_all(&mut **tx)
        .await
        .attempt("look which versions rows were read at")
}

/// How many rows of these inboxes a run has marked deleted. Reads all rows of the tenant.
///
/// # Errors
/// When the database does not answer.
pub async fn count_marked_by(
    connection: &mut PgConnection,
    tenant: TenantId,
    run: RunId,
    inboxes: &[i32],
) -> DbResult<i64> {
    sqlx::query_scalar(COUNT_MARKED_BY)
        .bind(Stored(tenant))
        .bind(Stored(run))
        .bind(inboxes)
        .fetch_one(connection)
        .await
        .attempt("count what the run has marked deleted")
}

/// The highest id of a live conversation of the tenant.
///
/// # Errors
/// When the database does not answer.
pub async fn last_live(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<Option<i64>> {
    sqlx::query_scalar(LAST_LIVE)
        .bind(Stored(tenant))
        .fetch_optional(&mut **tx)
        .await
        .attempt("look for the tenant's last row")
}

/// How many of these conversations are live in one of these inboxes.
///
/// # Errors
/// When the database does not answer.
pub async fn count_in_inboxes(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    ids: &[i64],
    inboxes: &[i32],
) -> DbResult<i64> {
    sqlx::query_scalar(COUNT_IN_INBOXES)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(inboxes)
        .fetch_one(&mut **tx)
        .await
        .attempt("count the rows of the tenant's inboxes")
}

/// Those of these conversations that are live, ascending.
///
/// # Errors
/// When the database does not answer.
pub async fn live_among(tx: &mut PgTransaction<'_>, tenant: TenantId, ids: &[i64]) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(LIVE_AMONG)
        .bind(Stored(tenant))
        .bind(ids)
        .fetch_all(&mut **tx)
        .await
        .attempt("look the rows up")
}

/// Live conversations of these inboxes, ascending.
///
/// # Errors
/// When the database does not answer.
pub async fn live_in_inboxes(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    inboxes: &[i32],
) -> DbResult<Vec<i64>> {
    sqlx::query_scalar(LIVE_IN_INBOXES)
        .bind(Stored(tenant))
        .bind(inboxes)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the rows of the inboxes")
}

/// Live conversations with a message of one of these senders, ascending. Reads all messages of the tenant.
///
/// # Errors
/// When the database does not answer.
pub async fn live_with_senders(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    senders: &[Sender],
) -> DbResult<Vec<i64>> {
    let types: Vec<&str> = senders.iter().map(|sender| sender.sender_type.as_str()).collect();
    let ids: Vec<i64> = senders.iter().map(|sender| sender.id).collect();
    sqlx::query_scalar(LIVE_WITH_SENDERS)
        .bind(Stored(tenant))
        .bind(types)
        .bind(ids)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the rows with messages of deleted senders")
}

/// Whose names, and the texts in the order of the target's columns.
pub type NameTexts<'a> = (NameOf, i64, &'a [Option<String>]);

/// Positions of those for which a live row carries other texts, ascending. Rows of an import that were never read from the
/// source do not count: the backfill of their inbox reads them anyway.
///
/// # Errors
/// When the database does not answer.
pub async fn carry_others(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    names: &[NameTexts<'_>],
) -> DbResult<Vec<i32>> {
    let kinds: Vec<&str> = names.iter().map(|(of, _, _)| of.as_str()).collect();
    let ids: Vec<i64> = names.iter().map(|(_, id, _)| *id).collect();
    let texts: Vec<Json<&[Option<String>]>> = names.iter().map(|(_, _, texts)| Json(*texts)).collect();
    sqlx::query_scalar(CARRY_OTHERS)
        .bind(Stored(tenant))
        .bind(kinds)
        .bind(ids)
        .bind(texts)
        .fetch_all(&mut **tx)
        .await
        .attempt("compare the names that rows carry")
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
        .bind(Stored(tenant))
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
        .bind(Stored(tenant))
        .fetch_all(&mut **tx)
        .await
        .attempt("list the tenant's rejects")
}
