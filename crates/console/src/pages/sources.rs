//! Sources: how far the fence is behind, who holds it, and how much of the limits is used.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use maud::{Markup, html};
use tidemark_operations::status::SourceOverview;
use tidemark_shared::fence::Holder;

use crate::actions::button;
use crate::context::Cx;
use crate::error::PageError;
use crate::html::charts::line_chart;
use crate::html::layout::{Section, live_page};
use crate::html::parts::{Tone, badge, command, empty, facts, head};
use crate::watch::snapshot::Snapshot;

pub async fn page(cx: Cx) -> Response {
    let look = match cx.console.watcher.look().await {
        Ok(look) => look,
        Err(error) => return PageError::from(error).page(&cx),
    };
    let cx = cx.at(look.now());
    let content = content(&cx, &look.snapshot);
    live_page(&cx, Section::Sources, cx.t.pages.sources, &look, &content).into_response()
}

pub fn content(cx: &Cx, snapshot: &Snapshot) -> Markup {
    let p = &cx.t.pages;
    let mut in_flight: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for tenant in &snapshot.overview.tenants {
        if let Some(about) = snapshot.tenants.get(&tenant.tenant_id) {
            let entry = in_flight.entry(&about.source).or_default();
            entry.0 += tenant.chunks_queued + tenant.chunks_running;
            entry.1 += 1;
        }
    }
    // a source has what several tenants share, so a scope sees only its own tenants' sources
    let seen = |name: &str| {
        let who = cx.who.as_ref();
        let mut tenants = snapshot.tenants.values().filter(|tenant| tenant.source == name);
        who.is_some_and(|who| who.sees_all() || tenants.any(|tenant| who.sees(tenant.id)))
    };
    let sources: Vec<_> = snapshot
        .overview
        .sources
        .iter()
        .filter(|source| seen(&source.watch.source))
        .collect();
    html! {
        (head(p.sources, &html! {}))
        @if sources.is_empty() { (empty(p.no_sources)) }
        @for source in &sources {
            @let name = source.watch.source.as_str();
            @let (chunks, tenants) = in_flight.get(name).copied().unwrap_or_default();
            (card(cx, source, chunks, tenants))
        }
        (command(cx, "tidemark status"))
    }
}

fn card(cx: &Cx, source: &SourceOverview, chunks: i64, tenants: i64) -> Markup {
    let (p, watch) = (&cx.t.pages, &source.watch);
    let name = watch.source.as_str();
    let limit = cx
        .console
        .settings
        .sources
        .get(name)
        .map(|settings| settings.max_in_flight);
    html! {
        section.card id={ "source-" (name) } {
            h2 { (name) " " @if watch.error.is_some() { (badge(Tone::Bad, cx.t.states.error)) } @else { (badge(Tone::Good, cx.t.states.ok)) } }
            @if let Some(error) = &watch.error {
                div.banner.bad { (error) @if let Some(since) = watch.failing_since { " · " (cx.lasting(since)) } }
            }
            (facts(&[
                (p.fence_lag, source.fence_lag_ms.map_or_else(|| html! { "–" }, |lag| html! { (cx.t.span(TimeDelta::milliseconds(lag))) })),
                (p.seen, cx.maybe_ago(watch.looked_at)),
                (p.fence, cx.maybe_time(watch.fence_at)),
                (p.oldest_writer, watch.holder.as_ref().map_or_else(|| html! { "–" }, |holder| writer(cx, &holder.0))),
                (p.in_flight, html! { (cx.count(chunks)) @if let Some(limit) = limit { " / " (cx.count(limit.into())) } }),
                (p.tenants, html! { a href=(cx.links.to(&format!("/tenants?source={}", crate::links::encode(name)))) { (cx.count(tenants)) } }),
            ]))
            (line_chart(cx, p.fence_lag_seconds, p.no_lag_in_hour, &[(&format!("fence:{name}"), p.fence_lag, Tone::Active)]))
            div.toolbar { (button::accept_restore(cx, name)) }
        }
    }
}

/// Who holds the fence, as far as the login may see it.
fn writer(cx: &Cx, holder: &Holder) -> Markup {
    html! {
        @match (holder.pid, &holder.prepared) {
            (Some(pid), _) => { "pid " (pid) },
            (None, Some(name)) => { (cx.t.pages.prepared) " " (name) },
            (None, None) => { "–" },
        }
        @for part in [&holder.user, &holder.application, &holder.state].into_iter().flatten().filter(|part| !part.is_empty()) { " · " (part) }
        @if let Some(since) = holder.since { " · " (cx.lasting(since)) }
    }
}
