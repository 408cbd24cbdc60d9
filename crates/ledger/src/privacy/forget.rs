//! Forgetting a contact.

use serde::Serialize;
use sqlx::FromRow;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunType;
use tidemark_shared::selection::Selection;

use crate::run::{NewRun, insert_requested};
use crate::stored::Stored;
use crate::target::begin_write;
use crate::{Attempt, DbResult, again, execute, statements};

statements! {
    COUNT_OF = "SELECT count(*) FILTER (WHERE contact_id = $2) AS removed, \
                       count(*) FILTER (WHERE contact_id IS DISTINCT FROM $2) AS cleaned \
                FROM conversations_analytics WHERE tenant_id = $1 \
                  AND (contact_id = $2 OR client_sender_id = $2 \
                       OR message_compiled @> jsonb_build_array(jsonb_build_object('sender', 'Contact', 'sender_id', $2::bigint)))";
    FORGET = "INSERT INTO etl_forgotten_contact (tenant_id, contact_id, forgotten_by, reason) VALUES ($1, $2, $3, $4) \
              ON CONFLICT (tenant_id, contact_id) DO NOTHING";
    RAISE_VERSION = "UPDATE tenants SET mapping_version = mapping_version + 1, updated_at = now() \
                     WHERE id = $1 AND deleted_at IS NULL";
    REMOVE_ROWS = "WITH removed AS (DELETE FROM conversations_analytics WHERE tenant_id = $1 AND contact_id = $2 \
                                    RETURNING conversation_id, inbox_id, source_digest, source_deleted_at), \
                        withheld AS (INSERT INTO etl_withheld_conversation \
                                         (tenant_id, conversation_id, contact_id, inbox_id, source_digest) \
                                     SELECT $1, conversation_id, $2, coalesce(inbox_id, 0), source_digest FROM removed \
                                     WHERE source_deleted_at IS NULL ORDER BY conversation_id \
                                     ON CONFLICT (tenant_id, conversation_id) DO NOTHING), \
                        rejects AS (DELETE FROM etl_rejected_row j USING removed r \
                                    WHERE j.tenant_id = $1 AND j.conversation_id = r.conversation_id) \
                   SELECT count(*) FROM removed";
    // Until the resync the row has no hashes to go by. Where the client's phone had stood in for that of the conversation's contact it goes too
    CLEAN_OTHERS = "WITH theirs AS (SELECT jsonb_build_object('sender', 'Contact', 'sender_id', $2::bigint) AS message) \
                    UPDATE conversations_analytics a SET \
                        message_compiled = (SELECT jsonb_agg(CASE WHEN m @> t.message THEN m || '{\"text\": null}' ELSE m END \
                                                             ORDER BY n) \
                                            FROM jsonb_array_elements(a.message_compiled) WITH ORDINALITY AS e (m, n)), \
                        first_message_text = CASE WHEN (SELECT m FROM jsonb_array_elements(a.message_compiled) \
                                                                      WITH ORDINALITY AS e (m, n) \
                                                        WHERE m -> 'private' = 'false' ORDER BY n LIMIT 1) @> t.message \
                                                  THEN NULL ELSE a.first_message_text END, \
                        last_message_text = CASE WHEN (SELECT m FROM jsonb_array_elements(a.message_compiled) \
                                                                     WITH ORDINALITY AS e (m, n) \
                                                       WHERE m -> 'private' = 'false' ORDER BY n DESC LIMIT 1) @> t.message \
                                                 THEN NULL ELSE a.last_message_text END, \
                        contact_phone = CASE WHEN a.client_sender_id = $2 AND a.contact_phone = a.client_phone \
                                             THEN NULL ELSE a.contact_phone END, \
                        client_phone = CASE WHEN a.client_sender_id = $2 THEN NULL ELSE a.client_phone END, \
                        row_hash = decode(repeat('00', 16), 'hex'), row_digest = NULL, etl_updated_at = now() \
                    FROM theirs t \
                    WHERE a.tenant_id = $1 AND a.contact_id IS DISTINCT FROM $2 \
                      AND (a.client_sender_id = $2 OR a.message_compiled @> jsonb_build_array(t.message)) \
                    RETURNING a.conversation_id, a.source_deleted_at IS NULL";
}

/// Rows that a contact is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, FromRow)]
pub struct RowsOf {
    /// Those of its own conversations.
    pub removed: i64,
    /// Those of others' conversations in which it has written.
    pub cleaned: i64,
}

/// How many rows a contact is in.
///
/// # Errors
/// When the database does not answer.
pub async fn count_of(db: &DbPool, tenant: TenantId, contact: i64) -> DbResult<RowsOf> {
    let mut tx = begin_write(db, tenant).await?;
    let rows = sqlx::query_as(COUNT_OF)
        .bind(Stored(tenant))
        .bind(contact)
        .fetch_one(&mut *tx)
        .await
        .attempt("count the contact's rows")?;
    tx.rollback().await.attempt("count the contact's rows")?;
    Ok(rows)
}

/// Removes a contact's conversations, takes its texts and phone number out of those of others, and notes that it stays out.
/// The same again does what was left. From the first of its two transactions on no load brings anything of it; the second
/// asks for a resync of the rows that it has cleaned. `asked` says who wants it, and why.
///
/// # Errors
/// When the database does not answer.
pub async fn forget(db: &DbPool, tenant: TenantId, contact: i64, asked: &NewRun) -> DbResult<RowsOf> {
    let removed = again(async || {
        let mut tx = begin_write(db, tenant).await?;
        execute(
            sqlx::query(RAISE_VERSION).bind(Stored(tenant)),
            &mut tx,
            "lock the tenant",
        )
        .await?;
        let forget = sqlx::query(FORGET)
            .bind(Stored(tenant))
            .bind(contact)
            .bind(&asked.triggered_by)
            .bind(&asked.reason);
        execute(forget, &mut tx, "forget the contact").await?;
        let removed: i64 = sqlx::query_scalar(REMOVE_ROWS)
            .bind(Stored(tenant))
            .bind(contact)
            .fetch_one(&mut *tx)
            .await
            .attempt("remove the contact's rows")?;
        tx.commit().await.attempt("forget the contact")?;
        Ok(removed)
    })
    .await?;
    let cleaned = again(async || {
        let mut tx = begin_write(db, tenant).await?;
        let cleaned: Vec<(i64, bool)> = sqlx::query_as(CLEAN_OTHERS)
            .bind(Stored(tenant))
            .bind(contact)
            .fetch_all(&mut *tx)
            .await
            .attempt("take the contact out of others' conversations")?;
        let mut live: Vec<i64> = cleaned.iter().filter(|row| row.1).map(|row| row.0).collect();
        live.sort_unstable();
        if !live.is_empty() {
            let run = asked.with_selection(RunType::Resync, Selection::Ids { ids: live });
            insert_requested(&mut *tx, &run).await?;
        }
        tx.commit()
            .await
            .attempt("take the contact out of others' conversations")?;
        Ok(i64::try_from(cleaned.len()).expect("rows of a tenant fit in 63 bits"))
    })
    .await?;
    Ok(RowsOf { removed, cleaned })
}
