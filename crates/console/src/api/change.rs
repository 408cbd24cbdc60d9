//! What can be changed. Every change takes an `Idempotency-Key`, and those of tenants and runs an `If-Match`.

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemark_ledger::run::Requested;
use tidemark_operations::run_control::{self, RetriedRun};
use tidemark_operations::tenants::lifecycle;
use tidemark_operations::{resync, run_requests, tenants, verify};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::{MAX_IDS_PER_RUN, Selection};
use tidemark_shared::tenant::Tenant;
use utoipa::ToSchema;

use super::answer::{check_if_match, failed, json};
use super::idempotency::once;
use super::problem::Problem;
use super::schema;
use crate::actions::run::load as load_run;
use crate::auth::who::{Right, Who};
use crate::context::Cx;
use crate::error::{PageError, PageResult};

/// An empty body counts as an empty object.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> PageResult<T> {
    let body = if body.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        body
    };
    serde_json::from_slice(body)
        .map_err(|error| PageError::Refused(format!("the body cannot be read: {error}")))
}

pub(super) fn author(cx: &Cx) -> PageResult<&Who> {
    cx.who.as_ref().ok_or(PageError::NotFound)
}

pub(super) fn respond(cx: &Cx, outcome: PageResult<Response>) -> Response {
    match outcome {
        Ok(response) => response,
        Err(error) => failed(cx, &error),
    }
}

pub(super) async fn load_tenant(cx: &Cx, id: TenantId) -> PageResult<Tenant> {
    let found = tidemark_ledger::tenant::find(&cx.console.db, id).await?;
    found.ok_or(PageError::NotFound)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Shown while the tenant is paused
    reason: String,
}

/// Pause a tenant
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/pause", tag = "tenants", params(("tenant" = i32, Path)), request_body = Pause, responses((status = 200, body = schema::Tenant), (status = "4XX", body = Problem)))]
pub async fn pause(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Pause = read(&body)?;
            check_if_match(&headers, &load_tenant(&cx, id).await?)?;
            lifecycle::pause(&cx.console.db, &author(&cx)?.actor(), id, &wanted.reason).await?;
            changed(&cx, id).await
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

/// Resume a paused tenant
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/resume", tag = "tenants", params(("tenant" = i32, Path)), responses((status = 200, body = schema::Tenant), (status = "4XX", body = Problem)))]
pub async fn resume(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            check_if_match(&headers, &load_tenant(&cx, id).await?)?;
            lifecycle::resume(&cx.console.db, &author(&cx)?.actor(), id).await?;
            changed(&cx, id).await
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

pub(super) async fn changed(cx: &Cx, id: TenantId) -> PageResult<Response> {
    let view = tenants::load_view(&cx.console.db, id).await?;
    let tag = super::answer::tag(&view.tenant);
    Ok(json(StatusCode::OK, &view, Some(tag)))
}

/// The types of runs that can be requested.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestedType {
    Incremental,
    Full,
    Resync,
    Verify,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    r#type: RequestedType,
    /// Stored with the run
    #[serde(default)]
    reason: Option<String>,
    /// For `resync`: these conversations, at most 100,000
    #[serde(default)]
    ids: Option<Vec<i64>>,
    /// For `resync`: conversations of these inboxes
    #[serde(default)]
    inboxes: Option<Vec<i32>>,
    /// For `resync`: conversations created or changed from this instant on
    #[serde(default)]
    from: Option<chrono::DateTime<chrono::Utc>>,
    /// The end of the range that `from` begins
    #[serde(default)]
    to: Option<chrono::DateTime<chrono::Utc>>,
    /// For `verify`: compare column by column
    #[serde(default)]
    deep: bool,
    /// Mark rows deleted even when unusually many are gone; needs the role admin
    #[serde(default)]
    allow_mass_delete: bool,
}

/// Request a run: 202 for a new one, 200 for the open one that does the same
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/runs", tag = "runs", params(("tenant" = i32, Path)), request_body = NewRun, responses((status = 202, body = schema::Run), (status = 200, body = schema::Run), (status = "4XX", body = Problem)))]
pub async fn request_run(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async { respond(&cx, try_request(&cx, id, &body).await) };
    once(&cx, &headers, &body, Box::pin(work)).await
}

async fn try_request(cx: &Cx, id: TenantId, body: &[u8]) -> PageResult<Response> {
    let wanted: NewRun = read(body)?;
    let (db, actor) = (&cx.console.db, author(cx)?.actor());
    load_tenant(cx, id).await?;
    if wanted.allow_mass_delete && !cx.may(Right::Administer) {
        return Err(PageError::Forbidden {
            needed: Right::Administer,
            role: author(cx)?.role,
        });
    }
    let tenant = run_requests::load_ready(db, id).await?;
    let request = RunRequest {
        allow_mass_delete: wanted.allow_mass_delete,
        ..RunRequest::default()
    };
    let has_part =
        wanted.ids.is_some() || wanted.inboxes.is_some() || wanted.from.is_some() || wanted.to.is_some();
    if has_part && !matches!(wanted.r#type, RequestedType::Resync) {
        let text =
            "only a resync takes a part: leave out ids, inboxes, from and to, or request the type resync";
        return Err(PageError::Refused(text.to_owned()));
    }
    let requested = match wanted.r#type {
        RequestedType::Verify => verify::request_comparison(db, &actor, &tenant, wanted.deep).await?,
        RequestedType::Incremental => {
            run_requests::request(db, &actor, &tenant, RunType::Incremental, wanted.reason, request).await?
        }
        RequestedType::Full => {
            run_requests::request(db, &actor, &tenant, RunType::Full, wanted.reason, request).await?
        }
        RequestedType::Resync => {
            let (tenant, part) = part(cx, tenant, &wanted, &request).await?;
            run_requests::request(db, &actor, &tenant, RunType::Resync, wanted.reason, part).await?
        }
    };
    let run = run_control::load(db, requested.run_id()).await?;
    let status = match requested {
        Requested::Created(_) => StatusCode::ACCEPTED,
        Requested::Open(_) => StatusCode::OK,
    };
    Ok(json(status, &run, Some(super::answer::tag(&run.status))))
}

/// The part of a resync.
async fn part(
    cx: &Cx,
    tenant: Tenant,
    wanted: &NewRun,
    template: &RunRequest,
) -> PageResult<(Tenant, RunRequest)> {
    if let Some(ids) = &wanted.ids {
        let mut ids = ids.clone();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() || ids.len() > MAX_IDS_PER_RUN || ids[0] < 1 {
            let text =
                format!("ids are 1 to {MAX_IDS_PER_RUN} positive numbers: send several requests for more");
            return Err(PageError::Refused(text));
        }
        let request = RunRequest {
            selection: Some(Selection::Ids { ids }),
            ..template.clone()
        };
        return Ok((tenant, request));
    }
    let time = match (wanted.from, wanted.to) {
        (Some(from), Some(to)) => Some((from, to)),
        (None, None) => None,
        _ => {
            return Err(PageError::Refused(
                "a range of time has two ends: send from and to".to_owned(),
            ));
        }
    };
    let inboxes = wanted.inboxes.as_deref().unwrap_or_default();
    let parts = resync::parts_by_selection(&cx.console.db, vec![tenant], time, inboxes, template).await?;
    parts.into_iter().next().ok_or_else(|| {
        PageError::Refused("the tenant has nothing of this part: name another part".to_owned())
    })
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Stored with the run
    #[serde(default)]
    reason: Option<String>,
}

/// Cancel a run
#[utoipa::path(post, path = "/api/v1/runs/{run}/cancel", tag = "runs", params(("run" = i64, Path)), request_body = Cancel, responses((status = 200, body = schema::Run), (status = "4XX", body = Problem)))]
pub async fn cancel(cx: Cx, Path(id): Path<RunId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Cancel = read(&body)?;
            check_if_match(&headers, &load_run(&cx, id).await?.status)?;
            let db = &cx.console.db;
            run_control::cancel(db, &author(&cx)?.actor(), id, wanted.reason.as_deref()).await?;
            let run = run_control::load(db, id).await?;
            Ok(json(StatusCode::OK, &run, Some(super::answer::tag(&run.status))))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

/// What was retried.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retried {
    /// The run that goes on: another one where the run had ended before it had chunks
    run_id: i64,
    /// Chunks that are due again
    chunks: u64,
}

/// Retry the dead and cancelled chunks of a run
#[utoipa::path(post, path = "/api/v1/runs/{run}/retry", tag = "runs", params(("run" = i64, Path)), responses((status = 200, body = Retried), (status = "4XX", body = Problem)))]
pub async fn retry(cx: Cx, Path(id): Path<RunId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async { respond(&cx, try_retry(&cx, &headers, id, None).await) };
    once(&cx, &headers, &body, Box::pin(work)).await
}

/// Retry one dead or cancelled chunk
#[utoipa::path(post, path = "/api/v1/runs/{run}/chunks/{seq}/retry", tag = "runs", params(("run" = i64, Path), ("seq" = i32, Path)), responses((status = 200, body = Retried), (status = "4XX", body = Problem)))]
pub async fn retry_chunk(
    cx: Cx,
    Path((id, seq)): Path<(RunId, i32)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async { respond(&cx, try_retry(&cx, &headers, id, Some(seq)).await) };
    once(&cx, &headers, &body, Box::pin(work)).await
}

async fn try_retry(cx: &Cx, headers: &HeaderMap, id: RunId, seq: Option<i32>) -> PageResult<Response> {
    check_if_match(headers, &load_run(cx, id).await?.status)?;
    let retried = run_control::retry(&cx.console.db, &author(cx)?.actor(), id, seq).await?;
    let content = match retried {
        RetriedRun::SameRun { chunks, .. } => Retried { run_id: id.0, chunks },
        RetriedRun::NewRun { requested, .. } => Retried {
            run_id: requested.run_id().0,
            chunks: 0,
        },
    };
    Ok(json(StatusCode::OK, &content, None))
}
