//! Every route of the console, and what all of them pass through.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
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
        .with_state(Arc::clone(console))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(console), origin::check))
        .layer(from_fn_with_state(Arc::clone(console), api::problem::complete))
        .layer(from_fn_with_state(Arc::clone(console), crate::metrics::observe))
        .layer(from_fn(headers::add));
    match console.settings.console.path_prefix.as_str() {
        "" => inner,
        _ => Router::new()
            .fallback_service(inner)
            .layer(from_fn_with_state(Arc::clone(console), strip_prefix)),
    }
}

/// Routes are found without the prefix.
async fn strip_prefix(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let whole = request.uri().path_and_query().map_or("/", |whole| whole.as_str());
    let rest = console.links.strip(whole);
    let rest = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    if let Ok(uri) = rest.parse() {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

async fn not_found(cx: Cx) -> Response {
    if cx.here.starts_with("/api/") {
        return api::problem::of(&PageError::NotFound, &cx).into_response();
    }
    PageError::NotFound.page(&cx)
}
