//! Deletes conversations for good.

use anyhow::{Context, Result};
use sqlx::{Connection, query};

use super::{Changes, pick};

/// What belongs to a conversation, by its table, and at last the conversation.
const DELETIONS: [(&str, &str); 8] = [
    (
        "attachments",
        "DELETE FROM attachments WHERE message_id IN (SELECT id FROM messages WHERE conversation_id = $1)",
    ),
    (
        "reporting_events",
        "DELETE FROM reporting_events WHERE conversation_id = $1",
    ),
    (
        "conversation_participants",
        "DELETE FROM conversation_participants WHERE conversation_id = $1",
    ),
    ("sla_events", "DELETE FROM sla_events WHERE conversation_id = $1"),
    (
        "applied_slas",
        "DELETE FROM applied_slas WHERE conversation_id = $1",
    ),
    (
        "csat_survey_responses",
        "DELETE FROM csat_survey_responses WHERE conversation_id = $1",
    ),
    ("messages", "DELETE FROM messages WHERE conversation_id = $1"),
    ("conversations", "DELETE FROM conversations WHERE id = $1"),
];

pub async fn delete(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let shape = &changes.shape;
    let mut tx = changes.conn.begin().await.context("begin a deletion")?;
    for (_, statement) in DELETIONS.into_iter().filter(|(table, _)| shape.has(table, "id")) {
        query(statement)
            .bind(conversation.id)
            .execute(&mut *tx)
            .await
            .context("delete a conversation")?;
    }
    tx.commit().await.context("commit a deletion")?;
    Ok(true)
}
