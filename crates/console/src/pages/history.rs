//! What happened to a tenant, newest first: from its runs, its watermark and the audit.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use tidemark_ledger::audit::Recorded;
use tidemark_ledger::watermark::Move;
use tidemark_shared::run::{RunReport, RunStatus};

use crate::context::Cx;
use crate::html::parts::{run_badge, run_link};

/// Lines of the timeline.
const LINES: usize = 12;

enum Event<'a> {
    Run(&'a RunReport),
    /// Scheduled runs in a row that succeeded, the newest first.
    Routine(&'a RunReport, usize),
    Moved(&'a Move),
    Acted(&'a Recorded),
}

/// Runs, watermark moves by hand and actions of people. Scheduled runs that succeeded one after the other are one line.
pub fn timeline(cx: &Cx, runs: &[RunReport], moves: &[Move], actions: &[Recorded]) -> Markup {
    // the scheduler moves it too, when nothing has changed
    let by_hand = moves
        .iter()
        .filter(|one| one.run_id.is_none() && one.actor.as_deref() != Some("scheduler"));
    // a requested run stands there as a run
    let actions = actions.iter().filter(|entry| entry.action != "run.request");
    let mut events: Vec<(DateTime<Utc>, Event<'_>)> = runs
        .iter()
        .map(|run| (run.requested_at, Event::Run(run)))
        .collect();
    events.extend(by_hand.map(|one| (one.moved_at, Event::Moved(one))));
    events.extend(actions.map(|entry| (entry.acted_at, Event::Acted(entry))));
    events.sort_by_key(|(at, _)| Reverse(*at));
    let lines = fold(events);
    html! {
        @if lines.is_empty() { p.sub { (cx.t.common.nothing_here) } }
        ol.timeline {
            @for (at, event) in lines.iter().take(LINES) {
                li { span.when { (cx.ago(*at)) } div { (line(cx, event)) } }
            }
        }
    }
}

fn is_routine(run: &RunReport) -> bool {
    run.status == RunStatus::Success && run.triggered_by == "scheduler"
}

fn fold(events: Vec<(DateTime<Utc>, Event<'_>)>) -> Vec<(DateTime<Utc>, Event<'_>)> {
    let mut lines: Vec<(DateTime<Utc>, Event<'_>)> = Vec::new();
    for (at, event) in events {
        match (lines.last_mut(), event) {
            (Some((_, Event::Routine(_, count))), Event::Run(run)) if is_routine(run) => *count += 1,
            (_, Event::Run(run)) if is_routine(run) => lines.push((at, Event::Routine(run, 1))),
            (_, event) => lines.push((at, event)),
        }
    }
    lines
}

fn line(cx: &Cx, event: &Event<'_>) -> Markup {
    let p = &cx.t.pages;
    html! {
        @match event {
            Event::Run(run) => {
                (run_badge(cx, run.status)) " " (p.run) " " (run_link(cx, run.run_id)) " · " (cx.t.run_type(run.run_type))
                div.sub { (run.triggered_by) @if let Some(reason) = &run.reason { " · " (reason) } }
            }
            Event::Routine(run, 1) => { (run_badge(cx, run.status)) " " (p.run) " " (run_link(cx, run.run_id)) " · " (cx.t.run_type(run.run_type)) }
            Event::Routine(run, count) => {
                (run_badge(cx, run.status)) " " (p.scheduled_runs.replace("{count}", &count.to_string()))
                " " (run_link(cx, run.run_id))
            }
            Event::Moved(one) => {
                (p.watermark) ": " (cx.maybe_time(one.old)) " → " (cx.maybe_time(one.new))
                div.sub { (one.actor.as_deref().unwrap_or_default()) @if let Some(reason) = &one.reason { " · " (reason) } }
            }
            Event::Acted(entry) => {
                (cx.t.act(&entry.action)) @if let Some(subject) = &entry.subject { " · " (subject) }
                div.sub { (entry.actor) @if let Some(reason) = &entry.reason { " · " (reason) } }
            }
        }
    }
}
