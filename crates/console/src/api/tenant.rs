//! Changes of one tenant: settings, watermark, inboxes, and what removes something. Those that cannot be taken back have a field
//! `confirm` with the tenant's name.

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidemark_ledger::tenant::TenantChange;
use tidemark_operations::tenants::{change, forget as forgetting, lifecycle};
use tidemark_operations::{inboxes, watermarks};
use tidemark_runtime::config::duration_within;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::{INTERVAL_MAX, INTERVAL_MIN, Tenant};
use utoipa::ToSchema;

use super::answer::{check_if_match, json};
use super::change::{author, changed, load_tenant, read, respond};
use super::idempotency::once;
use super::problem::Problem;
use super::schema;
use crate::context::Cx;
use crate::error::{PageError, PageResult};

/// Refuses what cannot be taken back without the name of what it is about.
pub fn check_confirm(typed: Option<&str>, name: &str) -> PageResult<()> {
    if typed == Some(name) {
        return Ok(());
    }
    Err(PageError::Refused(format!(
        "this cannot be taken back: send `confirm` with exactly {name}"
    )))
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    slug: Option<String>,
    /// Such as `America/Sao_Paulo`
    #[serde(default)]
    timezone: Option<String>,
    /// Such as `5m`
    #[serde(default)]
    sync_interval: Option<String>,
    /// Such as `1day`, or `off`
    #[serde(default)]
    verify_interval: Option<String>,
    #[schema(minimum = 1, maximum = 50_000)]
    #[serde(default)]
    chunk_size: Option<i32>,
    #[serde(default)]
    max_in_flight: Option<i32>,
}

impl Settings {
    fn change(self) -> PageResult<TenantChange> {
        let span = |field: &str, text: &str| {
            duration_within(text, INTERVAL_MIN, INTERVAL_MAX)
                .map_err(|error| PageError::Refused(format!("{field}: {error}")))
        };
        let sync = self.sync_interval.as_deref();
        Ok(TenantChange {
            name: self.name,
            slug: self.slug,
            source: None,
            account_id: None,
            timezone: self.timezone,
            chunk_size: self.chunk_size,
            max_in_flight: self.max_in_flight,
            sync_interval: sync.map(|text| span("sync_interval", text)).transpose()?,
            verify_interval: match self.verify_interval.as_deref() {
                None => None,
                Some("off") => Some(None),
                Some(text) => Some(Some(span("verify_interval", text)?)),
            },
            discover: None,
        })
    }
}

/// Change settings of a tenant
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/settings", tag = "tenants", params(("tenant" = i32, Path)), request_body = Settings, responses((status = 200, body = schema::Tenant), (status = "4XX", body = Problem)))]
pub async fn settings(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted = read::<Settings>(&body)?.change()?;
            let tenant = current(&cx, id, &headers).await?;
            change::change(&cx.console.db, &author(&cx)?.actor(), &tenant, &wanted).await?;
            changed(&cx, id).await
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

/// The tenant, in the state that `If-Match` names.
async fn current(cx: &Cx, id: TenantId, headers: &HeaderMap) -> PageResult<Tenant> {
    let tenant = load_tenant(cx, id).await?;
    check_if_match(headers, &tenant)?;
    Ok(tenant)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWatermark {
    to: DateTime<Utc>,
    /// Stored with the move
    reason: String,
    /// The tenant's name
    #[serde(default)]
    confirm: Option<String>,
}

/// Set the watermark of a tenant by hand
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/watermark", tag = "tenants", params(("tenant" = i32, Path)), request_body = NewWatermark, responses((status = 200, body = schema::Tenant), (status = "4XX", body = Problem)))]
pub async fn watermark(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: NewWatermark = read(&body)?;
            let tenant = current(&cx, id, &headers).await?;
            check_confirm(wanted.confirm.as_deref(), &tenant.name)?;
            check_sources(&cx)?;
            let (console, actor) = (&cx.console, author(&cx)?.actor());
            watermarks::set(
                &console.db,
                &console.sources,
                &actor,
                &tenant,
                wanted.to,
                &wanted.reason,
            )
            .await?;
            changed(&cx, id).await
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

/// Refuses what opens sessions on a source where this console opens none.
pub fn check_sources(cx: &Cx) -> PageResult<()> {
    if cx.console.settings.console.sources {
        return Ok(());
    }
    Err(PageError::Refused(
        "this console opens no sessions on sources: use the command line, or set console.sources".to_owned(),
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MapInboxes {
    inboxes: Vec<i32>,
    /// The tenant that has them now, where another has
    #[serde(default)]
    from_tenant: Option<i32>,
}

/// What was mapped.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mapped {
    tenant_id: i32,
    /// Inboxes that the tenant did not have before
    newly_mapped: u64,
    /// Inboxes that the source does not list at present
    unknown: Vec<i32>,
}

/// Map inboxes to a tenant
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/inboxes/map", tag = "tenants", params(("tenant" = i32, Path)), request_body = MapInboxes, responses((status = 200, body = Mapped), (status = "4XX", body = Problem)))]
pub async fn map(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: MapInboxes = read(&body)?;
            check_some(&wanted.inboxes)?;
            let (console, who) = (&cx.console, author(&cx)?);
            let from = wanted.from_tenant.map(TenantId);
            if from.is_some_and(|from| !who.sees(from)) {
                return Err(PageError::NotFound);
            }
            let tenant = current(&cx, id, &headers).await?;
            let sources = console.settings.console.sources.then(|| &*console.sources);
            let mapped =
                inboxes::map(&console.db, &who.actor(), sources, &tenant, wanted.inboxes, from).await?;
            let content = Mapped {
                tenant_id: id.0,
                newly_mapped: mapped.changed,
                unknown: mapped.unknown,
            };
            Ok(json(StatusCode::OK, &content, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

fn check_some(inboxes: &[i32]) -> PageResult<()> {
    if inboxes.is_empty() {
        return Err(PageError::Refused("no inbox is named: send `inboxes`".to_owned()));
    }
    Ok(())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnmapInboxes {
    inboxes: Vec<i32>,
    /// The tenant's name
    #[serde(default)]
    confirm: Option<String>,
}

/// Unmap inboxes: the next run marks their rows deleted
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/inboxes/unmap", tag = "tenants", params(("tenant" = i32, Path)), request_body = UnmapInboxes, responses((status = 200, body = schema::Unmapped), (status = "4XX", body = Problem)))]
pub async fn unmap(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: UnmapInboxes = read(&body)?;
            check_some(&wanted.inboxes)?;
            let tenant = current(&cx, id, &headers).await?;
            check_confirm(wanted.confirm.as_deref(), &tenant.name)?;
            let actor = author(&cx)?.actor();
            let unmapped = inboxes::unmap(&cx.console.db, &actor, &tenant, &wanted.inboxes).await?;
            Ok(json(StatusCode::OK, &unmapped, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    contact_id: i64,
    #[serde(default)]
    reason: Option<String>,
    /// The tenant's name
    #[serde(default)]
    confirm: Option<String>,
}

/// Remove a contact's conversations and texts for good
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/forget", tag = "tenants", params(("tenant" = i32, Path)), request_body = Forget, responses((status = 200, body = schema::Forgotten), (status = "4XX", body = Problem)))]
pub async fn forget(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Forget = read(&body)?;
            let tenant = current(&cx, id, &headers).await?;
            check_confirm(wanted.confirm.as_deref(), &tenant.name)?;
            let (db, actor) = (&cx.console.db, author(&cx)?.actor());
            let forgotten =
                forgetting::forget_contact(db, &actor, &tenant, wanted.contact_id, wanted.reason).await?;
            Ok(json(StatusCode::OK, &forgotten, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// The tenant's name
    #[serde(default)]
    confirm: Option<String>,
}

/// Remove a tenant for good; its rows stay
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/remove", tag = "tenants", params(("tenant" = i32, Path)), request_body = Remove, responses((status = 200, body = schema::Removed), (status = "4XX", body = Problem)))]
pub async fn remove(cx: Cx, Path(id): Path<TenantId>, headers: HeaderMap, body: Bytes) -> Response {
    let work = async {
        let outcome = async {
            let wanted: Remove = read(&body)?;
            let tenant = current(&cx, id, &headers).await?;
            check_confirm(wanted.confirm.as_deref(), &tenant.name)?;
            let removed = lifecycle::remove(&cx.console.db, &author(&cx)?.actor(), id).await?;
            Ok(json(StatusCode::OK, &removed, None))
        };
        respond(&cx, outcome.await)
    };
    once(&cx, &headers, &body, Box::pin(work)).await
}
