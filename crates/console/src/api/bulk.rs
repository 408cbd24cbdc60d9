//! One action on many things: prepare, look, start, stop.

use axum::body::Bytes;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidemark_ledger::bulk::BulkItem;
use tidemark_operations::bulk::{self, BulkAction, BulkFilter};
use utoipa::{IntoParams, ToSchema};

use super::answer::{cached, check_if_match, failed, json, tag};
use super::change::{read, respond};
use super::idempotency::once;
use super::problem::Problem;
use super::schema;
use crate::actions::bulk::{begin, check_confirmed, store, try_stop};
use crate::actions::job::load;
use crate::context::Cx;
use crate::error::{PageError, PageResult};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prepare {
    /// Such as `tenant.pause`, `run.cancel`, `chunk.retry`, `reject.resync`
    action: String,
    /// What to choose by, as the lists are filtered: `ids`, `tenant`, `state`, `source`, `text`, `status`, `type`, `side`,
    /// `sqlstate`, `error`
    #[schema(value_type = schema::BulkFilter)]
    filter: BulkFilter,
    /// Stored with what is done
    #[serde(default)]
    reason: Option<String>,
}

/// Choose things for an action; nothing is done before the job is started
#[utoipa::path(post, path = "/api/v1/bulk", tag = "bulk", request_body = Prepare, responses((status = 201, body = schema::BulkView), (status = "4XX", body = Problem)))]
pub async fn prepare(cx: Cx, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Prepare = read(&body)?;
            let action = BulkAction::parse(&wanted.action).ok_or_else(|| {
                let names: Vec<&str> = BulkAction::ALL.iter().map(|action| action.as_str()).collect();
                PageError::Refused(format!(
                    "there is no such action: use one of {}",
                    names.join(", ")
                ))
            })?;
            let bulk = store(&cx, action, &wanted.filter, wanted.reason.as_deref()).await?;
            let tag = tag(&bulk.status);
            let view = bulk::load_view(&cx.console.db, bulk.id).await?;
            Ok(json(StatusCode::CREATED, &view, Some(tag)))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BulkQuery {
    /// Jobs with a lower id
    before: Option<i64>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

/// Jobs that were started, newest first
#[utoipa::path(get, path = "/api/v1/bulk", tag = "bulk", params(BulkQuery), responses((status = 200, body = schema::BulkPage), (status = "4XX", body = Problem)))]
pub async fn list(cx: Cx, headers: HeaderMap, Query(query): Query<BulkQuery>) -> Response {
    let content = async {
        let limit = query.limit.unwrap_or(100).clamp(1, 1_000);
        let mut page = bulk::list(&cx.console.db, query.before, limit).await?;
        let mut seen = Vec::with_capacity(page.items.len());
        for one in page.items {
            match load(&cx, one.id).await {
                Ok(_) => seen.push(one),
                Err(PageError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        page.items = seen;
        Ok(page)
    };
    match content.await {
        Ok(page) => cached(&headers, &page),
        Err(error) => failed(&cx, &error),
    }
}

/// One job; its ETag stands for its status
#[utoipa::path(get, path = "/api/v1/bulk/{bulk}", tag = "bulk", params(("bulk" = i64, Path)), responses((status = 200, body = schema::BulkView), (status = "4XX", body = Problem)))]
pub async fn one(cx: Cx, Path(id): Path<i64>) -> Response {
    respond(&cx, shown(&cx, id).await)
}

async fn shown(cx: &Cx, id: i64) -> PageResult<Response> {
    load(cx, id).await?;
    let view = bulk::load_view(&cx.console.db, id).await?;
    let tag = tag(&view.bulk.status);
    Ok(json(StatusCode::OK, &view, Some(tag)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ItemQuery {
    /// pending, done, skipped or failed
    status: Option<String>,
    /// Items behind this one
    after: Option<i32>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

#[derive(Serialize)]
struct ItemPage {
    items: Vec<BulkItem>,
    next: Option<i32>,
}

/// Items of a job
#[utoipa::path(get, path = "/api/v1/bulk/{bulk}/items", tag = "bulk", params(("bulk" = i64, Path), ItemQuery), responses((status = 200, body = schema::BulkItemPage), (status = "4XX", body = Problem)))]
pub async fn items(
    cx: Cx,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Query(query): Query<ItemQuery>,
) -> Response {
    let content = async {
        load(&cx, id).await?;
        let limit = query.limit.unwrap_or(100).clamp(1, 1_000);
        let (status, after) = (query.status.as_deref(), query.after.unwrap_or_default());
        let items = tidemark_ledger::bulk::list_items(&cx.console.db, id, status, after, limit).await?;
        let is_full = i64::try_from(items.len()).is_ok_and(|count| count == limit);
        let next = items.last().filter(|_| is_full).map(|item| item.seq);
        PageResult::Ok(ItemPage { items, next })
    };
    match content.await {
        Ok(page) => cached(&headers, &page),
        Err(error) => failed(&cx, &error),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    #[serde(default)]
    reason: Option<String>,
    /// For more than 20 items: the last word of the action and their number, such as `pause 42`
    #[serde(default)]
    confirm: Option<String>,
}

/// Start a prepared job
#[utoipa::path(post, path = "/api/v1/bulk/{bulk}/start", tag = "bulk", params(("bulk" = i64, Path)), request_body = Start, responses((status = 202, body = schema::Bulk), (status = "4XX", body = Problem)))]
pub async fn start(cx: Cx, Path(id): Path<i64>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Start = read(&body)?;
            let prepared = load(&cx, id).await?;
            check_if_match(&headers, &prepared.status)?;
            check_confirmed(&cx, &prepared, wanted.confirm.as_deref())?;
            let started = begin(&cx, id, wanted.reason.as_deref()).await?;
            let tag = tag(&started.status);
            Ok(json(StatusCode::ACCEPTED, &started, Some(tag)))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

/// Stop a job before its end; what was done stays
#[utoipa::path(post, path = "/api/v1/bulk/{bulk}/stop", tag = "bulk", params(("bulk" = i64, Path)), responses((status = 200, body = schema::BulkView), (status = "4XX", body = Problem)))]
pub async fn stop(cx: Cx, Path(id): Path<i64>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let running = load(&cx, id).await?;
            check_if_match(&headers, &running.status)?;
            try_stop(&cx, id).await?;
            shown(&cx, id).await
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}
