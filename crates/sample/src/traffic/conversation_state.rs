//! Changes the state of a conversation: status, assignee, labels, and the times at which it was seen.

use anyhow::{Context, Result};
use chrono::TimeDelta;
use rand::RngExt;
use sqlx::query;

use super::Changes;
use super::new_messages::record_activity;
use super::pick;
use super::reports;
use super::survey::ask;
use crate::conversation::{OPEN, PENDING, RESOLVED, SNOOZED};
use crate::text::pick;
use crate::words::LABELS;

/// Sets open conversations back to pending, and reopens the others.
pub async fn change_status(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let status = if conversation.status == OPEN {
        PENDING
    } else {
        OPEN
    };
    query("UPDATE conversations SET status = $2, snoozed_until = NULL, updated_at = $3 WHERE id = $1")
        .bind(conversation.id)
        .bind(status)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("change a status")?;
    if status == OPEN {
        if conversation.status == PENDING {
            reports::handed_off(changes, &conversation).await?;
        }
        reports::opened(changes, &conversation).await?;
    }
    record_activity(changes, &conversation).await?;
    Ok(true)
}

pub async fn resolve(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    if conversation.status == RESOLVED {
        return Ok(false);
    }
    query("UPDATE conversations SET status = $2, snoozed_until = NULL, updated_at = $3 WHERE id = $1")
        .bind(conversation.id)
        .bind(RESOLVED)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("resolve a conversation")?;
    reports::resolved(changes, &conversation).await?;
    record_activity(changes, &conversation).await?;
    if conversation.contact_id.is_some() && changes.rng.random_ratio(1, 2) {
        ask(changes, &conversation).await?;
    }
    if changes.has("waiting_since") {
        query("UPDATE conversations SET waiting_since = NULL WHERE id = $1")
            .bind(conversation.id)
            .execute(&mut changes.conn)
            .await
            .context("clear waiting_since without updated_at")?;
    }
    Ok(true)
}

/// Snoozes until a time, or until the contact writes again.
pub async fn snooze(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let until = changes
        .rng
        .random_ratio(4, 5)
        .then(|| changes.now + TimeDelta::minutes(changes.rng.random_range(10..10_000)));
    query("UPDATE conversations SET status = $2, snoozed_until = $3, updated_at = $4 WHERE id = $1")
        .bind(conversation.id)
        .bind(SNOOZED)
        .bind(until)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("snooze a conversation")?;
    record_activity(changes, &conversation).await?;
    Ok(true)
}

/// Assigns another agent of the account, or nobody.
pub async fn assign(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let agent = match changes.rng.random_range(0..5) {
        0 => None,
        _ => pick::agent(changes, &conversation).await?,
    };
    if agent == conversation.assignee_id {
        return Ok(false);
    }
    query("UPDATE conversations SET assignee_id = $2, updated_at = $3 WHERE id = $1")
        .bind(conversation.id)
        .bind(agent)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("assign a conversation")?;
    record_activity(changes, &conversation).await?;
    Ok(true)
}

/// Labels of older versions are only in tables that the sample does not have.
pub async fn label(changes: &mut Changes) -> Result<bool> {
    if !changes.has("cached_label_list") {
        return Ok(false);
    }
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let done = query(
        "UPDATE conversations SET cached_label_list = $2, updated_at = $3 \
         WHERE id = $1 AND cached_label_list IS DISTINCT FROM $2",
    )
    .bind(conversation.id)
    .bind(pick(&mut changes.rng, LABELS))
    .bind(changes.now)
    .execute(&mut changes.conn)
    .await
    .context("label a conversation")?;
    Ok(done.rows_affected() == 1)
}

pub async fn mark_seen(changes: &mut Changes) -> Result<bool> {
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let statement = match changes.rng.random_range(0..3) {
        0 => "UPDATE conversations SET contact_last_seen_at = $2 WHERE id = $1",
        1 => "UPDATE conversations SET agent_last_seen_at = $2 WHERE id = $1",
        _ => "UPDATE conversations SET agent_last_seen_at = $2, assignee_last_seen_at = $2 WHERE id = $1",
    };
    query(statement)
        .bind(conversation.id)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("mark a conversation as seen")?;
    Ok(true)
}
