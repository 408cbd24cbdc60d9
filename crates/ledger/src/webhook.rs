//! `etl_webhook` and its messages. What ends a run writes the messages of the run, by a trigger; [`queue_conditions`] writes
//! the others.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgExecutor};
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::TenantId;
use tidemark_shared::webhook::{TEST_EVENT, WebhookEvent, WebhookFormat};

use crate::audit::{self, Entry};
use crate::stored::Stored;
use crate::{Attempt, DbResult, secs, statements};

/// Messages of one webhook that a process sends at the same time.
const AT_ONCE: i64 = 5;

statements! {
    ADD = "INSERT INTO etl_webhook (url, events, tenant_id, format, created_by) VALUES ($1, $2, $3, $4, $5) RETURNING id";
    REMOVE = "DELETE FROM etl_webhook WHERE id = $1 RETURNING url, events, tenant_id, format";
    LIST = include_str!("webhook/list.sql");
    LIST_MESSAGES = "SELECT id, event, tenant_id, body, created_at, CASE WHEN delivered_at IS NULL AND dead_at IS NULL THEN due_at END AS due_at, \
                            attempt, delivered_at, dead_at, status_code, error \
                     FROM etl_webhook_delivery WHERE webhook_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    FIND_MESSAGE = "SELECT id, event, tenant_id, body, created_at, CASE WHEN delivered_at IS NULL AND dead_at IS NULL THEN due_at END AS due_at, \
                           attempt, delivered_at, dead_at, status_code, error \
                    FROM etl_webhook_delivery WHERE id = $1";
    QUEUE_TEST = "INSERT INTO etl_webhook_delivery (webhook_id, event, body) \
                  SELECT id, $2, jsonb_build_object('webhook_id', id) FROM etl_webhook WHERE id = $1 RETURNING id";
    GIVE_UP = "UPDATE etl_webhook_delivery SET dead_at = now() WHERE id = $1 AND delivered_at IS NULL AND dead_at IS NULL";
    // an attempt fails for good once a day has passed, so this is one more attempt
    RETRY = "UPDATE etl_webhook_delivery SET dead_at = NULL, due_at = now() \
             WHERE webhook_id = $1 AND dead_at IS NOT NULL AND event <> $2 AND ($3::bigint IS NULL OR id = $3)";
    CLAIM = include_str!("webhook/claim.sql");
    DELIVERED = "UPDATE etl_webhook_delivery SET delivered_at = now(), status_code = $3, error = NULL \
                 WHERE id = $1 AND attempt = $2 AND delivered_at IS NULL AND dead_at IS NULL";
    FAIL = include_str!("webhook/fail.sql");
    QUEUE_CONDITIONS = include_str!("webhook/queue_conditions.sql");
    LIST_TROUBLED = "SELECT webhook_id, count(*) AS dead, max(error) AS error FROM etl_webhook_delivery \
                     WHERE dead_at > now() - interval '1 day' AND event <> 'webhook.test' GROUP BY webhook_id ORDER BY webhook_id";
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    pub url: String,
    pub events: Vec<WebhookEvent>,
    /// Only events of this tenant.
    pub tenant: Option<TenantId>,
    pub format: WebhookFormat,
}

/// A webhook with the state of its messages.
#[derive(Debug, Clone, FromRow)]
pub struct Webhook {
    pub id: i32,
    /// Who knows it may post there: print its host only.
    pub url: String,
    pub events: Vec<String>,
    #[sqlx(try_from = "Stored<Option<TenantId>>")]
    pub tenant_id: Option<TenantId>,
    pub format: String,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub waiting: i64,
    pub delivered: i64,
    pub dead: i64,
    /// Of the newest that was delivered.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Of the newest that was not.
    pub error: Option<String>,
}

/// A message of a webhook. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct WebhookMessage {
    pub id: i64,
    pub event: String,
    #[sqlx(try_from = "Stored<Option<TenantId>>")]
    pub tenant_id: Option<TenantId>,
    pub body: Value,
    pub created_at: DateTime<Utc>,
    /// When it is sent next; `None` when it has ended.
    pub due_at: Option<DateTime<Utc>>,
    pub attempt: i32,
    pub delivered_at: Option<DateTime<Utc>>,
    pub dead_at: Option<DateTime<Utc>>,
    pub status_code: Option<i32>,
    pub error: Option<String>,
}

/// URL, events, tenant and format.
type RemovedColumns = (String, Vec<String>, Stored<Option<TenantId>>, String);

/// A message that this process may send until its claim ends.
#[derive(Debug, Clone, FromRow)]
pub struct ClaimedMessage {
    pub id: i64,
    pub webhook_id: i32,
    pub event: String,
    #[sqlx(try_from = "Stored<Option<TenantId>>")]
    pub tenant_id: Option<TenantId>,
    pub body: Value,
    pub attempt: i32,
    pub created_at: DateTime<Utc>,
    /// The ledger's clock.
    pub sent_at: DateTime<Utc>,
    pub url: String,
    pub format: String,
}

/// `host` is the part of the URL that the audit shows.
pub async fn add(db: &DbPool, actor: &Actor, webhook: &NewWebhook, host: &str) -> DbResult<i32> {
    let events: Vec<&str> = webhook.events.iter().map(|event| event.as_str()).collect();
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let id: i32 = sqlx::query_scalar(ADD)
        .bind(&webhook.url)
        .bind(&events)
        .bind(webhook.tenant.map(Stored))
        .bind(webhook.format.as_str())
        .bind(actor.as_str())
        .fetch_one(&mut *tx)
        .await
        .attempt("add the webhook")?;
    let mut entry = Entry::new(Action::WebhookAdd)
        .subject(format!("webhook {id}"))
        .after(json!({"host": host, "events": events, "format": webhook.format.as_str()}));
    entry.tenant = webhook.tenant;
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("add the webhook")?;
    Ok(id)
}

/// Removes a webhook with its messages; `false` when there is none. `host_of` gives the part of its URL that the audit shows.
pub async fn remove(db: &DbPool, actor: &Actor, id: i32, host_of: impl Fn(&str) -> String) -> DbResult<bool> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let removed: Option<RemovedColumns> = sqlx::query_as(REMOVE)
        .bind(id)
        .fetch_optional(&mut *tx)
        .await
        .attempt("remove the webhook")?;
    let Some((url, events, Stored(tenant), format)) = removed else {
        return Ok(false);
    };
    let mut entry = Entry::new(Action::WebhookRemove)
        .subject(format!("webhook {id}"))
        .before(json!({"host": host_of(&url), "events": events, "format": format}));
    entry.tenant = tenant;
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("remove the webhook")?;
    Ok(true)
}

/// All webhooks, or one.
pub async fn list(db: impl PgExecutor<'_>, only: Option<i32>) -> DbResult<Vec<Webhook>> {
    sqlx::query_as(LIST)
        .bind(only)
        .fetch_all(db)
        .await
        .attempt("list the webhooks")
}

/// Messages of a webhook before the message `before`, newest first.
pub async fn list_messages(
    db: impl PgExecutor<'_>,
    webhook: i32,
    before: Option<i64>,
    limit: i64,
) -> DbResult<Vec<WebhookMessage>> {
    sqlx::query_as(LIST_MESSAGES)
        .bind(webhook)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the webhook's messages")
}

pub async fn find_message(db: impl PgExecutor<'_>, id: i64) -> DbResult<Option<WebhookMessage>> {
    sqlx::query_as(FIND_MESSAGE)
        .bind(id)
        .fetch_optional(db)
        .await
        .attempt("find the webhook's message")
}

/// Writes a message to try a webhook; `None` when there is no such webhook.
pub async fn queue_test(db: &DbPool, actor: &Actor, webhook: i32) -> DbResult<Option<i64>> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let queued: Option<i64> = sqlx::query_scalar(QUEUE_TEST)
        .bind(webhook)
        .bind(TEST_EVENT)
        .fetch_optional(&mut *tx)
        .await
        .attempt("queue a message")?;
    if queued.is_some() {
        let entry = Entry::new(Action::WebhookTest).subject(format!("webhook {webhook}"));
        audit::record(&mut *tx, actor, &entry).await?;
    }
    tx.commit().await.attempt("queue a message")?;
    Ok(queued)
}

/// Ends a message that was not delivered: it is not sent again.
pub async fn give_up(db: impl PgExecutor<'_>, message: i64) -> DbResult<()> {
    sqlx::query(GIVE_UP)
        .bind(message)
        .execute(db)
        .await
        .map(drop)
        .attempt("give up a webhook's message")
}

/// Sends messages again that were given up, all or one. Returns how many.
pub async fn retry(db: &DbPool, actor: &Actor, webhook: i32, only: Option<i64>) -> DbResult<u64> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let due = sqlx::query(RETRY)
        .bind(webhook)
        .bind(TEST_EVENT)
        .bind(only)
        .execute(&mut *tx)
        .await
        .attempt("send messages again")?
        .rows_affected();
    let entry = Entry::new(Action::WebhookRetry)
        .subject(format!("webhook {webhook}"))
        .after(json!({"messages": due}));
    let entry = match due {
        0 => entry.result(ActionResult::Unchanged),
        _ => entry,
    };
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("send messages again")?;
    Ok(due)
}

/// Claims messages that are due.
pub async fn claim(db: impl PgExecutor<'_>, claim_for: Duration) -> DbResult<Vec<ClaimedMessage>> {
    sqlx::query_as(CLAIM)
        .bind(AT_ONCE)
        .bind(secs(claim_for))
        .fetch_all(db)
        .await
        .attempt("claim messages of webhooks")
}

/// Records that a message was delivered. Nothing is recorded when another process has claimed it since.
pub async fn record_delivered(
    db: impl PgExecutor<'_>,
    message: &ClaimedMessage,
    status_code: u16,
) -> DbResult<()> {
    sqlx::query(DELIVERED)
        .bind(message.id)
        .bind(message.attempt)
        .bind(i32::from(status_code))
        .execute(db)
        .await
        .map(drop)
        .attempt("record that a message was delivered")
}

/// Records that a message was not delivered. Returns whether it is dead; `None` when another process has claimed it since.
pub async fn record_failure(
    db: impl PgExecutor<'_>,
    message: &ClaimedMessage,
    pause: Duration,
    status_code: Option<u16>,
    error: &str,
) -> DbResult<Option<bool>> {
    sqlx::query_scalar(FAIL)
        .bind(message.id)
        .bind(message.attempt)
        .bind(secs(pause))
        .bind(status_code.map(i32::from))
        .bind(error)
        .fetch_optional(db)
        .await
        .attempt("record that a message was not delivered")
}

/// Writes messages about tenants and sources whose state has changed. Returns how many.
pub async fn queue_conditions(tx: &mut PgTransaction<'_>) -> DbResult<i64> {
    sqlx::query_scalar(QUEUE_CONDITIONS)
        .fetch_one(&mut **tx)
        .await
        .attempt("queue messages about tenants and sources")
}

/// Webhooks whose messages have died within the last day: how many, and an error.
pub async fn list_troubled(db: impl PgExecutor<'_>) -> DbResult<Vec<(i32, i64, Option<String>)>> {
    sqlx::query_as(LIST_TROUBLED)
        .fetch_all(db)
        .await
        .attempt("list webhooks in trouble")
}
