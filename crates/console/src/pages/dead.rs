//! Messages that were given up on. Listed on demand only: on RabbitMQ 4.0 to 4.2 a look counts as a return of each message.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_broker::{DeadFilter, Queue};
use tidemark_ledger as ledger;
use tidemark_ledger::chunk_report::ChunkFilter;
use tidemark_operations::bulk::BulkAction;
use tidemark_operations::dead_messages::{self, DeadMessages};
use tidemark_operations::lists;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::ChunkId;

use super::on_demand::Answered;
use super::run::chunk_table;
use crate::actions::bulk::chooser;
use crate::actions::button;
use crate::actions::form::go;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{command, empty, head, or_none, pager};
use crate::links::encode;

const LIMIT: usize = 200;

const CHUNKS: i64 = 100;

pub async fn page(cx: Cx, Query(query): Query<BTreeMap<String, String>>) -> Response {
    // messages belong to no tenant
    if !cx.who.as_ref().is_some_and(|who| who.sees_all()) {
        return PageError::NotFound.page(&cx);
    }
    let last = cx.console.on_demand.dead.lock().await.clone();
    let after = query.get("after").and_then(|id| id.parse().ok());
    let chunks = match chunks(&cx, after).await {
        Ok(chunks) => chunks,
        Err(error) => return error.page(&cx),
    };
    let p = &cx.t.pages;
    let body = html! {
        (head(p.dead, &html! { @if let Some(last) = &last { span.sub { (cx.t.common.as_of.replace("{time}", "")) (cx.time(last.at)) } } }))
        section {
            h2 { (p.dead_chunks) }
            (chunks)
            (command(&cx, "tidemark chunk list --status dead"))
        }
        h2 { (p.messages) }
        p.lead { (p.dead_lead) }
        div.toolbar {
            form.inline method="post" action=(cx.links.to("/dead/look")) {
                button.button.primary type="submit" disabled[cx.refusal(crate::auth::who::Right::Operate).is_some()] { (p.look) }
            }
            (button::dead(&cx, false))
            (button::dead(&cx, true))
        }
        @if let Some(last) = &last { (table(&cx, &last.answer)) } @else { (empty(p.not_looked)) }
        (command(&cx, "tidemark dead list"))
    };
    whole_page(&cx, Section::Dead, p.dead, &body).into_response()
}

/// Chunks that were given up on, from the ledger.
async fn chunks(cx: &Cx, after: Option<ChunkId>) -> PageResult<Markup> {
    let filter = ChunkFilter {
        statuses: vec![ChunkStatus::Dead],
        ..ChunkFilter::default()
    };
    let page = lists::chunks(&cx.console.db, &filter, after, CHUNKS).await?;
    let older = page.next.map(|chunk| {
        cx.links
            .to(&format!("/dead?after={}", encode(&chunk.to_string())))
    });
    let newest = after.map(|_| cx.links.to("/dead"));
    Ok(html! {
        @if page.items.is_empty() { (empty(cx.t.common.nothing_here)) }
        @else {
            (chunk_table(cx, &page.items, true))
            (pager(cx, newest.as_deref(), older.as_deref()))
            (chooser(cx, &[BulkAction::ChunkRetry], &[], "/dead"))
        }
    })
}

fn table(cx: &Cx, dead: &DeadMessages) -> Markup {
    let p = &cx.t.pages;
    if dead.messages.is_empty() {
        return empty(p.no_dead);
    }
    html! {
        p { (p.messages_in_all.replace("{count}", &cx.count(dead.total.into()))) }
        div.scroll tabindex="0" role="region" aria-label=(p.dead) {
            table.stack {
                thead { tr { th.number scope="col" { (p.messages) } th scope="col" { (cx.t.common.reason) } th scope="col" { (p.queue) } th scope="col" { (p.chunk) } th scope="col" { (p.oldest) } th scope="col" { (p.newest) } th.number scope="col" { (p.bytes) } } }
                tbody { @for group in &dead.messages {
                    tr {
                        td.number data-label=(p.messages) { (group.count) }
                        td.wide data-label=(cx.t.common.reason) { (group.message.reason) }
                        td data-label=(p.queue) { (or_none(group.message.queue.as_deref())) }
                        td data-label=(p.chunk) { @if let Some(job) = &group.message.job { a.id href=(cx.links.run(job.chunk().run_id)) { (job.chunk()) } } @else { "–" } }
                        td data-label=(p.oldest) { (cx.maybe_time(group.message.since)) }
                        td data-label=(p.newest) { (cx.maybe_time(group.newest_at)) }
                        td.number data-label=(p.bytes) { (group.message.bytes) }
                    }
                } }
            }
        }
    }
}

/// Lists them now.
pub async fn look(cx: Cx) -> Response {
    if !cx.who.as_ref().is_some_and(|who| who.sees_all()) {
        return PageError::NotFound.page(&cx);
    }
    match ask(&cx).await {
        Ok(()) => go(&cx, "/dead", ""),
        Err(error) => error.page(&cx),
    }
}

async fn ask(cx: &Cx) -> PageResult<()> {
    let mut last = cx.console.on_demand.dead.lock().await;
    let rabbit = (cx.console.rabbit)().map_err(|error| PageError::Refused(cx.t.broker_not_set(&error)))?;
    let listed = dead_messages::list(&rabbit, LIMIT, &DeadFilter::default()).await;
    rabbit.close().await;
    *last = Some(Answered {
        answer: Arc::new(listed?),
        at: ledger::console::view::now(&cx.console.db).await?,
    });
    Ok(())
}
