//! Jobs: one action on many things, from the choice to the last item.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger::bulk::{Bulk, BulkItem};
use tidemark_operations::bulk::{self, BulkAction, BulkView, confirmation};

use crate::actions::form::{Given, reason_field};
use crate::actions::job::{TYPED_ABOVE, command as command_of, list_of, load};
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, live_page, page as whole_page};
use crate::html::parts::{
    Tone, badge, bar, command, empty, facts, head, or_none, pager, quantity, run_link, tenant_link,
};
use crate::watch::snapshot::Snapshot;

const A_PAGE: i64 = 50;

pub async fn list(cx: Cx, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let before = query.get("before").and_then(|id| id.parse().ok());
    match build_list(&cx, before).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build_list(cx: &Cx, before: Option<i64>) -> PageResult<Markup> {
    let b = &cx.t.bulk;
    let page = bulk::list(&cx.console.db, before, A_PAGE).await?;
    let mut shown = Vec::with_capacity(page.items.len());
    for one in page.items {
        match load(cx, one.id).await {
            Ok(_) => shown.push(one),
            Err(PageError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    let older = page.next.map(|id| cx.links.to(&format!("/bulk?before={id}")));
    let newest = before.map(|_| cx.links.to("/bulk"));
    let body = html! {
        (head(b.title, &html! {}))
        p.lead { (b.lead) }
        @if shown.is_empty() { (empty(cx.t.common.nothing_here)) } @else { (table(cx, &shown)) }
        (pager(cx, newest.as_deref(), older.as_deref()))
        (command(cx, "tidemark bulk list"))
    };
    Ok(whole_page(cx, Section::Bulk, b.title, &body))
}

fn table(cx: &Cx, jobs: &[Bulk]) -> Markup {
    let (b, p) = (&cx.t.bulk, &cx.t.pages);
    html! {
        div.scroll tabindex="0" role="region" aria-label=(b.title) {
            table.stack {
                thead { tr {
                    th scope="col" { (b.title) } th scope="col" { (p.status) } th.number scope="col" { (b.done) } th.number scope="col" { (b.skipped) }
                    th.number scope="col" { (b.failed) } th.number scope="col" { (b.left) } th scope="col" { (p.started) } th scope="col" { (p.by) }
                    th scope="col" { (cx.t.common.reason) }
                } }
                tbody { @for one in jobs { tr {
                    th scope="row" { a href=(cx.links.to(&format!("/bulk/{}", one.id))) { (title(cx, one)) } }
                    td data-label=(p.status) { (status(cx, one)) }
                    td.number data-label=(b.done) { (quantity(cx, one.done_count.into())) }
                    td.number data-label=(b.skipped) { (quantity(cx, one.skipped_count.into())) }
                    td.number data-label=(b.failed) { (quantity(cx, one.failed_count.into())) }
                    td.number data-label=(b.left) { (quantity(cx, one.left().into())) }
                    td data-label=(p.started) { (cx.maybe_time(one.started_at)) }
                    td data-label=(p.by) { (one.actor) }
                    td.wide data-label=(cx.t.common.reason) { (or_none(one.reason.as_deref())) }
                } } }
            }
        }
    }
}

fn title(cx: &Cx, bulk: &Bulk) -> String {
    match BulkAction::parse(&bulk.action) {
        Some(action) => cx.t.bulk_title(action, bulk.item_count.into()),
        None => bulk.action.clone(),
    }
}

fn status(cx: &Cx, bulk: &Bulk) -> Markup {
    let tone = match bulk.status.as_str() {
        "running" => Tone::Active,
        "done" if bulk.failed_count > 0 => Tone::Warn,
        "done" => Tone::Good,
        _ => Tone::Quiet,
    };
    badge(tone, cx.t.bulk_status(&bulk.status))
}

pub async fn page(cx: Cx, Path(id): Path<i64>) -> Response {
    match build(&cx, id).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: &Cx, id: i64) -> PageResult<Markup> {
    let found = load(cx, id).await?;
    if found.status == "prepared" {
        return confirm(cx, id, &BTreeMap::new(), None).await;
    }
    let look = cx.console.watcher.look().await?;
    let cx = cx.clone().at(look.now());
    let view = bulk::load_view(&cx.console.db, id).await?;
    let content = live(&cx, &look.snapshot, &view);
    Ok(live_page(
        &cx,
        Section::Bulk,
        &title(&cx, &found),
        &look,
        &content,
    ))
}

/// What would be done, before anything is.
pub async fn confirm(cx: &Cx, id: i64, given: &Given, error: Option<&str>) -> PageResult<Markup> {
    let found = load(cx, id).await?;
    let look = cx.console.watcher.look().await?;
    let view = bulk::load_view(&cx.console.db, id).await?;
    let action = BulkAction::parse(&found.action).ok_or(PageError::NotFound)?;
    let (b, left) = (&cx.t.bulk, found.left());
    let typed = (left > TYPED_ABOVE).then(|| confirmation(&found));
    let button = cx.t.bulk_title(action, left.into());
    let body = html! {
        (head(&button, &status(cx, &found)))
        @if let Some(error) = error { div.banner.bad role="alert" { (error) } }
        p { (cx.t.bulk_effect(action)) }
        p.note { (b.frozen) " " (b.discarded) }
        (numbers(cx, &view))
        @if left > 0 && found.status == "prepared" {
            form.act method="post" action=(cx.links.to(&format!("/bulk/{id}/do/start"))) {
                (reason_field(cx, given, action.needs_reason()))
                @if let Some(typed) = &typed {
                    label.field { span { (cx.t.actions.type_name.replace("{name}", typed)) } input type="text" name="confirm" required autocomplete="off"; }
                }
                div.buttons {
                    a.button href=(cx.links.to(list_of(action.subject()))) autofocus { (cx.t.common.cancel) }
                    button class={ "button " (if typed.is_some() { "danger" } else { "primary" }) } type="submit" { (button) }
                }
            }
        } @else {
            div.buttons { a.button href=(cx.links.to(list_of(action.subject()))) { (cx.t.common.cancel) } }
        }
        (items(cx, &look.snapshot, b.sample, &view.sample))
        (command(cx, &command_of(&found)))
    };
    Ok(whole_page(cx, Section::Bulk, &button, &body))
}

fn numbers(cx: &Cx, view: &BulkView) -> Markup {
    let (b, bulk) = (&cx.t.bulk, &view.bulk);
    let why = |skipped: &[bulk::Skipped]| {
        html! {
            (cx.count(bulk.skipped_count.into()))
            @for one in skipped { " · " span.sub { (cx.t.skipped_why(&one.why)) " " (cx.count(one.items)) } }
        }
    };
    let count = |number: i32| html! { span.number { (cx.count(number.into())) } };
    let mut rows = vec![(b.matched, count(bulk.item_count))];
    if bulk.object_count != bulk.item_count {
        rows.push((b.conversations, count(bulk.object_count)));
    }
    if bulk.status == "prepared" {
        rows.push((b.to_do, count(bulk.left())));
    } else {
        rows.push((b.done, count(bulk.done_count)));
        rows.push((b.failed, count(bulk.failed_count)));
        rows.push((b.left, count(bulk.left())));
    }
    rows.push((b.skipped, why(&view.skipped)));
    facts(&rows)
}

/// How far it is.
pub fn live(cx: &Cx, snapshot: &Snapshot, view: &BulkView) -> Markup {
    let (b, p, bulk) = (&cx.t.bulk, &cx.t.pages, &view.bulk);
    let ended = bulk.item_count - bulk.left();
    let is_running = bulk.status == "running";
    html! {
        (head(&title(cx, bulk), &status(cx, bulk)))
        section.card {
            div.progress-line { (bar(p.progress, ended.into(), bulk.item_count.into())) }
            (numbers(cx, view))
            (facts(&[
                (p.by, html! { (bulk.actor) }),
                (cx.t.common.reason, html! { (or_none(bulk.reason.as_deref())) }),
                (p.started, cx.maybe_time(bulk.started_at)),
                (p.finished, cx.maybe_time(bulk.finished_at)),
            ]))
            @if is_running {
                p.note { (b.takes_over) }
                form.inline method="post" action=(cx.links.to(&format!("/bulk/{}/do/stop", bulk.id))) {
                    button.button type="submit" disabled[cx.refusal(Right::Operate).is_some()] title=(format!("tidemark bulk stop {}", bulk.id)) { (b.stop) }
                }
            }
        }
        @if !view.failed.is_empty() { (items(cx, snapshot, b.failures, &view.failed)) }
        @if !is_running { (items(cx, snapshot, b.sample, &view.sample)) }
        (command(cx, &format!("tidemark bulk show {}", bulk.id)))
    }
}

fn items(cx: &Cx, snapshot: &Snapshot, title: &str, items: &[BulkItem]) -> Markup {
    let (b, p) = (&cx.t.bulk, &cx.t.pages);
    if items.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { (title) }
            div.scroll tabindex="0" role="region" aria-label=(title) {
                table.stack {
                    thead { tr { th scope="col" { (p.tenant) } th scope="col" { (p.run) } th.number scope="col" { (b.conversations) } th scope="col" { (b.new_run) } th scope="col" { (p.error) } } }
                    tbody { @for item in items { tr {
                        th scope="row" { (tenant_link(cx, item.tenant_id, snapshot.name(item.tenant_id))) }
                        td data-label=(p.run) { @match (item.run_id, item.chunk_seq) {
                            (Some(run), Some(seq)) => { (run_link(cx, run)) "/" (seq) },
                            (Some(run), None) => (run_link(cx, run)),
                            _ => span.none { "–" },
                        } }
                        td.number data-label=(b.conversations) { (quantity(cx, item.conversation_count.into())) }
                        td data-label=(b.new_run) { @match item.new_run_id { Some(run) => (run_link(cx, run)), None => span.none { "–" } } }
                        td.wide data-label=(p.error) { (or_none(item.error.as_deref())) }
                    } } }
                }
            }
        }
    }
}
