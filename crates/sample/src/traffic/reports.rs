//! Reporting events of live changes, as Chatwoot's listeners write them, as far as the sample's version does.

use anyhow::{Context, Result};
use chrono::{NaiveDateTime, NaiveTime};
use chrono_tz::Tz;
use sqlx::{query, query_as, query_scalar};

use super::Changes;
use super::pick::Conversation;
use crate::events::{
    BOT_HANDOFF, BOT_RESOLVED, CONVERSATION_RESOLVED, FIRST_RESPONSE, OPENED, REPLY_TIME, as_float, seconds,
    unknown_to,
};
use crate::hours::WorkingHours;

/// A reply as the events show it.
pub struct Reply {
    /// The agent who wrote it; `None` for an echo.
    pub sender_id: Option<i32>,
    pub is_first: bool,
    pub waiting_since: Option<NaiveDateTime>,
}

pub async fn replied(changes: &mut Changes, conversation: &Conversation, reply: &Reply) -> Result<()> {
    if reply.is_first {
        let from = first_response_starts(changes, conversation).await?;
        write(changes, conversation, FIRST_RESPONSE, from, reply.sender_id).await
    } else if let Some(from) = reply.waiting_since {
        write(changes, conversation, REPLY_TIME, from, conversation.assignee_id).await
    } else {
        Ok(())
    }
}

/// A bot's resolution comes first, as in Chatwoot, and ends at the same time.
pub async fn resolved(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let (from, agent) = (conversation.created_at, conversation.assignee_id);
    if active_bot(changes, conversation).await?.is_some() && !has_agent(changes, conversation).await? {
        write(changes, conversation, BOT_RESOLVED, from, agent).await?;
    }
    write(changes, conversation, CONVERSATION_RESOLVED, from, agent).await
}

/// The time since the last resolution; zero when there was none.
pub async fn opened(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let resolved_at = last_end(changes, conversation, &[CONVERSATION_RESOLVED]).await?;
    let agent = conversation.assignee_id;
    match resolved_at {
        Some(from) => write(changes, conversation, OPENED, from, agent).await,
        None => {
            let value = Value {
                seconds: 0,
                within_hours: 0,
                from: conversation.created_at,
            };
            insert(changes, conversation, OPENED, &value, agent).await
        }
    }
}

/// A conversation is handed off once.
pub async fn handed_off(changes: &mut Changes, conversation: &Conversation) -> Result<()> {
    let is_first = last_end(changes, conversation, &[BOT_HANDOFF]).await?.is_none();
    if is_first && active_bot(changes, conversation).await?.is_some() {
        let from = conversation.created_at;
        write(changes, conversation, BOT_HANDOFF, from, conversation.assignee_id).await?;
    }
    Ok(())
}

struct Value {
    seconds: i64,
    within_hours: i64,
    from: NaiveDateTime,
}

async fn write(
    changes: &mut Changes,
    conversation: &Conversation,
    name: &'static str,
    from: NaiveDateTime,
    user_id: Option<i32>,
) -> Result<()> {
    let hours = working_hours(changes, conversation.inbox_id).await?;
    let value = Value {
        seconds: seconds(from, changes.now),
        within_hours: hours.map_or(0, |hours| hours.seconds_within(from, changes.now)),
        from,
    };
    insert(changes, conversation, name, &value, user_id).await
}

async fn insert(
    changes: &mut Changes,
    conversation: &Conversation,
    name: &'static str,
    value: &Value,
    user_id: Option<i32>,
) -> Result<()> {
    if !changes.has_table("reporting_events") || unknown_to(changes.version).contains(&name) {
        return Ok(());
    }
    query(
        "INSERT INTO reporting_events (name, value, value_in_business_hours, account_id, inbox_id, user_id, \
                                       conversation_id, event_start_time, event_end_time, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9)",
    )
    .bind(name)
    .bind(as_float(value.seconds))
    .bind(as_float(value.within_hours))
    .bind(conversation.account_id)
    .bind(conversation.inbox_id)
    .bind(user_id)
    .bind(conversation.id)
    .bind(value.from)
    .bind(changes.now)
    .execute(&mut changes.conn)
    .await
    .with_context(|| format!("write the event {name}"))?;
    Ok(())
}

/// The last hand-off or opening, else the last resolution by a bot, else the beginning.
async fn first_response_starts(changes: &mut Changes, conversation: &Conversation) -> Result<NaiveDateTime> {
    let opened_at = last_end(changes, conversation, &[BOT_HANDOFF, OPENED]).await?;
    let last = match opened_at {
        Some(at) => Some(at),
        None => last_end(changes, conversation, &[BOT_RESOLVED]).await?,
    };
    Ok(last.unwrap_or(conversation.created_at))
}

async fn last_end(
    changes: &mut Changes,
    conversation: &Conversation,
    names: &[&'static str],
) -> Result<Option<NaiveDateTime>> {
    if !changes.has_table("reporting_events") {
        return Ok(None);
    }
    query_scalar(
        "SELECT max(event_end_time) FROM reporting_events WHERE conversation_id = $1 AND name = ANY($2)",
    )
    .bind(conversation.id)
    .bind(names)
    .fetch_one(&mut changes.conn)
    .await
    .context("read the last event of a kind")
}

/// Type and id of the bot that answers in the conversation's inbox.
pub async fn active_bot(
    changes: &mut Changes,
    conversation: &Conversation,
) -> Result<Option<(&'static str, i64)>> {
    let bot: Option<i64> = query_scalar(
        "SELECT agent_bot_id::bigint FROM agent_bot_inboxes WHERE inbox_id = $1 AND status = 0 LIMIT 1",
    )
    .bind(conversation.inbox_id)
    .fetch_optional(&mut changes.conn)
    .await
    .context("look for an active bot")?;
    if bot.is_some() || !changes.has_table("captain_inboxes") {
        return Ok(bot.map(|id| ("AgentBot", id)));
    }
    let assistant: Option<i64> =
        query_scalar("SELECT captain_assistant_id FROM captain_inboxes WHERE inbox_id = $1 LIMIT 1")
            .bind(i64::from(conversation.inbox_id))
            .fetch_optional(&mut changes.conn)
            .await
            .context("look for an assistant")?;
    Ok(assistant.map(|id| ("Captain::Assistant", id)))
}

async fn has_agent(changes: &mut Changes, conversation: &Conversation) -> Result<bool> {
    query_scalar(
        "SELECT EXISTS (SELECT FROM messages \
                        WHERE conversation_id = $1 AND message_type = 1 AND sender_type = 'User')",
    )
    .bind(conversation.id)
    .fetch_one(&mut changes.conn)
    .await
    .context("look for an agent's message")
}

/// A row of `working_hours` that is not closed all day: its day, opening and closing.
type OpenDay = (i32, i32, i32, i32, i32);

/// The inbox's working hours, where they are enabled.
async fn working_hours(changes: &mut Changes, inbox_id: i32) -> Result<Option<WorkingHours>> {
    let zone: Option<String> =
        query_scalar("SELECT timezone FROM inboxes WHERE id = $1 AND working_hours_enabled")
            .bind(inbox_id)
            .fetch_optional(&mut changes.conn)
            .await
            .context("read an inbox's time zone")?
            .flatten();
    let Some(zone) = zone else { return Ok(None) };
    let zone: Tz = zone
        .parse()
        .with_context(|| format!("look up time zone {zone}"))?;
    let days: Vec<OpenDay> = query_as(
        "SELECT day_of_week, open_hour, open_minutes, close_hour, close_minutes FROM working_hours \
         WHERE inbox_id = $1 AND NOT closed_all_day",
    )
    .bind(i64::from(inbox_id))
    .fetch_all(&mut changes.conn)
    .await
    .context("read an inbox's working hours")?;
    let mut week = [None; 7];
    for (day, open_hour, open_minutes, close_hour, close_minutes) in days {
        let opens = time(open_hour, open_minutes)?;
        week[usize::try_from(day)?] = Some((opens, time(close_hour, close_minutes)?));
    }
    Ok(Some(WorkingHours { zone, week }))
}

fn time(hour: i32, minutes: i32) -> Result<NaiveTime> {
    NaiveTime::from_hms_opt(u32::try_from(hour)?, u32::try_from(minutes)?, 0)
        .context("read a time of the working hours")
}
