//! Agents join conversations. The conversation row does not change.

use anyhow::{Context, Result};
use sqlx::query;

use super::{Changes, pick};

pub async fn join(changes: &mut Changes) -> Result<bool> {
    if !changes.has_table("conversation_participants") {
        return Ok(false);
    }
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let Some(agent) = pick::agent(changes, &conversation).await? else {
        return Ok(false);
    };
    let done = query(
        "INSERT INTO conversation_participants (account_id, user_id, conversation_id, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $4) ON CONFLICT (user_id, conversation_id) DO NOTHING",
    )
    .bind(i64::from(conversation.account_id))
    .bind(i64::from(agent))
    .bind(i64::from(conversation.id))
    .bind(changes.now)
    .execute(&mut changes.conn)
    .await
    .context("add a participant")?;
    Ok(done.rows_affected() == 1)
}
