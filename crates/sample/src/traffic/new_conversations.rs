//! Creates conversations.

use anyhow::{Context, Result, bail};
use rand::RngExt;
use sqlx::{Connection, query, query_as, query_scalar};

use super::Changes;
use super::new_messages::write_as_contact;
use super::pick::{self, Conversation};
use crate::directory::{contact_source, phone};
use crate::text::person;

/// A known or new contact writes to an inbox.
pub async fn create(changes: &mut Changes) -> Result<bool> {
    let before = pick::conversation(changes).await?;
    let (account_id, inbox_id) = match &before {
        Some(before) => (before.account_id, before.inbox_id),
        None => first_inbox(changes).await?,
    };
    let known = before.and_then(|before| before.contact_inbox_id.zip(before.contact_id));
    let (contact_inbox_id, contact_id) = match known {
        Some(contact) if changes.rng.random_ratio(2, 3) => contact,
        _ => new_contact(changes, account_id, inbox_id).await?,
    };
    let conversation =
        insert_conversation(changes, account_id, inbox_id, contact_inbox_id, contact_id).await?;
    write_as_contact(changes, &conversation).await?;
    Ok(true)
}

async fn first_inbox(changes: &mut Changes) -> Result<(i32, i32)> {
    let inbox = query_as("SELECT account_id, id FROM inboxes ORDER BY id LIMIT 1")
        .fetch_optional(&mut changes.conn)
        .await
        .context("look for an inbox")?;
    match inbox {
        Some(inbox) => Ok(inbox),
        None => bail!("the sample has no inbox"),
    }
}

async fn new_contact(changes: &mut Changes, account_id: i32, inbox_id: i32) -> Result<(i64, i64)> {
    let name = person(&mut changes.rng);
    let phone = phone(changes.rng.random_range(1..90_000_000));
    let id: i32 = query_scalar(
        "INSERT INTO contacts (name, phone_number, account_id, created_at, updated_at, last_activity_at) \
         VALUES ($1, $2, $3, $4, $4, $4) RETURNING id",
    )
    .bind(name)
    .bind(phone)
    .bind(account_id)
    .bind(changes.now)
    .fetch_one(&mut changes.conn)
    .await
    .context("insert a contact")?;
    let contact_inbox_id = query_scalar(
        "INSERT INTO contact_inboxes (contact_id, inbox_id, source_id, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $4) RETURNING id",
    )
    .bind(i64::from(id))
    .bind(i64::from(inbox_id))
    .bind(contact_source(id))
    .bind(changes.now)
    .fetch_one(&mut changes.conn)
    .await
    .context("put a contact into its inbox")?;
    Ok((contact_inbox_id, i64::from(id)))
}

async fn insert_conversation(
    changes: &mut Changes,
    account_id: i32,
    inbox_id: i32,
    contact_inbox_id: i64,
    contact_id: i64,
) -> Result<Conversation> {
    let mut tx = changes.conn.begin().await.context("begin a conversation")?;
    // without the lock two transactions would take the same display_id
    query("SELECT FROM accounts WHERE id = $1 FOR UPDATE")
        .bind(account_id)
        .execute(&mut *tx)
        .await
        .context("lock the account")?;
    let conversation = query_as(
        "INSERT INTO conversations (account_id, inbox_id, contact_id, contact_inbox_id, display_id, created_at, \
                                    updated_at, last_activity_at) \
         SELECT $1, $2, $3, $4, COALESCE(max(display_id), 0) + 1, $5, $5, $5 \
         FROM conversations WHERE account_id = $1 \
         RETURNING id, account_id, inbox_id, status, contact_id, contact_inbox_id, assignee_id, created_at",
    )
    .bind(account_id)
    .bind(inbox_id)
    .bind(contact_id)
    .bind(contact_inbox_id)
    .bind(changes.now)
    .fetch_one(&mut *tx)
    .await
    .context("insert a conversation")?;
    tx.commit().await.context("commit a conversation")?;
    Ok(conversation)
}
