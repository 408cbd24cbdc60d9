//! Picks the rows of a change, usually new ones.

use anyhow::{Context, Result};
use chrono::NaiveDateTime;
use rand::{Rng, RngExt};
use sqlx::{query_as, query_scalar};

use super::Changes;

/// Two of three changes pick among this many newest rows.
const NEWEST: i32 = 500;

#[derive(Debug, sqlx::FromRow)]
pub struct Conversation {
    pub id: i32,
    pub account_id: i32,
    pub inbox_id: i32,
    pub status: i32,
    pub contact_id: Option<i64>,
    pub contact_inbox_id: Option<i64>,
    pub assignee_id: Option<i32>,
    pub created_at: NaiveDateTime,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Message {
    pub id: i32,
    pub status: Option<i32>,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Contact {
    pub id: i32,
    pub account_id: i32,
}

/// The first and last id of a table; `None` without rows.
type Bounds = (Option<i32>, Option<i32>);

/// An id from which on the next row is picked.
pub fn some_id((first, last): Bounds, rng: &mut impl Rng) -> Option<i32> {
    let (first, last) = (first?, last?);
    let first = if rng.random_ratio(2, 3) {
        first.max(last - NEWEST)
    } else {
        first
    };
    Some(rng.random_range(first..=last))
}

pub async fn conversation(changes: &mut Changes) -> Result<Option<Conversation>> {
    let bounds: Bounds = query_as("SELECT min(id), max(id) FROM conversations")
        .fetch_one(&mut changes.conn)
        .await
        .context("read the range of conversations")?;
    let Some(from) = some_id(bounds, &mut changes.rng) else {
        return Ok(None);
    };
    query_as(
        "SELECT id, account_id, inbox_id, status, contact_id, contact_inbox_id, assignee_id, created_at \
         FROM conversations \
         WHERE id >= $1 ORDER BY id LIMIT 1",
    )
    .bind(from)
    .fetch_optional(&mut changes.conn)
    .await
    .context("pick a conversation")
}

/// The conversation of a survey. `None` when it was deleted, or has no contact who could answer.
pub async fn surveyed(changes: &mut Changes, id: i32) -> Result<Option<Conversation>> {
    query_as(
        "SELECT id, account_id, inbox_id, status, contact_id, contact_inbox_id, assignee_id, created_at \
         FROM conversations \
         WHERE id = $1 AND contact_id IS NOT NULL",
    )
    .bind(id)
    .fetch_optional(&mut changes.conn)
    .await
    .context("load the conversation of a survey")
}

/// A message of the given type.
pub async fn message(changes: &mut Changes, message_type: i32) -> Result<Option<Message>> {
    let bounds: Bounds = query_as("SELECT min(id), max(id) FROM messages")
        .fetch_one(&mut changes.conn)
        .await
        .context("read the range of messages")?;
    let Some(from) = some_id(bounds, &mut changes.rng) else {
        return Ok(None);
    };
    query_as("SELECT id, status FROM messages WHERE id >= $1 AND message_type = $2 ORDER BY id LIMIT 1")
        .bind(from)
        .bind(message_type)
        .fetch_optional(&mut changes.conn)
        .await
        .context("pick a message")
}

pub async fn contact(changes: &mut Changes) -> Result<Option<Contact>> {
    let bounds: Bounds = query_as("SELECT min(id), max(id) FROM contacts")
        .fetch_one(&mut changes.conn)
        .await
        .context("read the range of contacts")?;
    let Some(from) = some_id(bounds, &mut changes.rng) else {
        return Ok(None);
    };
    query_as("SELECT id, account_id FROM contacts WHERE id >= $1 ORDER BY id LIMIT 1")
        .bind(from)
        .fetch_optional(&mut changes.conn)
        .await
        .context("pick a contact")
}

/// An agent of the account, found through its conversations, because users have no account.
pub async fn agent(changes: &mut Changes, near: &Conversation) -> Result<Option<i32>> {
    let from = changes.rng.random_range(0..=near.id);
    query_scalar(
        "SELECT assignee_id FROM conversations \
         WHERE account_id = $1 AND id >= $2 AND assignee_id IS NOT NULL ORDER BY id LIMIT 1",
    )
    .bind(near.account_id)
    .bind(from)
    .fetch_optional(&mut changes.conn)
    .await
    .context("pick an agent")
}
