//! Deletes conversations for good.

use anyhow::{Context, Result};
use sqlx::{Connection, query};

use super::{Changes, pick};

pub async fn delete(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let mut tx = changes.conn.begin().await.context("begin a deletion")?;
    for statement in [
        "DELETE FROM csat_survey_responses WHERE conversation_id = $1",
        "DELETE FROM messages WHERE conversation_id = $1",
        "DELETE FROM conversations WHERE id = $1",
    ] {
        query(statement)
            .bind(conversation.id)
            .execute(&mut *tx)
            .await
            .context("delete a conversation")?;
    }
    tx.commit().await.context("commit a deletion")?;
    Ok(true)
}
