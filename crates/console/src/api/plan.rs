//! What a sync would do, and the repair of what a comparison found.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tidemark_ledger::run::Requested;
use tidemark_operations::plan_preview::{self, Preview};
use tidemark_operations::{run_control, run_requests};
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN};
use utoipa::IntoParams;

use super::answer::{check_if_match, json, tag};
use super::change::{author, load_tenant, respond};
use super::idempotency::once;
use super::problem::Problem;
use super::schema;
use super::tenant::check_sources;
use crate::actions::tenant_work;
use crate::context::Cx;
use crate::error::{PageError, PageResult};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Take all conversations, not only changed ones
    #[serde(default)]
    full: bool,
    /// Conversations per chunk, instead of the tenant's setting
    #[param(minimum = 1, maximum = 50_000)]
    #[serde(default)]
    chunk_size: Option<i32>,
}

/// What a sync would do now; it writes nothing, and reads the source
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/plan", tag = "runs", params(("tenant" = i32, Path), Wanted), responses((status = 200, body = schema::Plan), (status = "4XX", body = Problem)))]
pub async fn plan(cx: Cx, Path(id): Path<TenantId>, Query(wanted): Query<Wanted>) -> Response {
    respond(&cx, try_plan(&cx, id, &wanted).await)
}

async fn try_plan(cx: &Cx, id: TenantId, wanted: &Wanted) -> PageResult<Response> {
    load_tenant(cx, id).await?;
    check_sources(cx)?;
    let sizes = CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX;
    if wanted.chunk_size.is_some_and(|size| !sizes.contains(&size)) {
        return Err(PageError::Refused(format!(
            "chunk_size is not between {CHUNK_SIZE_MIN} and {CHUNK_SIZE_MAX}: leave it out, or send such a number"
        )));
    }
    let console = &cx.console;
    let tenant = run_requests::load_ready(&console.db, id).await?;
    let planner = plan_preview::planner(&console.db, Arc::clone(&console.sources), &console.settings);
    let run_type = if wanted.full {
        RunType::Full
    } else {
        RunType::Incremental
    };
    let request = RunRequest {
        chunk_size: wanted.chunk_size,
        ..RunRequest::default()
    };
    let mut previews = plan_preview::preview(&planner, run_type, &[(tenant, request)], false).await?;
    match previews.pop() {
        Some(Preview::Planned(plan)) => Ok(json(StatusCode::OK, &plan, None)),
        _ => Err(PageError::NotFound),
    }
}

/// Write the rows again that the last comparison found at fault: 202 for a new run, 200 for the open one that does the same,
/// 204 where no row is at fault
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/repair", tag = "runs", params(("tenant" = i32, Path)), responses((status = 202, body = schema::Run), (status = 200, body = schema::Run), (status = 204), (status = "4XX", body = Problem)))]
pub async fn repair(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async { respond(&cx, try_repair(&cx, id, &headers).await) };
    once(&cx, &headers, &body, Box::pin(work)).await
}

async fn try_repair(cx: &Cx, id: TenantId, headers: &HeaderMap) -> PageResult<Response> {
    let tenant = load_tenant(cx, id).await?;
    check_if_match(headers, &tenant)?;
    let Some(requested) = tenant_work::request_repair(cx, author(cx)?, &tenant).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let run = run_control::load(&cx.console.db, requested.run_id()).await?;
    let status = match requested {
        Requested::Created(_) => StatusCode::ACCEPTED,
        Requested::Open(_) => StatusCode::OK,
    };
    Ok(json(status, &run, Some(tag(&run.status))))
}
