//! Dead messages and restored sources.

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidemark_broker::{Queue, RabbitQueue};
use tidemark_operations::error::OperationError;
use tidemark_operations::{dead_messages, source_restore};
use utoipa::ToSchema;

use super::answer::json;
use super::change::{author, read, respond};
use super::idempotency::once;
use super::problem::Problem;
use super::schema;
use super::tenant::{check_confirm, check_sources};
use crate::auth::who::Who;
use crate::context::Cx;
use crate::error::{PageError, PageResult};

const USUAL: usize = 1_000;
const MOST: usize = 10_000;

/// Messages and sources belong to no tenant.
fn of_all(cx: &Cx) -> PageResult<&Who> {
    author(cx).and_then(|who| who.sees_all().then_some(who).ok_or(PageError::NotFound))
}

fn rabbit(cx: &Cx) -> PageResult<RabbitQueue> {
    (cx.console.rabbit)().map_err(PageError::Refused)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// At most this many of the oldest: 1 to 10,000, usually 1,000
    #[serde(default)]
    limit: Option<usize>,
}

/// Publish dead messages again that can be read and whose chunk still waits
#[utoipa::path(post, path = "/api/v1/dead/redrive", tag = "dead", request_body = Option<Redrive>, responses((status = 200, body = schema::Redriven), (status = "4XX", body = Problem)))]
pub async fn redrive(cx: Cx, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Redrive = read(&body)?;
            let who = of_all(&cx)?;
            let rabbit = rabbit(&cx)?;
            let limit = wanted.limit.unwrap_or(USUAL).clamp(1, MOST);
            let redriven = dead_messages::redrive(&cx.console.db, &who.actor(), &rabbit, limit).await;
            rabbit.close().await;
            cx.console.on_demand.forget_dead().await;
            Ok(json(StatusCode::OK, &redriven?, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// The word `purge`
    #[serde(default)]
    confirm: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Purged {
    purged: u32,
}

/// Remove all dead messages
#[utoipa::path(post, path = "/api/v1/dead/purge", tag = "dead", request_body = Purge, responses((status = 200, body = Purged), (status = "4XX", body = Problem)))]
pub async fn purge(cx: Cx, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Purge = read(&body)?;
            let who = of_all(&cx)?;
            check_confirm(wanted.confirm.as_deref(), "purge")?;
            let rabbit = rabbit(&cx)?;
            let purged = dead_messages::purge(&cx.console.db, &who.actor(), &rabbit).await;
            rabbit.close().await;
            cx.console.on_demand.forget_dead().await;
            Ok(json(StatusCode::OK, &Purged { purged: purged? }, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRestore {
    /// Stored with the source
    reason: String,
    /// The source's name
    #[serde(default)]
    confirm: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    source: String,
    /// Rows that were read before it went back are of an earlier epoch
    epoch: i32,
}

/// Accept a source that went back in time as it is now
#[utoipa::path(post, path = "/api/v1/sources/{source}/accept-restore", tag = "sources", params(("source" = String, Path)), request_body = AcceptRestore, responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn accept(cx: Cx, Path(name): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: AcceptRestore = read(&body)?;
            let (console, who) = (&cx.console, of_all(&cx)?);
            if console.settings.source(&name).is_err() {
                return Err(PageError::NotFound);
            }
            check_confirm(wanted.confirm.as_deref(), &name)?;
            check_sources(&cx)?;
            let source = console.sources.get(&name).map_err(OperationError::from)?;
            let epoch = source_restore::accept(&console.db, &who.actor(), source, &wanted.reason).await?;
            let content = Accepted { source: name, epoch };
            Ok(json(StatusCode::OK, &content, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}
