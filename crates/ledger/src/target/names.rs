//! Rows with an outdated name, or with messages of a deleted sender.

use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use tidemark_shared::ids::TenantId;
use tidemark_shared::selection::{NameOf, Sender};

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    // reads the messages of every row
    LIST_LIVE_WITH_SENDERS = "SELECT conversation_id FROM conversations_analytics \
                              WHERE tenant_id = $1 AND source_deleted_at IS NULL AND message_compiled @> ANY( \
                                  SELECT jsonb_build_array(jsonb_build_object('sender', sender_type, 'sender_id', sender_id)) \
                                  FROM unnest($2::text[], $3::bigint[]) AS s (sender_type, sender_id)) \
                              ORDER BY 1";
    LIST_OUTDATED_NAMES = include_str!("list_outdated_names.sql");
}

/// Live conversations with a message of one of these senders, ascending. Reads all messages of the tenant.
pub async fn list_live_with_senders(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    senders: &[Sender],
) -> DbResult<Vec<i64>> {
    let types: Vec<&str> = senders.iter().map(|sender| sender.sender_type.as_str()).collect();
    let ids: Vec<i64> = senders.iter().map(|sender| sender.id).collect();
    sqlx::query_scalar(LIST_LIVE_WITH_SENDERS)
        .bind(Stored(tenant))
        .bind(types)
        .bind(ids)
        .fetch_all(&mut **tx)
        .await
        .attempt("list the rows with messages of deleted senders")
}

/// Kind and id of a name, and its texts in the order of the target's columns.
pub type NameTexts<'a> = (NameOf, i64, &'a [Option<String>]);

/// Positions of the names for which a live row has other texts, ascending. Imported rows that were never read from the
/// source do not count: the backfill of their inbox reads them anyway.
pub async fn list_outdated_names(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    names: &[NameTexts<'_>],
) -> DbResult<Vec<i32>> {
    let kinds: Vec<&str> = names.iter().map(|(of, _, _)| of.as_str()).collect();
    let ids: Vec<i64> = names.iter().map(|(_, id, _)| *id).collect();
    let texts: Vec<Json<&[Option<String>]>> = names.iter().map(|(_, _, texts)| Json(*texts)).collect();
    sqlx::query_scalar(LIST_OUTDATED_NAMES)
        .bind(Stored(tenant))
        .bind(kinds)
        .bind(ids)
        .bind(texts)
        .fetch_all(&mut **tx)
        .await
        .attempt("compare the names in the tenant's rows")
}
