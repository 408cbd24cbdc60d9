//! Every route of the console, and what all of them pass through.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::auth::who::Right;
use crate::console::Console;
use crate::context::Cx;
use crate::error::PageError;
use crate::routes::{BODY_LIMIT, RouteReport, Routes, check};
use crate::{actions, api, assets, headers, live, origin, pages, tenant_page};

fn all(console: &Arc<Console>) -> Routes {
    let routes = Routes::new(console);
    api::add(actions::add(tenant_page::add(pages::add(routes))))
        .get("/assets/{file}", Right::Public, assets::serve)
        .get("/events", Right::View, live::stream)
}

/// Every route, for the tests that try each with every role.
#[must_use]
pub fn routes(console: &Arc<Console>) -> Vec<RouteReport> {
    all(console).list
}

/// The whole application, below its prefix and without it: a proxy in front may strip the prefix or keep it.
pub(crate) fn router(console: &Arc<Console>) -> Router {
    let fallback = from_fn_with_state((Arc::clone(console), Right::View), check);
    let inner = all(console)
        .router
        .fallback(get(not_found).layer(fallback))
        .with_state(Arc::clone(console));
    let prefix = &console.settings.console.path_prefix;
    let router = match prefix.as_str() {
        "" => inner,
        prefix => Router::new().nest(prefix, inner.clone()).fallback_service(inner),
    };
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(console), origin::check))
        .layer(from_fn_with_state(Arc::clone(console), crate::metrics::observe))
        .layer(from_fn(headers::add))
}

async fn not_found(cx: Cx) -> Response {
    if cx.here.starts_with("/api/") {
        return api::problem::of(&PageError::NotFound, &cx).into_response();
    }
    PageError::NotFound.page(&cx)
}
