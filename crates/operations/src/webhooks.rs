//! Adds, lists, removes and tries webhooks. Finalizers deliver their messages.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;
use tidemark_finalizer::webhooks::message::secret_of;
use tidemark_ledger as ledger;
use tidemark_ledger::webhook::{NewWebhook, Webhook, WebhookMessage};
use tidemark_net::outbound::check_url;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::TenantId;
use tidemark_shared::webhook::WebhookFormat;

use crate::error::OperationResult;
use crate::page::Page;
use crate::refusal::Refusal;
use crate::tenants;

/// How long a test waits for a finalizer.
const TEST_LIMIT: Duration = Duration::from_secs(30);
const TEST_LOOK_EVERY: Duration = Duration::from_millis(100);

/// A webhook as people see it; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct WebhookView {
    pub id: i32,
    /// Without the path: with some services that is a secret.
    pub host: String,
    pub events: Vec<String>,
    pub tenant_id: Option<TenantId>,
    pub format: String,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub waiting: i64,
    pub delivered: i64,
    pub dead: i64,
    pub delivered_at: Option<DateTime<Utc>>,
    pub error: Option<String>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            host: host_of(&webhook.url),
            events: webhook.events,
            tenant_id: webhook.tenant_id,
            format: webhook.format,
            created_at: webhook.created_at,
            created_by: webhook.created_by,
            waiting: webhook.waiting,
            delivered: webhook.delivered,
            dead: webhook.dead,
            delivered_at: webhook.delivered_at,
            error: webhook.error,
        }
    }
}

/// Scheme, host and port.
fn host_of(url: &str) -> String {
    check_url(url).map_or_else(|_| "-".to_owned(), |url| url.origin().ascii_serialization())
}

/// A webhook that was added.
#[derive(Debug)]
pub struct AddedWebhook {
    pub webhook: WebhookView,
    /// What the receiver checks signatures with; it is shown once. `None` for messages that are not signed.
    pub secret: Option<SecretString>,
}

/// Adds a webhook. `key` is the setting `webhook_key`.
pub async fn add(
    db: &DbPool,
    actor: &Actor,
    key: Option<&SecretString>,
    webhook: &NewWebhook,
) -> OperationResult<AddedWebhook> {
    let url = check_url(&webhook.url).map_err(Refusal::from)?;
    if let Some(tenant) = webhook.tenant {
        tenants::load(db, tenant).await?;
    }
    let is_signed = webhook.format == WebhookFormat::Json;
    if is_signed && key.is_none() {
        return Err(Refusal::NoWebhookKey.into());
    }
    let stored = NewWebhook {
        url: url.to_string(),
        ..webhook.clone()
    };
    let id = ledger::webhook::add(db, actor, &stored, &host_of(&stored.url)).await?;
    Ok(AddedWebhook {
        webhook: load(db, id).await?,
        secret: key.filter(|_| is_signed).map(|key| secret_of(key, id)),
    })
}

pub async fn list(db: &DbPool) -> OperationResult<Vec<WebhookView>> {
    let found = ledger::webhook::list(db, None).await?;
    Ok(found.into_iter().map(WebhookView::from).collect())
}

/// Loads a webhook that must exist.
pub async fn load(db: &DbPool, id: i32) -> OperationResult<WebhookView> {
    let found = ledger::webhook::list(db, Some(id)).await?.pop();
    Ok(found.map(WebhookView::from).ok_or(Refusal::UnknownWebhook(id))?)
}

/// Messages of a webhook before the message `before`, newest first.
pub async fn list_messages(
    db: &DbPool,
    id: i32,
    before: Option<i64>,
    limit: i64,
) -> OperationResult<Page<WebhookMessage, i64>> {
    load(db, id).await?;
    let found = ledger::webhook::list_messages(db, id, before, limit + 1).await?;
    Ok(Page::cut(found, limit, |message| message.id))
}

/// Removes a webhook with its messages, also those that wait.
pub async fn remove(db: &DbPool, actor: &Actor, id: i32) -> OperationResult<()> {
    match ledger::webhook::remove(db, actor, id, host_of).await? {
        true => Ok(()),
        false => Err(Refusal::UnknownWebhook(id).into()),
    }
}

/// Sends messages once more that were given up a day after they were written: all of the webhook, or one. Returns how many.
pub async fn retry(db: &DbPool, actor: &Actor, id: i32, only: Option<i64>) -> OperationResult<u64> {
    load(db, id).await?;
    let due = ledger::webhook::retry(db, actor, id, only).await?;
    match (due, only) {
        (0, Some(message)) => Err(Refusal::MessageNotDead { webhook: id, message }.into()),
        (due, _) => Ok(due),
    }
}

/// Writes a message that only tries the webhook, and returns its id.
pub async fn begin_test(db: &DbPool, actor: &Actor, id: i32) -> OperationResult<i64> {
    ledger::webhook::queue_test(db, actor, id)
        .await?
        .ok_or_else(|| Refusal::UnknownWebhook(id).into())
}

/// Waits until a finalizer has tried to deliver a test once. A test that fails is not sent again.
///
/// # Errors
/// When no finalizer has tried within half a minute.
pub async fn wait_for_test(db: &DbPool, message: i64) -> OperationResult<WebhookMessage> {
    let tried = tokio::time::timeout(TEST_LIMIT, async {
        loop {
            let found = ledger::webhook::find_message(db, message).await?;
            let Some(found) = found else {
                return Err(Refusal::WebhookRemoved.into());
            };
            if found.delivered_at.is_some() || found.error.is_some() {
                return Ok(found);
            }
            tokio::time::sleep(TEST_LOOK_EVERY).await;
        }
    })
    .await;
    ledger::webhook::give_up(db, message).await?;
    tried.unwrap_or_else(|_| Err(Refusal::TestNotDelivered.into()))
}
