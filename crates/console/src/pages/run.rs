//! One run: its progress, its chunks, its sums, its error, and how to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use tidemark_ledger::chunk_report::{ChunkFilter, ChunkReport};
use tidemark_ledger::console::view::LongChunk;
use tidemark_operations::lists;
use tidemark_operations::page::Page;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId};
use tidemark_shared::run::RunReport;

use super::overview::share;
use super::tenants::misses_process;
use crate::actions::bulk::tick;
use crate::actions::button;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::charts::{grid, span_of};
use crate::html::layout::{Section, live_page_with};
use crate::html::parts::{
    Tone, badge, bar, command, empty, fact_rows, head, or_none, quantity, run_badge, tenant_link,
};
use crate::watch::snapshot::{RunView, SLOWEST, Snapshot, load_run};

const A_PAGE: i64 = 50;

pub async fn page(cx: Cx, Path(id): Path<RunId>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    match build(cx.clone(), id, &query).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, id: RunId, query: &BTreeMap<String, String>) -> PageResult<Markup> {
    let console = &cx.console;
    let look = console.watcher.look().await?;
    let view = match look
        .snapshot
        .runs
        .get(&id)
        .filter(|_| !look.is_away || cx.console.watcher.interest.is_any())
    {
        Some(view) => view.clone(),
        None => load_run(&console.db, &console.settings, id)
            .await?
            .ok_or(PageError::NotFound)?,
    };
    let tenant = view.report.tenant_id;
    if !cx.who.as_ref().is_some_and(|who| who.sees(tenant)) {
        return Err(PageError::NotFound);
    }
    let zone = look
        .snapshot
        .tenants
        .get(&tenant)
        .map(|tenant| tenant.timezone.clone());
    let cx = cx.about(zone.as_deref().unwrap_or("UTC")).at(look.now());
    let state = query
        .get("chunks")
        .and_then(|text| ChunkStatus::ALL.into_iter().find(|state| state.as_str() == text));
    let after = query.get("after").and_then(|seq| seq.parse().ok()).unwrap_or(0);
    let filter = ChunkFilter {
        run: Some(id),
        statuses: state.into_iter().collect(),
        ..ChunkFilter::default()
    };
    let from = Some(ChunkId {
        run_id: id,
        seq: after,
    });
    let chunks = lists::chunks(&cx.console.db, &filter, from, A_PAGE).await?;
    let live = live(&cx, &look.snapshot, &view);
    let below = chunk_list(&cx, id, state, after, &chunks);
    let title = format!("{} {id}", cx.t.pages.run);
    Ok(live_page_with(&cx, Section::Runs, &title, &look, &live, &below))
}

pub fn live(cx: &Cx, snapshot: &Snapshot, view: &RunView) -> Markup {
    let (p, run) = (&cx.t.pages, &view.report);
    let held_by = snapshot
        .tenant(run.tenant_id)
        .filter(|tenant| !run.status.is_terminal() && !misses_process(tenant))
        .and_then(|tenant| tenant.blocker.as_ref());
    html! {
        (head(&format!("{} {}", p.run, run.run_id), &html! {
            (run_badge(cx, run.status)) " " span.sub { (cx.t.run_type(run.run_type)) }
        }))
        @if let Some(error) = &run.error {
            div.banner.bad { strong { (cx.t.states.error) } " · " (error) }
        }
        @for warning in &run.warnings { div.banner.warn { (warning) } }
        div.toolbar role="group" aria-label=(p.actions) {
            @if run.status.is_terminal() { (button::retry_run(cx, run.run_id)) } @else { (button::cancel_run(cx, run.run_id)) }
            @if let Some(link) = run.trace_id.as_ref().and_then(|trace| cx.console.settings.trace_link(trace)) {
                a.button href=(link) rel="noreferrer" { (p.trace) }
            }
            // beside the buttons: a banner that comes and goes would move everything
            @if let Some(held_by) = held_by { span.held role="status" { strong { (p.held_by) } " · " (cx.t.held_by(&held_by.held_by)) } }
        }
        div.split {
            div.content {
                (advance(cx, view))
                (sums(cx, run))
                (slowest(cx, view))
                @if !run.signals.is_empty() {
                    section.card { h2 { (p.signals) }
                        ul.plain-list { @for (signal, hits) in &run.signals { li { code { (signal) } " " span.number { (cx.count(*hits)) } } } }
                    }
                }
            }
            section.card { h2 { (p.details) } (about(cx, snapshot, view)) }
        }
        (command(cx, &format!("tidemark run show {}", run.run_id)))
    }
}

/// How far the run is, in words, as a bar while it is open, and chunk by chunk.
fn advance(cx: &Cx, view: &RunView) -> Markup {
    let (p, run) = (&cx.t.pages, &view.report);
    let open = view.progress.as_ref().filter(|_| !run.status.is_terminal());
    let none = || "–".to_owned();
    html! {
        section.card {
            header.head { h2 { (p.progress) } span.sub { (grid_title(cx, run)) } }
            // everything has its place before it is known and after the end, so that nothing below moves
            @if run.chunks.total > 0 {
                div.progress-line {
                    @if let Some(progress) = open {
                        (bar(p.progress, progress.keys_ended, progress.keys_total))
                        span { span.number { (progress.pace.map_or_else(none, |pace| cx.t.decimal(pace.rows_per_second))) } " " (p.rows_per_second.to_lowercase()) }
                        span { (p.eta) " " span.number { (progress.pace.and_then(|pace| pace.eta_ms).map_or_else(none, |eta| cx.t.milliseconds(eta))) } }
                    } @else {
                        (bar(p.progress, run.chunks.done.into(), run.chunks.total.into()))
                        span { span.number { (rows_per_second(run).map_or_else(none, |pace| cx.t.decimal(pace))) } " " (p.rows_per_second.to_lowercase()) }
                        span { (p.took) " " span.number { (cx.t.milliseconds(run.duration_ms)) } }
                    }
                }
            }
            @if !view.grid.is_empty() { (grid(cx, &grid_title(cx, run), &view.grid, !run.status.is_terminal())) }
        }
    }
}

/// Of a run that has ended; `None` when it read nothing.
fn rows_per_second(run: &RunReport) -> Option<f64> {
    let rows = u32::try_from(run.records.extracted)
        .ok()
        .filter(|rows| *rows > 0)?;
    let took = u64::try_from(run.duration_ms).ok().filter(|took| *took > 0)?;
    Some(f64::from(rows) / Duration::from_millis(took).as_secs_f64())
}

/// The chunks that took longest, on the time between the first of them and the last.
fn slowest(cx: &Cx, view: &RunView) -> Markup {
    let p = &cx.t.pages;
    let now = cx.now.unwrap_or(view.report.requested_at);
    let ended = |chunk: &LongChunk| chunk.finished_at.unwrap_or(now);
    let begin = view.slowest.iter().map(|chunk| chunk.started_at).min();
    let end = view.slowest.iter().map(ended).max();
    let places = match view.report.status.is_terminal() {
        true => view.slowest.len(),
        false => usize::try_from(view.report.chunks.total.min(SLOWEST)).unwrap_or_default(),
    };
    if places == 0 {
        return html! {};
    }
    let (begin, end) = (begin.unwrap_or(now), end.unwrap_or(now));
    let since = |at: DateTime<Utc>| (at - begin).num_milliseconds();
    html! {
        section.card {
            h2 { (p.slowest_chunks) }
            table.gantt {
                thead { tr { th scope="col" { (p.chunk) } th.worker scope="col" { (p.worker) } th.when scope="col" { (p.over_the_run) } th.number scope="col" { (p.took) } } }
                tbody { @for chunk in &view.slowest {
                    @let state = chunk.status.as_str();
                    @let (from, to) = (since(chunk.started_at), since(ended(chunk)));
                    tr {
                        th scope="row" { (chunk.seq) }
                        td.worker { (or_none(chunk.worker_id.as_deref())) }
                        td.when { (span_of(from, to, since(end), Tone::of_chunk(state))) }
                        td.number { (cx.t.milliseconds(to - from)) @if chunk.status != ChunkStatus::Done { " " span.sub { (cx.t.chunk_state(state)) } } }
                    }
                }
                // the places of those to come
                @for _ in view.slowest.len()..places { tr aria-hidden="true" { td { "\u{a0}" } td.worker {} td.when {} td.number {} } } }
            }
        }
    }
}

fn grid_title(cx: &Cx, run: &RunReport) -> String {
    cx.t.pages
        .grid_title
        .replace("{done}", &cx.count(run.chunks.done.into()))
        .replace("{total}", &cx.count(run.chunks.total.into()))
        .replace("{dead}", &cx.count(run.chunks.dead.into()))
}

fn about(cx: &Cx, snapshot: &Snapshot, view: &RunView) -> Markup {
    let (p, run) = (&cx.t.pages, &view.report);
    let open = view.progress.as_ref().filter(|_| !run.status.is_terminal());
    html! {
        (fact_rows(&[
            (p.tenant, tenant_link(cx, run.tenant_id, snapshot.name(run.tenant_id))),
            (p.requested, cx.time(run.requested_at)),
            (p.by, html! { (run.triggered_by) }),
            (cx.t.common.reason, html! { (or_none(run.reason.as_deref())) }),
            (p.started, cx.maybe_time(run.started_at)),
            (p.finished, cx.maybe_time(run.finished_at)),
            (p.took, html! { (cx.t.milliseconds(run.duration_ms)) }),
            (p.watermark_from, cx.maybe_time(run.watermark_start)),
            (p.watermark_to, cx.maybe_time(run.watermark_end)),
            (p.share, open.map_or_else(|| html! { span.none { "–" } }, |progress| share(cx, &progress.source))),
            (p.failed_attempts, view.progress.as_ref().map_or_else(|| html! { "–" }, |progress| html! { (cx.count(progress.failed_attempts)) })),
            (p.lost_leases, view.progress.as_ref().map_or_else(|| html! { "–" }, |progress| html! { (cx.count(progress.lost_leases)) })),
        ]))
    }
}

/// `extracted = inserted + updated + unchanged + stale + rejected`, with the numbers.
fn sums(cx: &Cx, run: &RunReport) -> Markup {
    let (p, records) = (&cx.t.pages, &run.records);
    let parts = [
        (p.inserted, records.inserted),
        (p.updated, records.updated),
        (p.unchanged, records.unchanged),
        (p.stale, records.stale),
        (p.rejected, records.rejected),
    ];
    html! {
        section.card {
            h2 { (p.rows) }
            div.sum {
                div.term { span.value { (cx.count(records.extracted)) } span.label { (p.extracted) } }
                @for (index, (label, count)) in parts.iter().enumerate() {
                    span.sign aria-hidden="true" { @if index == 0 { "=" } @else { "+" } }
                    div.term { span.value { (cx.count(*count)) } span.label { (label) } }
                }
                div.term.apart { span.value { (cx.count(records.deleted)) } span.label { (p.deleted) } }
            }
        }
    }
}

fn chunk_list(
    cx: &Cx,
    id: RunId,
    state: Option<ChunkStatus>,
    after: i32,
    chunks: &Page<ChunkReport, ChunkId>,
) -> Markup {
    let p = &cx.t.pages;
    let link = |after: i32| {
        let state = state
            .map(|state| format!("&chunks={}", state.as_str()))
            .unwrap_or_default();
        format!("{}?after={after}{state}#chunks", cx.links.run(id))
    };
    let next = chunks.next.map(|chunk| link(chunk.seq));
    let first = (after > 0).then(|| link(0));
    html! {
        section #chunks {
            h2 { (p.chunks) }
            form.filters method="get" action=(cx.links.run(id)) data-auto {
                label.field { span { (p.status) } select name="chunks" {
                    option value="" { (cx.t.common.all) }
                    @for one in ChunkStatus::ALL { option value=(one.as_str()) selected[state == Some(one)] { (cx.t.chunk_state(one.as_str())) } }
                } }
                button type="submit" { (cx.t.common.filter) }
            }
            @if chunks.items.is_empty() { (empty(cx.t.common.nothing_here)) }
            @else {
                (chunk_table(cx, &chunks.items, false))
                nav.pager { @if let Some(first) = first { a.button href=(first) { (p.first_chunks) } } @if let Some(next) = next { a.button href=(next) rel="next" { (p.next_chunks) } } }
            }
        }
    }
}

/// Chunks with their outcome. `ticks`: to choose some.
pub fn chunk_table(cx: &Cx, chunks: &[ChunkReport], ticks: bool) -> Markup {
    let p = &cx.t.pages;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.chunks) {
            table.stack {
                thead { tr {
                    th scope="col" { (p.chunk) } th scope="col" { (p.status) } th.number scope="col" { (p.keys) } th.number scope="col" { (p.attempt) }
                    th scope="col" { (p.worker) } th scope="col" { (p.finished) } th.number scope="col" { (p.extracted) } th.number scope="col" { (p.rejected) }
                    th scope="col" { (cx.t.pages.error) } th scope="col" { span.hidden { (p.actions) } }
                } }
                tbody { @for chunk in chunks {
                    @let state = chunk.status.as_str();
                    tr {
                        th scope="row" { @if ticks { (tick(cx, &chunk.id().to_string(), &chunk.id().to_string())) a href=(cx.links.run(chunk.run_id)) { (chunk.id()) } } @else { (chunk.id()) } }
                        td data-label=(p.status) { (badge(Tone::of_chunk(state), cx.t.chunk_state(state))) }
                        td.number data-label=(p.keys) { (cx.count(chunk.key_count)) }
                        td.number data-label=(p.attempt) { (chunk.attempt) }
                        td data-label=(p.worker) { (or_none(chunk.worker_id.as_deref())) }
                        td data-label=(p.finished) { (cx.maybe_ago(chunk.finished_at)) }
                        td.number data-label=(p.extracted) { (quantity(cx, chunk.extracted)) }
                        td.number data-label=(p.rejected) { (quantity(cx, chunk.rejected)) }
                        td.wide data-label=(cx.t.pages.error) { (or_none(chunk.error.as_deref())) }
                        td { @if matches!(chunk.status, ChunkStatus::Dead | ChunkStatus::Cancelled) { (button::retry_chunk(cx, chunk.id())) } }
                    }
                } }
            }
        }
    }
}
