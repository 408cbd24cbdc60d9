//! `etl_sender`: senders of a tenant's messages, without contacts.

use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::TenantId;
use tidemark_shared::selection::Sender;

use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, statements};

statements! {
    LIST = "SELECT tenant_id, sender_type, sender_id, first_message_id, last_message_id \
            FROM etl_sender WHERE tenant_id = ANY($1)";
    RECORD = include_str!("sender/record.sql");
    FORGET = "DELETE FROM etl_sender s USING unnest($2::text[], $3::bigint[]) AS g (sender_type, sender_id) \
              WHERE s.tenant_id = $1 AND s.sender_type = g.sender_type AND s.sender_id = g.sender_id";
}

/// A sender with its first and last message that was read.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct KnownSender {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub sender_type: String,
    pub sender_id: i64,
    pub first_message_id: i64,
    pub last_message_id: i64,
}

/// The senders of these tenants.
pub async fn list(db: impl PgExecutor<'_>, tenants: &[TenantId]) -> DbResult<Vec<KnownSender>> {
    sqlx::query_as(LIST)
        .bind(stored(tenants))
        .fetch_all(db)
        .await
        .attempt("list the senders of messages")
}

/// Records the senders of a tenant's messages, each with the first and the last message that was read.
pub async fn record(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    senders: impl Iterator<Item = (&Sender, (i64, i64))>,
) -> DbResult<()> {
    let (mut types, mut ids, mut firsts, mut lasts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (sender, (first, last)) in senders {
        types.push(sender.sender_type.as_str());
        ids.push(sender.id);
        firsts.push(first);
        lasts.push(last);
    }
    if types.is_empty() {
        return Ok(());
    }
    sqlx::query(RECORD)
        .bind(Stored(tenant))
        .bind(types)
        .bind(ids)
        .bind(firsts)
        .bind(lasts)
        .execute(db)
        .await
        .map(drop)
        .attempt("record the senders of messages")
}

/// Deletes senders that the source no longer has.
pub async fn forget(db: impl PgExecutor<'_>, tenant: TenantId, senders: &[Sender]) -> DbResult<()> {
    let types: Vec<&str> = senders.iter().map(|sender| sender.sender_type.as_str()).collect();
    let ids: Vec<i64> = senders.iter().map(|sender| sender.id).collect();
    sqlx::query(FORGET)
        .bind(Stored(tenant))
        .bind(types)
        .bind(ids)
        .execute(db)
        .await
        .map(drop)
        .attempt("delete senders that the source no longer has")
}
