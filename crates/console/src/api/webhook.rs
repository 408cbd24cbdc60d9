//! Webhooks: list, add, try, send again, remove.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tidemark_ledger::webhook::NewWebhook;
use tidemark_operations::webhooks::{self, WebhookView};
use tidemark_shared::ids::TenantId;
use tidemark_shared::webhook::{WebhookEvent, WebhookFormat};
use utoipa::{IntoParams, ToSchema};

use super::answer::{cached, failed, json};
use super::change::{author, read, respond};
use super::idempotency::once;
use super::problem::Problem;
use super::schema;
use crate::actions::webhook::{add_within_scope, try_remove, try_retry};
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::pages::webhooks::{load, sees};

/// Webhooks with the state of their messages
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "webhooks", responses((status = 200, body = Vec<schema::Webhook>), (status = "4XX", body = Problem)))]
pub async fn list(cx: Cx, headers: HeaderMap) -> Response {
    match webhooks::list(&cx.console.db).await {
        Ok(mut found) => {
            found.retain(|webhook| sees(&cx, webhook));
            cached(&headers, &found)
        }
        Err(error) => failed(&cx, &error.into()),
    }
}

/// One webhook
#[utoipa::path(get, path = "/api/v1/webhooks/{webhook}", tag = "webhooks", params(("webhook" = i32, Path)), responses((status = 200, body = schema::Webhook), (status = "4XX", body = Problem)))]
pub async fn one(cx: Cx, Path(id): Path<i32>, headers: HeaderMap) -> Response {
    match load(&cx, id).await {
        Ok(webhook) => cached(&headers, &webhook),
        Err(error) => failed(&cx, &error),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessageQuery {
    /// Messages with a lower id
    before: Option<i64>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

/// Messages of a webhook, newest first
#[utoipa::path(get, path = "/api/v1/webhooks/{webhook}/messages", tag = "webhooks", params(("webhook" = i32, Path), MessageQuery), responses((status = 200, body = schema::WebhookMessagePage), (status = "4XX", body = Problem)))]
pub async fn messages(
    cx: Cx,
    Path(id): Path<i32>,
    headers: HeaderMap,
    Query(query): Query<MessageQuery>,
) -> Response {
    let content = async {
        load(&cx, id).await?;
        let limit = query.limit.unwrap_or(100).clamp(1, 1_000);
        PageResult::Ok(webhooks::list_messages(&cx.console.db, id, query.before, limit).await?)
    };
    match content.await {
        Ok(page) => cached(&headers, &page),
        Err(error) => failed(&cx, &error),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddWebhook {
    /// https, or http on this machine
    url: String,
    /// Such as `run.failed`, `tenant.late`
    events: Vec<String>,
    /// Only events of this tenant
    #[serde(default)]
    tenant_id: Option<i32>,
    /// json or slack; usually json
    #[serde(default)]
    format: Option<String>,
}

impl AddWebhook {
    fn read(self) -> PageResult<NewWebhook> {
        let event = |name: &String| {
            let found = WebhookEvent::ALL.iter().find(|event| event.as_str() == name);
            found.copied().ok_or_else(|| {
                let names: Vec<&str> = WebhookEvent::ALL.iter().map(|event| event.as_str()).collect();
                PageError::Refused(format!(
                    "there is no such event: use some of {}",
                    names.join(", ")
                ))
            })
        };
        let events: Vec<WebhookEvent> = self.events.iter().map(event).collect::<PageResult<_>>()?;
        if events.is_empty() {
            return Err(PageError::Refused("no event is named: send `events`".to_owned()));
        }
        let format = match self.format.as_deref() {
            None | Some("json") => WebhookFormat::Json,
            Some("slack") => WebhookFormat::Slack,
            Some(_) => {
                let text = "there is no such format: use json or slack".to_owned();
                return Err(PageError::Refused(text));
            }
        };
        Ok(NewWebhook {
            url: self.url,
            events,
            tenant: self.tenant_id.map(TenantId),
            format,
        })
    }
}

#[derive(Serialize)]
struct Added<'a> {
    #[serde(flatten)]
    webhook: &'a WebhookView,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Add a webhook; the secret of its signatures is in this answer alone
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "webhooks", request_body = AddWebhook, responses((status = 201, body = schema::AddedWebhook), (status = "4XX", body = Problem)))]
pub async fn add(cx: Cx, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted = read::<AddWebhook>(&body)?.read()?;
            let added = add_within_scope(&cx, &wanted).await?;
            let content = Added {
                webhook: &added.webhook,
                secret: added.secret.as_ref().map(ExposeSecret::expose_secret),
            };
            Ok(json(StatusCode::CREATED, &content, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

/// Send a message that only tries the webhook, and wait for the answer
#[utoipa::path(post, path = "/api/v1/webhooks/{webhook}/test", tag = "webhooks", params(("webhook" = i32, Path)), responses((status = 200, body = schema::WebhookMessage), (status = "4XX", body = Problem)))]
pub async fn test(cx: Cx, Path(id): Path<i32>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            load(&cx, id).await?;
            let db = &cx.console.db;
            let message = webhooks::begin_test(db, &author(&cx)?.actor(), id).await?;
            Ok(json(
                StatusCode::OK,
                &webhooks::wait_for_test(db, message).await?,
                None,
            ))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryMessages {
    /// Only this message
    #[serde(default)]
    message_id: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RetriedMessages {
    messages: u64,
}

/// Send messages once more that were given up
#[utoipa::path(post, path = "/api/v1/webhooks/{webhook}/retry", tag = "webhooks", params(("webhook" = i32, Path)), request_body = RetryMessages, responses((status = 200, body = RetriedMessages), (status = "4XX", body = Problem)))]
pub async fn retry(cx: Cx, Path(id): Path<i32>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: RetryMessages = read(&body)?;
            let messages = try_retry(&cx, id, wanted.message_id).await?;
            Ok(json(StatusCode::OK, &RetriedMessages { messages }, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveWebhook {
    /// The host of the webhook, as it is listed
    #[serde(default)]
    confirm: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedWebhook {
    removed: i32,
}

/// Remove a webhook with its messages
#[utoipa::path(post, path = "/api/v1/webhooks/{webhook}/remove", tag = "webhooks", params(("webhook" = i32, Path)), request_body = RemoveWebhook, responses((status = 200, body = RemovedWebhook), (status = "4XX", body = Problem)))]
pub async fn remove(cx: Cx, Path(id): Path<i32>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: RemoveWebhook = read(&body)?;
            let fields: BTreeMap<String, String> = wanted
                .confirm
                .map(|confirm| ("confirm".to_owned(), confirm))
                .into_iter()
                .collect();
            try_remove(&cx, id, &fields).await?;
            Ok(json(StatusCode::OK, &RemovedWebhook { removed: id }, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}
