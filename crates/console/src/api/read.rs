//! What can be read. The fields are those of the commands with `--json`.

use std::cmp::Reverse;

use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidemark_ledger::audit::{AuditFilter, Recorded};
use tidemark_ledger::chunk_report::ChunkFilter;
use tidemark_ledger::reject::{RejectFilter, RejectedRow};
use tidemark_ledger::run::RunFilter;
use tidemark_operations::page::Page;
use tidemark_operations::{audit as audits, lists, tenants as tenant_operations};
use tidemark_shared::ids::{ChunkId, ConversationKey, RunId, TenantId};
use tidemark_shared::run::{RunReport, RunStatus, RunType};
use utoipa::IntoParams;

use super::answer::{cached, changeable, failed};
use super::problem::Problem;
use super::schema;
use crate::actions::run::load as load_run;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::pages::scope;

const MOST: i64 = 1_000;
const USUAL: i64 = 100;

fn limit(asked: Option<i64>) -> i64 {
    asked.unwrap_or(USUAL).clamp(1, MOST)
}

fn respond<T: Serialize>(cx: &Cx, headers: &HeaderMap, content: PageResult<T>) -> Response {
    match content {
        Ok(content) => cached(headers, &content),
        Err(error) => failed(cx, &error),
    }
}

/// Merges the lists of the author's tenants: newest or lowest first, one page.
fn cut<T, K: Ord>(limit: i64, key: impl Fn(&T) -> K) -> impl FnOnce(&mut Vec<T>) {
    move |items| {
        items.sort_by_key(key);
        items.truncate(usize::try_from(limit).unwrap_or_default());
    }
}

fn page<T, C>(items: Vec<T>, limit: i64, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let is_full = i64::try_from(items.len()).is_ok_and(|count| count >= limit);
    let next = items.last().filter(|_| is_full).map(cursor);
    Page { items, next }
}

/// All tenants, sources and processes at one moment
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = schema::Status), (status = "4XX", body = Problem)))]
pub async fn status(cx: Cx) -> Response {
    let look = match cx.console.watcher.look().await {
        Ok(look) => look,
        Err(error) => return failed(&cx, &error.into()),
    };
    let Some(who) = &cx.who else {
        return failed(&cx, &PageError::NotFound);
    };
    let overview = &look.snapshot.overview;
    let tenants: Vec<_> = overview
        .tenants
        .iter()
        .filter(|tenant| who.sees(tenant.tenant_id))
        .collect();
    let shared = who.sees_all();
    let content = serde_json::json!({
        "tenants": tenants,
        "sources": if shared { Some(&overview.sources) } else { None },
        "unsynced_inboxes": if shared { Some(&overview.unsynced_inboxes) } else { None },
        "processes": if shared { Some(&overview.processes) } else { None },
        "at": look.snapshot.at,
    });
    changeable(&content, &look.snapshot.at)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    /// Tenants with a higher id
    after: Option<i32>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

/// Tenants with their settings, by id
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", params(TenantQuery), responses((status = 200, body = schema::TenantPage), (status = "4XX", body = Problem)))]
pub async fn tenants(cx: Cx, headers: HeaderMap, Query(query): Query<TenantQuery>) -> Response {
    let content = async {
        let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
        let limit = limit(query.limit);
        let after = query.after.map(TenantId);
        let Some(scope) = who.scope() else {
            return Ok(tenant_operations::list_views(&cx.console.db, after, limit).await?);
        };
        let mut views = Vec::new();
        for id in scope
            .into_iter()
            .filter(|id| after.is_none_or(|after| *id > after))
        {
            if tidemark_ledger::tenant::find(&cx.console.db, id).await?.is_some() {
                views.push(tenant_operations::load_view(&cx.console.db, id).await?);
            }
            if i64::try_from(views.len()).is_ok_and(|count| count == limit) {
                break;
            }
        }
        Ok(page(views, limit, |view| view.tenant.id))
    };
    respond(&cx, &headers, content.await)
}

/// One tenant with its settings; its ETag stands for the settings
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = i32, Path)), responses((status = 200, body = schema::Tenant), (status = "4XX", body = Problem)))]
pub async fn tenant(cx: Cx, Path(id): Path<TenantId>) -> Response {
    let db = &cx.console.db;
    let found = async {
        tidemark_ledger::tenant::find(db, id)
            .await?
            .ok_or(PageError::NotFound)?;
        Ok(tenant_operations::load_view(db, id).await?)
    };
    match found.await {
        Ok(view) => changeable(&view, &view.tenant),
        Err(error) => failed(&cx, &error),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    tenant: Option<i32>,
    /// One of the states of a run
    #[param(pattern = "^(requested|planning|running|success|partial|failed|cancelled)$")]
    status: Option<String>,
    /// One of the types of a run
    #[param(pattern = "^(incremental|full|resync|backfill|repair|verify)$")]
    r#type: Option<String>,
    /// Runs with a lower id
    before: Option<i64>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

fn one_of<T: Copy>(text: Option<&str>, all: &[T], name: fn(T) -> &'static str) -> PageResult<Vec<T>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.map(|one| vec![one]).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        PageError::Refused(format!(
            "this value is not possible: write one of {}",
            names.join(", ")
        ))
    })
}

/// Runs, newest first
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunQuery), responses((status = 200, body = schema::RunPage), (status = "4XX", body = Problem)))]
pub async fn runs(cx: Cx, headers: HeaderMap, Query(query): Query<RunQuery>) -> Response {
    let content = async {
        let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
        let (limit, db) = (limit(query.limit), &cx.console.db);
        let base = RunFilter {
            tenant: None,
            statuses: one_of(query.status.as_deref(), &RunStatus::ALL, RunStatus::as_str)?,
            types: one_of(query.r#type.as_deref(), &RunType::ALL, RunType::as_str)?,
            since: None,
        };
        let base = &base;
        let of = |tenant| async move {
            let filter = RunFilter {
                tenant,
                ..base.clone()
            };
            Ok(lists::runs(db, &filter, query.before.map(RunId), limit)
                .await?
                .items)
        };
        let tenant = query.tenant.map(TenantId);
        let runs = scope::list(who, tenant, of, cut(limit, |run: &RunReport| Reverse(run.run_id))).await?;
        Ok(page(runs, limit, |run| run.run_id))
    };
    respond(&cx, &headers, content.await)
}

/// One run; its ETag stands for its status
#[utoipa::path(get, path = "/api/v1/runs/{run}", tag = "runs", params(("run" = i64, Path)), responses((status = 200, body = schema::Run), (status = "4XX", body = Problem)))]
pub async fn run(cx: Cx, Path(id): Path<RunId>) -> Response {
    match load_run(&cx, id).await {
        Ok(run) => changeable(&run, &run.status),
        Err(error) => failed(&cx, &error),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChunkQuery {
    /// Chunks with a higher number
    after: Option<i32>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

/// Chunks of a run, by their numbers
#[utoipa::path(get, path = "/api/v1/runs/{run}/chunks", tag = "runs", params(("run" = i64, Path), ChunkQuery), responses((status = 200, body = schema::ChunkPage), (status = "4XX", body = Problem)))]
pub async fn chunks(
    cx: Cx,
    headers: HeaderMap,
    Path(id): Path<RunId>,
    Query(query): Query<ChunkQuery>,
) -> Response {
    let content = async {
        load_run(&cx, id).await?;
        let filter = ChunkFilter {
            run: Some(id),
            ..ChunkFilter::default()
        };
        let after = query.after.map(|seq| ChunkId { run_id: id, seq });
        Ok(lists::chunks(&cx.console.db, &filter, after, limit(query.limit)).await?)
    };
    respond(&cx, &headers, content.await)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RejectQuery {
    tenant: Option<i32>,
    /// Also rejects that were resolved
    #[serde(default)]
    all: bool,
    /// `next` of the page before: TENANT:CONVERSATION
    #[param(pattern = "^[0-9]{1,9}:[0-9]{1,18}$")]
    after: Option<String>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

/// Rejected conversations, by tenant and conversation
#[utoipa::path(get, path = "/api/v1/rejects", tag = "rejects", params(RejectQuery), responses((status = 200, body = schema::RejectPage), (status = "4XX", body = Problem)))]
pub async fn rejects(cx: Cx, headers: HeaderMap, Query(query): Query<RejectQuery>) -> Response {
    let content = async {
        let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
        let (limit, db) = (limit(query.limit), &cx.console.db);
        let after: Option<ConversationKey> = match &query.after {
            Some(text) => {
                let wrong = |_| {
                    PageError::Refused(
                        "this place in the list cannot be read: use `next` of the page before".to_owned(),
                    )
                };
                Some(text.parse().map_err(wrong)?)
            }
            None => None,
        };
        let of = |tenant| async move {
            let filter = RejectFilter {
                tenant,
                also_resolved: query.all,
                ..RejectFilter::default()
            };
            Ok(lists::rejects(db, &filter, after, limit).await?.items)
        };
        let tenant = query.tenant.map(TenantId);
        let rows = scope::list(who, tenant, of, cut(limit, RejectedRow::key)).await?;
        Ok(page(rows, limit, |row| row.key().to_string()))
    };
    respond(&cx, &headers, content.await)
}

/// The last sample of each source, for authors who see every tenant
#[utoipa::path(get, path = "/api/v1/sources", tag = "status", responses((status = 200, body = Vec<schema::Source>), (status = "4XX", body = Problem)))]
pub async fn sources(cx: Cx, headers: HeaderMap) -> Response {
    let content = async {
        let _ = cx
            .who
            .as_ref()
            .filter(|who| who.sees_all())
            .ok_or(PageError::NotFound)?;
        Ok(tidemark_ledger::source_watch::list(&cx.console.db).await?)
    };
    respond(&cx, &headers, content.await)
}

/// Processes that are alive, for authors who see every tenant
#[utoipa::path(get, path = "/api/v1/processes", tag = "status", responses((status = 200, body = Vec<schema::Process>), (status = "4XX", body = Problem)))]
pub async fn processes(cx: Cx, headers: HeaderMap) -> Response {
    let content = async {
        let _ = cx
            .who
            .as_ref()
            .filter(|who| who.sees_all())
            .ok_or(PageError::NotFound)?;
        Ok(tidemark_ledger::process::list_live(&cx.console.db).await?)
    };
    respond(&cx, &headers, content.await)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    tenant: Option<i32>,
    /// The actor, or how its name begins: `console:`
    actor: Option<String>,
    /// Entries with a lower id
    before: Option<i64>,
    /// At most this many: 1 to 1000, usually 100
    limit: Option<i64>,
}

/// Actions of people and programs, newest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery), responses((status = 200, body = schema::AuditPage), (status = "4XX", body = Problem)))]
pub async fn audit(cx: Cx, headers: HeaderMap, Query(query): Query<AuditQuery>) -> Response {
    let content = async {
        let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
        let (limit, db) = (limit(query.limit), &cx.console.db);
        let actor = &query.actor;
        let of = |tenant| async move {
            let filter = AuditFilter {
                tenant,
                actor: actor.clone(),
                ..AuditFilter::default()
            };
            Ok(audits::list(db, &filter, query.before, limit).await?.items)
        };
        let tenant = query.tenant.map(TenantId);
        let entries = scope::list(who, tenant, of, cut(limit, |entry: &Recorded| Reverse(entry.id))).await?;
        Ok(page(entries, limit, |entry| entry.id))
    };
    respond(&cx, &headers, content.await)
}
