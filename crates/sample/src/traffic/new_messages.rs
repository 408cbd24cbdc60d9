//! Adds messages to conversations.

use anyhow::{Context, Result};
use chrono::NaiveDateTime;
use rand::RngExt;
use sqlx::{query, query_scalar};

use super::Changes;
use super::pick::{self, Conversation};
use super::reports::{self, Reply};
use crate::attributes::{self, Attributes};
use crate::conversation::{OPEN, PENDING, RESOLVED, SNOOZED};
use crate::messages::{ACTIVITY, INCOMING, OUTGOING, TEXT};
use crate::text::{language, pick, short_text};
use crate::words::{ACTIVITIES, DELETED};

/// A message to insert into a conversation.
pub struct NewMessage<'a> {
    pub content: Option<&'a str>,
    pub message_type: i32,
    pub content_type: i32,
    pub private: bool,
    pub attributes: Attributes,
    pub sender_type: Option<&'static str>,
    pub sender_id: Option<i64>,
}

/// Adds a message or a note to an existing conversation.
pub async fn write(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    match changes.rng.random_range(0..20) {
        0..10 => write_as_contact(changes, &conversation).await?,
        10..16 => write_as_agent(changes, &conversation).await?,
        16 => automate(changes, &conversation).await?,
        17..19 => match reports::active_bot(changes, &conversation).await? {
            Some(bot) => write_as_bot(changes, &conversation, bot).await?,
            None => write_as_agent(changes, &conversation).await?,
        },
        _ => note(changes, &conversation).await?,
    }
    Ok(true)
}

pub async fn write_as_contact(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let text = random_text(changes);
    let message = NewMessage {
        content: text.as_deref(),
        message_type: INCOMING,
        content_type: TEXT,
        private: false,
        attributes: attributes::NONE,
        sender_type: Some("Contact"),
        sender_id: conversation.contact_id,
    };
    insert(changes, conversation, message).await?;
    // reopening changes updated_at; the new last_activity_at did not
    let reopened = matches!(conversation.status, RESOLVED | SNOOZED);
    if reopened {
        reports::opened(changes, conversation).await?;
    }
    let statement = if changes.has("waiting_since") {
        "UPDATE conversations SET waiting_since = COALESCE(waiting_since, $2), \
                status = CASE WHEN $3 THEN $4 ELSE status END, \
                updated_at = CASE WHEN $3 THEN $2 ELSE updated_at END \
         WHERE id = $1"
    } else {
        "UPDATE conversations SET status = $4, updated_at = $2 WHERE id = $1 AND $3"
    };
    query(statement)
        .bind(conversation.id)
        .bind(changes.now)
        .bind(reopened)
        .bind(OPEN)
        .execute(&mut changes.conn)
        .await
        .context("set waiting_since and status")?;
    Ok(())
}

async fn write_as_agent(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let agent = match conversation.assignee_id {
        Some(agent) => Some(agent),
        None => pick::agent(changes, conversation).await?,
    };
    // an agent may write in the channel's own app
    let (sender_id, attributes) = match (changes.rng.random_range(0..12), agent) {
        (0, _) | (_, None) => (None, attributes::ECHO),
        _ => (agent, attributes::NONE),
    };
    let text = random_text(changes);
    let message = NewMessage {
        content: text.as_deref(),
        message_type: OUTGOING,
        content_type: TEXT,
        private: false,
        attributes,
        sender_type: sender_id.map(|_| "User"),
        sender_id: sender_id.map(i64::from),
    };
    let waiting_since = waiting_since(changes, conversation).await?;
    let is_first = is_first_reply(changes, conversation).await?;
    insert(changes, conversation, message).await?;
    clear_waiting_since(changes, conversation).await?;
    let reply = Reply {
        sender_id,
        is_first,
        waiting_since,
    };
    reports::replied(changes, conversation, &reply).await
}

/// Whether this reply is the first, which is then set in the versions that keep it.
async fn is_first_reply(changes: &mut Changes, conversation: &Conversation) -> Result<bool> {
    if !changes.has("first_reply_created_at") {
        return query_scalar(
            "SELECT NOT EXISTS (SELECT FROM messages WHERE conversation_id = $1 AND message_type = 1 \
                                AND sender_type = 'User' AND NOT private)",
        )
        .bind(conversation.id)
        .fetch_one(&mut changes.conn)
        .await
        .context("look for an earlier reply");
    }
    let done = query(
        "UPDATE conversations SET first_reply_created_at = $2, updated_at = $2 \
         WHERE id = $1 AND first_reply_created_at IS NULL",
    )
    .bind(conversation.id)
    .bind(changes.now)
    .execute(&mut changes.conn)
    .await
    .context("set the first reply")?;
    Ok(done.rows_affected() == 1)
}

async fn waiting_since(changes: &mut Changes, conversation: &Conversation) -> Result<Option<NaiveDateTime>> {
    if !changes.has("waiting_since") {
        return Ok(None);
    }
    query_scalar("SELECT waiting_since FROM conversations WHERE id = $1")
        .bind(conversation.id)
        .fetch_optional(&mut changes.conn)
        .await
        .context("read waiting_since")
        .map(Option::flatten)
}

/// A bot answers, and hands off what it cannot answer.
async fn write_as_bot(
    changes: &mut Changes,
    conversation: &Conversation,
    (sender_type, sender_id): (&'static str, i64),
) -> Result<()> {
    let text = random_text(changes);
    let message = NewMessage {
        content: text.as_deref(),
        message_type: OUTGOING,
        content_type: TEXT,
        private: false,
        attributes: attributes::NONE,
        sender_type: Some(sender_type),
        sender_id: Some(sender_id),
    };
    insert(changes, conversation, message).await?;
    clear_waiting_since(changes, conversation).await?;
    if conversation.status == PENDING || changes.rng.random_ratio(1, 2) {
        query("UPDATE conversations SET status = $2, updated_at = $3 WHERE id = $1")
            .bind(conversation.id)
            .bind(OPEN)
            .bind(changes.now)
            .execute(&mut changes.conn)
            .await
            .context("hand off a conversation")?;
        reports::handed_off(changes, conversation).await?;
        if conversation.status != OPEN {
            reports::opened(changes, conversation).await?;
        }
    }
    Ok(())
}

async fn clear_waiting_since(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    if changes.has("waiting_since") {
        query("UPDATE conversations SET waiting_since = NULL WHERE id = $1")
            .bind(conversation.id)
            .execute(&mut changes.conn)
            .await
            .context("clear waiting_since")?;
    }
    Ok(())
}

/// A rule answers. Nobody waits less for that.
async fn automate(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let text = random_text(changes);
    let message = NewMessage {
        content: text.as_deref(),
        message_type: OUTGOING,
        content_type: TEXT,
        private: false,
        attributes: attributes::AUTOMATION,
        sender_type: None,
        sender_id: None,
    };
    insert(changes, conversation, message).await?;
    Ok(())
}

async fn note(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let text = random_text(changes);
    let message = NewMessage {
        content: text.as_deref(),
        message_type: OUTGOING,
        content_type: TEXT,
        private: true,
        attributes: attributes::NONE,
        sender_type: Some("User"),
        sender_id: conversation.assignee_id.map(i64::from),
    };
    insert(changes, conversation, message).await?;
    Ok(())
}

/// Adds the activity message that Chatwoot writes when a conversation's state changes.
pub async fn record_activity(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let message = NewMessage {
        content: Some(pick(&mut changes.rng, ACTIVITIES)),
        message_type: ACTIVITY,
        content_type: TEXT,
        private: false,
        attributes: attributes::NONE,
        sender_type: None,
        sender_id: None,
    };
    insert(changes, conversation, message).await?;
    Ok(())
}

/// Inserts a message, with a file when it has no text. Changes only `last_activity_at` of its conversation, like Rails'
/// `update_columns`.
pub async fn insert(
    changes: &mut Changes,
    conversation: &Conversation,
    message: NewMessage<'_>,
) -> Result<i32> {
    let as_string = changes.rng.random_ratio(3, 4);
    let id: i32 = query_scalar(
        "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, content_type, private, \
                               sender_type, sender_id, content_attributes, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::json, $11, $11) RETURNING id",
    )
    .bind(message.content)
    .bind(conversation.account_id)
    .bind(conversation.inbox_id)
    .bind(conversation.id)
    .bind(message.message_type)
    .bind(message.content_type)
    .bind(message.private)
    .bind(message.sender_type)
    .bind(message.sender_id)
    .bind(message.attributes.stored(as_string))
    .bind(changes.now)
    .fetch_one(&mut changes.conn)
    .await
    .context("insert a message")?;
    if message.content.is_none() {
        insert_attachment(changes, id).await?;
    }
    query("UPDATE conversations SET last_activity_at = $2 WHERE id = $1")
        .bind(conversation.id)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("set the last activity")?;
    Ok(id)
}

/// Adds a file to a message. A deleted message gets none.
async fn insert_attachment(changes: &mut Changes, message_id: i32) -> Result<bool> {
    let done = query(
        "INSERT INTO attachments (file_type, message_id, account_id, extension, created_at, updated_at) \
         SELECT $2, id, account_id, 'jpg', $3, $3 FROM messages WHERE id = $1 AND content IS DISTINCT FROM $4",
    )
    .bind(message_id)
    .bind(changes.rng.random_range(0..4))
    .bind(changes.now)
    .bind(DELETED)
    .execute(&mut changes.conn)
    .await
    .context("attach a file to a message")?;
    Ok(done.rows_affected() == 1)
}

/// A random text; `None` for an attachment.
pub fn random_text(changes: &mut Changes) -> Option<String> {
    let language = language(&mut changes.rng);
    changes
        .rng
        .random_ratio(29, 30)
        .then(|| short_text(&mut changes.rng, language))
}
