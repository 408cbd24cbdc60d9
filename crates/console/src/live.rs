//! The stream of one tab: the live part of its page, whenever it changes.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::auth::identify::{Stranger, identify};
use crate::auth::who::Who;
use crate::console::Console;
use crate::context::Cx;
use crate::error::PageError;
use crate::html::layout;
use crate::metrics::OpenStream;
use crate::pages::live::LivePage;
use crate::watch::trends::Trend;
use crate::watch::watcher::Look;

/// Proxies close connections that are silent for longer.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
pub struct Topic {
    /// Path and query of the page.
    page: String,
}

pub async fn stream(
    cx: Cx,
    State(console): State<Arc<Console>>,
    Extension(who): Extension<Who>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(topic): Query<Topic>,
) -> Response {
    let Some(page) = LivePage::parse(&topic.page, &who) else {
        return PageError::NotFound.page(&cx);
    };
    let mut extensions = Extensions::new();
    extensions.insert(ConnectInfo(peer));
    let events = async_stream::stream! {
        let _open = OpenStream::new();
        let mut looks = console.watcher.subscribe();
        // what others were sent last comes at once
        looks.mark_changed();
        let _looking = console.watcher.interest.look(page.run());
        let stop = console.lifecycle.soft().clone();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.tick().await;
        let mut sent = Sent::default();
        if page.has_charts() {
            yield Ok::<_, Infallible>(Event::default().event("charts").json_data(console.watcher.history()).unwrap_or_default());
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = looks.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let look = looks.borrow_and_update().clone();
                    let Some(look) = look else {
                        if console.watcher.is_failing() {
                            yield Ok(Event::default().event("away").data("1"));
                        }
                        continue;
                    };
                    let trend = page.trend(&cx, &look).await;
                    if let Some(html) = sent.changed(&cx, &page, &look, &trend) {
                        yield Ok(Event::default().data(html));
                    }
                    if page.has_charts() && !look.is_away && let Some(point) = console.watcher.history().last() {
                        yield Ok(Event::default().event("point").json_data(point).unwrap_or_default());
                    }
                }
                _ = heartbeat.tick() => {
                    // ends when the session is revoked, or when the user has other rights
                    match identify(&console, &headers, &extensions).await {
                        Ok(now) if now == who => {}
                        Err(Stranger::Ledger(_)) => {}
                        _ => break,
                    }
                    yield Ok(Event::default().comment("alive"));
                }
            }
        }
    };
    let mut response = Sse::new(events).into_response();
    response
        .headers_mut()
        .insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

/// What the tab shows already.
#[derive(Debug, Default)]
struct Sent {
    hash: Option<u64>,
}

impl Sent {
    /// The live part, if it is another than the tab has.
    fn changed(&mut self, cx: &Cx, page: &LivePage, look: &Look, trend: &Trend) -> Option<String> {
        let cx = cx.clone().at(look.now());
        let content = page.render(&cx, look, trend)?;
        let html = layout::live_content(&cx, look, &content).into_string();
        let mut hasher = DefaultHasher::new();
        html.hash(&mut hasher);
        let hash = hasher.finish();
        (self.hash.replace(hash) != Some(hash)).then_some(html)
    }
}
