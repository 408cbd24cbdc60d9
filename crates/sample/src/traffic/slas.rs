//! Applies SLA policies to conversations, and changes what became of them.

use anyhow::{Context, Result};
use rand::RngExt;
use sqlx::{query, query_as};

use super::{Changes, pick};
use crate::slas::{ACTIVE, ACTIVE_WITH_MISSES, HIT, MISSED};

/// Misses or ends an active SLA, or applies a policy to a conversation that has none. No conversation row changes when only
/// the state does.
pub async fn change(changes: &mut Changes) -> Result<bool> {
    if !changes.has_table("applied_slas") {
        return Ok(false);
    }
    let Some(conversation) = pick::conversation(changes).await? else {
        return Ok(false);
    };
    let active: Option<(i64, i32)> = query_as(
        "SELECT id, sla_status FROM applied_slas WHERE conversation_id >= $1 AND sla_status IN (0, 3) \
         ORDER BY conversation_id LIMIT 1",
    )
    .bind(i64::from(conversation.id))
    .fetch_optional(&mut changes.conn)
    .await
    .context("look for an active SLA")?;
    match active {
        Some((id, status)) if changes.rng.random_ratio(3, 4) => {
            let next = match status {
                ACTIVE if changes.rng.random_ratio(1, 2) => ACTIVE_WITH_MISSES,
                ACTIVE => HIT,
                _ => MISSED,
            };
            set_status(changes, id, next).await
        }
        _ => apply(changes, &conversation).await,
    }
}

async fn set_status(changes: &mut Changes, id: i64, status: i32) -> Result<bool> {
    query("UPDATE applied_slas SET sla_status = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(status)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("change the state of an SLA")?;
    if status == ACTIVE_WITH_MISSES {
        query(
            "INSERT INTO sla_events (applied_sla_id, conversation_id, account_id, sla_policy_id, inbox_id, event_type, \
                                     created_at, updated_at) \
             SELECT a.id, a.conversation_id, a.account_id, a.sla_policy_id, c.inbox_id, 0, $2, $2 \
             FROM applied_slas a JOIN conversations c ON c.id = a.conversation_id WHERE a.id = $1",
        )
        .bind(id)
        .bind(changes.now)
        .execute(&mut changes.conn)
        .await
        .context("write a missed SLA")?;
    }
    Ok(true)
}

async fn apply(changes: &mut Changes, conversation: &pick::Conversation) -> Result<bool> {
    let policy: Option<(Option<i64>,)> = query_as(
        "UPDATE conversations c SET sla_policy_id = p.id, updated_at = $2 \
         FROM (SELECT min(id) AS id FROM sla_policies WHERE account_id = $3) p \
         WHERE c.id = $1 AND c.sla_policy_id IS NULL AND p.id IS NOT NULL RETURNING c.sla_policy_id",
    )
    .bind(conversation.id)
    .bind(changes.now)
    .bind(i64::from(conversation.account_id))
    .fetch_optional(&mut changes.conn)
    .await
    .context("give a conversation an SLA policy")?;
    let Some((Some(policy),)) = policy else {
        return Ok(false);
    };
    query(
        "INSERT INTO applied_slas (account_id, sla_policy_id, conversation_id, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $4)",
    )
    .bind(i64::from(conversation.account_id))
    .bind(policy)
    .bind(i64::from(conversation.id))
    .bind(changes.now)
    .execute(&mut changes.conn)
    .await
    .context("apply an SLA policy")?;
    Ok(true)
}
