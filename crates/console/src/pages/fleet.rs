//! Processes, their versions, and the queues between them.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::context::Cx;
use crate::error::PageError;
use crate::html::layout::{Section, live_page};
use crate::html::parts::{command, empty, head, or_none};
use crate::watch::snapshot::Snapshot;

pub async fn page(cx: Cx) -> Response {
    let look = match cx.console.watcher.look().await {
        Ok(look) => look,
        Err(error) => return PageError::from(error).page(&cx),
    };
    let cx = cx.at(look.now());
    let content = content(&cx, &look.snapshot);
    live_page(&cx, Section::Fleet, cx.t.pages.fleet, &look, &content).into_response()
}

pub fn content(cx: &Cx, snapshot: &Snapshot) -> Markup {
    let p = &cx.t.pages;
    let processes = &snapshot.overview.processes;
    let mut versions: Vec<&str> = processes.iter().map(|process| process.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    html! {
        (head(p.fleet, &html! {}))
        @if versions.len() > 1 { div.banner.warn { (p.version_skew) " " (versions.join(", ")) } }
        section {
            h2 { (p.processes) }
            @if processes.is_empty() { (empty(p.no_processes)) }
            @else {
                div.scroll tabindex="0" role="region" aria-label=(p.processes) {
                    table.stack {
                        thead { tr { th scope="col" { (p.role) } th scope="col" { (p.instance) } th scope="col" { (p.version) } th scope="col" { (p.started) } th scope="col" { (p.seen) } th scope="col" { (p.address) } th scope="col" { (p.state) } } }
                        tbody { @for process in processes {
                            tr {
                                th scope="row" { (process.role) }
                                td data-label=(p.instance) { (process.instance) }
                                td data-label=(p.version) { (process.version) }
                                td data-label=(p.started) { (cx.ago(process.started_at)) }
                                td data-label=(p.seen) { (cx.ago(process.last_seen_at)) }
                                td data-label=(p.address) { (or_none(process.http_address.as_deref())) }
                                td.wide data-label=(p.state) { @if let Some(doing) = &process.doing { (doing) } @else { (cx.t.states.ok) } }
                            }
                        } }
                    }
                }
            }
        }
        section {
            h2 { (p.queues) }
            @match &snapshot.queues {
                None => (empty(cx.t.common.broker_away)),
                Some(queues) => {
                    div.scroll tabindex="0" role="region" aria-label=(p.queues) {
                        table {
                            thead { tr { th scope="col" { (p.queue) } th.number scope="col" { (p.messages) } th.number scope="col" { (p.consumers) } } }
                            tbody { @for queue in queues {
                                tr { th scope="row" { (queue.queue) } td.number { (cx.count(queue.messages.into())) } td.number { (cx.count(queue.consumers.into())) } }
                            } }
                        }
                    }
                }
            }
        }
        (command(cx, "tidemark status"))
    }
}
