//! Changes messages after they were sent. Their conversation rows do not change.

use anyhow::{Context, Result};
use rand::RngExt;
use sqlx::query;

use super::new_messages::random_text;
use super::{Changes, pick};
use crate::attributes::{self, Attributes};
use crate::messages::{INCOMING, NOT_DELIVERED, OUTGOING};
use crate::words;

const DELIVERED: i32 = 1;
const READ: i32 = 2;

pub async fn edit(changes: &mut Changes) -> Result<bool> {
    let Some(message) = pick::message(changes, OUTGOING).await? else {
        return Ok(false);
    };
    let text = random_text(changes);
    replace(changes, message.id, text.as_deref(), attributes::EDITED).await
}

/// The row stays, with another text and without its attachments.
pub async fn delete(changes: &mut Changes) -> Result<bool> {
    let written = match changes.rng.random_range(0..2) {
        0 => INCOMING,
        _ => OUTGOING,
    };
    let Some(message) = pick::message(changes, written).await? else {
        return Ok(false);
    };
    if !replace(changes, message.id, Some(words::DELETED), attributes::DELETED).await? {
        return Ok(false);
    }
    query("DELETE FROM attachments WHERE message_id = $1")
        .bind(message.id)
        .execute(&mut changes.conn)
        .await
        .context("delete a message's attachments")?;
    Ok(true)
}

async fn replace(
    changes: &mut Changes,
    id: i32,
    content: Option<&str>,
    attributes: Attributes,
) -> Result<bool> {
    let as_string = changes.rng.random_ratio(3, 4);
    let done = query(
        "UPDATE messages SET content = $2, content_attributes = $3::json, updated_at = $4 \
         WHERE id = $1 AND content IS DISTINCT FROM $2",
    )
    .bind(id)
    .bind(content)
    .bind(attributes.stored(as_string))
    .bind(changes.now)
    .execute(&mut changes.conn)
    .await
    .context("replace a message's text")?;
    Ok(done.rows_affected() == 1)
}

/// The channel reports a message's delivery status.
pub async fn deliver(changes: &mut Changes) -> Result<bool> {
    let Some(message) = pick::message(changes, OUTGOING).await? else {
        return Ok(false);
    };
    let status = match message.status.unwrap_or(0) {
        READ | NOT_DELIVERED => return Ok(false),
        DELIVERED => READ,
        _ if changes.rng.random_ratio(1, 12) => NOT_DELIVERED,
        _ => DELIVERED,
    };
    query("UPDATE messages SET status = $2, updated_at = $3 WHERE id = $1")
        .bind(message.id)
        .bind(status)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("change a delivery state")?;
    Ok(true)
}
