//! Satisfaction surveys: a message with the question, and a response.

use anyhow::{Context, Result};
use rand::RngExt;
use sqlx::{query, query_as};

use super::Changes;
use super::new_messages::{NewMessage, insert};
use super::pick::{self, Conversation};
use crate::attributes::NONE;
use crate::messages::{INPUT_CSAT, TEMPLATE};
use crate::text::pick;
use crate::words::{FEEDBACK, SURVEY};

/// Answers an open survey, or asks a second time and answers that.
pub async fn answer(changes: &mut Changes) -> Result<bool> {
    let open = match changes.rng.random_range(0..3) {
        0 => ask_again(changes).await?,
        _ => open_survey(changes).await?,
    };
    let Some((message_id, conversation)) = open else {
        return Ok(false);
    };
    query(
        "INSERT INTO csat_survey_responses (account_id, conversation_id, message_id, rating, feedback_message, \
                                            contact_id, assigned_agent_id, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(i64::from(conversation.account_id))
    .bind(i64::from(conversation.id))
    .bind(i64::from(message_id))
    .bind(changes.rng.random_range(1..=5))
    .bind(pick(&mut changes.rng, FEEDBACK))
    .bind(conversation.contact_id)
    .bind(conversation.assignee_id.map(i64::from))
    .bind(changes.now)
    .execute(&mut changes.conn)
    .await
    .context("answer a survey")?;
    Ok(true)
}

/// Adds the survey's question to a conversation.
pub async fn ask(changes: &mut Changes, conversation: &Conversation) -> Result<i32> {
    let message = NewMessage {
        content: Some(SURVEY),
        message_type: TEMPLATE,
        content_type: INPUT_CSAT,
        private: false,
        attributes: NONE,
        sender_type: None,
        sender_id: None,
    };
    insert(changes, conversation, message).await
}

/// The newest survey without an answer.
async fn open_survey(changes: &mut Changes) -> Result<Option<(i32, Conversation)>> {
    let message: Option<(i32, i32)> = query_as(
        "SELECT m.id, m.conversation_id FROM messages m \
         WHERE m.content_type = $1 AND m.id > (SELECT max(id) - 5000 FROM messages) \
           AND NOT EXISTS (SELECT FROM csat_survey_responses r WHERE r.message_id = m.id) \
         ORDER BY m.id DESC LIMIT 1",
    )
    .bind(INPUT_CSAT)
    .fetch_optional(&mut changes.conn)
    .await
    .context("look for an open survey")?;
    let Some((message_id, conversation_id)) = message else {
        return Ok(None);
    };
    let conversation = pick::surveyed(changes, conversation_id).await?;
    Ok(conversation.map(|conversation| (message_id, conversation)))
}

/// Asks again in a conversation that has a response.
async fn ask_again(changes: &mut Changes) -> Result<Option<(i32, Conversation)>> {
    let Some(near) = pick::conversation(changes).await? else {
        return Ok(None);
    };
    let answered: Option<(i64,)> = query_as(
        "SELECT conversation_id FROM csat_survey_responses WHERE conversation_id >= $1 ORDER BY conversation_id LIMIT 1",
    )
    .bind(i64::from(near.id))
    .fetch_optional(&mut changes.conn)
    .await
    .context("look for an answered survey")?;
    let Some((conversation_id,)) = answered else {
        return Ok(None);
    };
    let Some(conversation) = pick::surveyed(changes, i32::try_from(conversation_id)?).await? else {
        return Ok(None);
    };
    Ok(Some((ask(changes, &conversation).await?, conversation)))
}
