//! Is it well? Numbers that link, what needs somebody, and the runs that are open.

use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use maud::{Markup, html};

use super::needs;
use crate::context::Cx;
use crate::error::PageError;
use crate::html::charts::{Column, histogram, line_chart};
use crate::html::layout::{Section, live_page};
use crate::html::parts::{Tone, bar, empty, head, run_badge, run_link, tenant_link};
use crate::watch::snapshot::{DEAD_CHUNKS, Snapshot};

/// Open runs on the first page; the others are among the runs.
const RUNS: usize = 10;

pub async fn page(cx: Cx) -> Response {
    let look = match cx.console.watcher.look().await {
        Ok(look) => look,
        Err(error) => return PageError::from(error).page(&cx),
    };
    let cx = cx.at(look.now());
    let content = content(&cx, &look.snapshot);
    live_page(&cx, Section::Overview, cx.t.pages.overview, &look, &content).into_response()
}

pub fn content(cx: &Cx, snapshot: &Snapshot) -> Markup {
    let p = &cx.t.pages;
    if snapshot.tenants.is_empty() {
        return begin(cx);
    }
    html! {
        (head(p.overview, &html! { span.sub { (cx.t.common.as_of.replace("{time}", "")) (cx.time(snapshot.at)) } }))
        (numbers(cx, snapshot))
        div.columns {
            section.card {
                h2 title=(p.freshness_note) { (p.freshness) }
                (histogram(cx, p.freshness, &freshness(cx, snapshot)))
            }
            section.card { (line_chart(cx, p.rows_per_second, p.no_rows_in_hour, &[("rows_per_second", p.rows_per_second, Tone::Active)])) }
            section.card { (line_chart(cx, p.chunks, p.no_chunks_in_hour, &[("pending", cx.t.states.pending, Tone::Quiet), ("queued", cx.t.states.queued, Tone::Warn), ("running", cx.t.states.running, Tone::Active)])) }
        }
        section.needs {
            h2 { (p.needs_you) }
            (needs::list(cx, snapshot))
        }
        section {
            h2 { (p.open_runs) }
            (open_runs(cx, snapshot, RUNS))
        }
    }
}

/// The three commands to begin with.
fn begin(cx: &Cx) -> Markup {
    let p = &cx.t.pages;
    html! {
        (head(p.overview, &html! {}))
        div.card.alone {
            h2 { (p.begin) }
            p { (p.begin_text) }
            ol.steps {
                li { (crate::html::parts::code_line(cx, "tidemark tenant add --id 1 --name NAME --account-id ACCOUNT")) }
                li { (crate::html::parts::code_line(cx, "tidemark up")) }
                li { (crate::html::parts::code_line(cx, "tidemark sync --tenant 1")) }
            }
        }
    }
}

fn numbers(cx: &Cx, snapshot: &Snapshot) -> Markup {
    let p = &cx.t.pages;
    let seen = |id| cx.who.as_ref().is_some_and(|who| who.sees(id));
    let tenants = || {
        snapshot
            .overview
            .tenants
            .iter()
            .filter(|tenant| seen(tenant.tenant_id))
    };
    let late = tenants()
        .filter(|tenant| tenant.late && !is_stopped(snapshot, tenant.tenant_id))
        .count();
    let fenced = snapshot
        .overview
        .sources
        .iter()
        .filter(|source| source.watch.error.is_some())
        .count();
    let dead = snapshot
        .dead_chunks
        .iter()
        .filter(|chunk| seen(chunk.tenant_id))
        .count();
    let rejects: i64 = snapshot
        .rejects
        .iter()
        .filter(|(id, _)| seen(**id))
        .map(|(_, count)| count)
        .sum();
    let count = |number: usize| cx.count(i64::try_from(number).unwrap_or(i64::MAX));
    let dead_text = match i64::try_from(dead).is_ok_and(|dead| dead >= DEAD_CHUNKS) {
        true => cx.t.common.at_least.replace("{count}", &count(dead)),
        false => count(dead),
    };
    html! {
        ul.numbers {
            (number(&cx.links.to("/tenants"), p.tenants, &count(tenants().count()), Tone::Quiet))
            (number(&cx.links.to("/tenants?state=late"), p.late_tenants, &count(late), tone(late > 0, Tone::Warn)))
            (number(&cx.links.to("/sources"), p.sources_away, &count(fenced), tone(fenced > 0, Tone::Bad)))
            (number(&cx.links.to("/runs?status=failed"), p.dead_chunks, &dead_text, tone(dead > 0, Tone::Bad)))
            (number(&cx.links.to("/rejects"), p.rejects, &cx.count(rejects), tone(rejects > 0, Tone::Warn)))
        }
    }
}

fn is_stopped(snapshot: &Snapshot, id: tidemark_shared::ids::TenantId) -> bool {
    snapshot.tenants.get(&id).is_none_or(|tenant| !tenant.may_run())
}

const fn tone(is_set: bool, tone: Tone) -> Tone {
    if is_set { tone } else { Tone::Good }
}

fn number(link: &str, label: &str, value: &str, tone: Tone) -> Markup {
    html! {
        li { a class={ "tile " (tone.class()) } href=(link) { span.value { (value) } span.label { (label) } } }
    }
}

/// Tenants by how far behind they are. One that was never synced is in none of these.
fn freshness(cx: &Cx, snapshot: &Snapshot) -> Vec<Column> {
    let p = &cx.t.pages;
    let limits = [
        ("1\u{a0}m", TimeDelta::minutes(1), Tone::Good),
        ("5\u{a0}m", TimeDelta::minutes(5), Tone::Good),
        ("15\u{a0}m", TimeDelta::minutes(15), Tone::Warn),
        ("1\u{a0}h", TimeDelta::hours(1), Tone::Warn),
    ];
    let seen = |id| cx.who.as_ref().is_some_and(|who| who.sees(id));
    let mut counts = [0_i64; 6];
    for tenant in snapshot
        .overview
        .tenants
        .iter()
        .filter(|tenant| seen(tenant.tenant_id))
    {
        let place = match tenant.behind_ms {
            None => 5,
            Some(behind) => {
                let within = limits
                    .iter()
                    .position(|(_, limit, _)| behind < limit.num_milliseconds());
                within.unwrap_or(4)
            }
        };
        counts[place] += 1;
    }
    let mut columns: Vec<Column> = limits
        .iter()
        .zip(counts)
        .map(|((name, _, tone), count)| Column {
            label: format!("<{name}"),
            count,
            tone: *tone,
            link: cx.links.to("/tenants?sort=behind"),
        })
        .collect();
    columns.push(Column {
        label: p.worse.to_owned(),
        count: counts[4],
        tone: Tone::Bad,
        link: cx.links.to("/tenants?sort=behind"),
    });
    columns.push(Column {
        label: cx.t.states.never_synced.to_owned(),
        count: counts[5],
        tone: Tone::Quiet,
        link: cx.links.to("/tenants?state=never"),
    });
    columns
}

/// Open runs with their pace.
pub fn open_runs(cx: &Cx, snapshot: &Snapshot, most: usize) -> Markup {
    let p = &cx.t.pages;
    let seen: Vec<_> = snapshot
        .open_runs
        .iter()
        .filter(|run| cx.who.as_ref().is_some_and(|who| who.sees(run.report.tenant_id)))
        .collect();
    if seen.is_empty() {
        return empty(p.no_open_runs);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.open_runs) {
            table {
                thead { tr {
                    th scope="col" { (p.run) } th scope="col" { (p.tenant) } th scope="col" { (p.kind) } th scope="col" { (p.status) }
                    th scope="col" { (p.progress) } th.number scope="col" { (p.rows_per_second) } th.number scope="col" { (p.eta) }
                    th scope="col" { (p.share) }
                } }
                tbody {
                    @for view in seen.iter().take(most) {
                        @let run = &view.report;
                        tr id={ "run-" (run.run_id) } {
                            td { (run_link(cx, run.run_id)) }
                            td.name { (tenant_link(cx, run.tenant_id, snapshot.name(run.tenant_id))) }
                            td { (cx.t.run_type(run.run_type)) }
                            td { (run_badge(cx, run.status)) }
                            @match &view.progress {
                                Some(progress) => {
                                    td { (bar(p.progress, progress.keys_ended, progress.keys_total)) }
                                    td.number { @if let Some(pace) = progress.pace { (cx.t.decimal(pace.rows_per_second)) } @else { "–" } }
                                    td.number { @if let Some(eta) = progress.pace.and_then(|pace| pace.eta_ms) { (cx.t.milliseconds(eta)) } @else { "–" } }
                                    td { (share(cx, &progress.source)) }
                                }
                                None => { td { "–" } td.number { "–" } td.number { "–" } td { "–" } }
                            }
                        }
                    }
                }
            }
        }
        @if seen.len() > most { p { a href=(cx.links.to("/runs")) { (p.all_runs) } } }
    }
}

/// How much of its source's limit a run takes.
pub fn share(cx: &Cx, share: &tidemark_shared::progress::SourceShare) -> Markup {
    let limit = share.max_in_flight.map(|limit| cx.count(limit.into()));
    html! {
        span.nowrap {
            (cx.count(share.run_in_flight)) " / " (cx.count(share.in_flight))
            @if let Some(limit) = limit { " / " (limit) }
        }
        " " span.sub { (share.name) }
    }
}
