//! What happened to a tenant, newest first, and how far behind it was: from its runs, its watermark and the audit.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use tidemark_ledger::audit::Recorded;
use tidemark_ledger::watermark::Move;
use tidemark_shared::run::{RunReport, RunStatus};

use crate::context::Cx;
use crate::html::parts::{run_badge, run_link};

/// Lines of the timeline.
const LINES: usize = 12;
/// The chart's span, unless the tenant is younger.
const CHART: TimeDelta = TimeDelta::hours(24);
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;

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
                (entry.action) @if let Some(subject) = &entry.subject { " · " (subject) }
                div.sub { (entry.actor) @if let Some(reason) = &entry.reason { " · " (reason) } }
            }
        }
    }
}

/// One corner of the line: seconds since the chart's begin, and seconds behind.
type Corner = (f64, f64);

#[expect(clippy::cast_precision_loss, reason = "seconds of a day for a picture")]
fn seconds(span: TimeDelta) -> f64 {
    span.num_milliseconds() as f64 / 1_000.0
}

/// How far behind the watermark was: it grows with the clock and falls with each move.
fn corners(moves: &[Move], begin: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Corner> {
    let mut moves: Vec<&Move> = moves.iter().filter(|one| one.new.is_some()).collect();
    moves.sort_by_key(|one| one.moved_at);
    let mut corners = Vec::new();
    let mut watermark = None;
    let at =
        |when: DateTime<Utc>, mark: DateTime<Utc>| (seconds(when - begin), seconds(when - mark).max(0.0));
    for one in moves {
        if one.moved_at > begin {
            if let Some(mark) = watermark {
                if corners.is_empty() {
                    corners.push(at(begin, mark));
                }
                corners.push(at(one.moved_at, mark));
            }
            if let Some(new) = one.new {
                corners.push(at(one.moved_at, new));
            }
        }
        watermark = one.new;
    }
    if let Some(mark) = watermark {
        if corners.is_empty() {
            corners.push(at(begin, mark));
        }
        corners.push(at(now, mark));
    }
    corners
}

/// The last day, or the time since the first move if that is shorter.
pub fn behind(cx: &Cx, moves: &[Move], now: DateTime<Utc>) -> Markup {
    let p = &cx.t.pages;
    let first = moves.iter().map(|one| one.moved_at).min();
    let begin = first.unwrap_or(now).max(now - CHART);
    let corners = corners(moves, begin, now);
    let width = seconds(now - begin).max(1.0);
    let most = corners.iter().map(|(_, behind)| *behind).fold(1.0, f64::max);
    let points: Vec<String> = corners
        .iter()
        .map(|(x, y)| {
            format!(
                "{:.1},{:.1}",
                x / width * WIDTH,
                HEIGHT - y / most * (HEIGHT - 4.0)
            )
        })
        .collect();
    let (line, left) = (
        points.join(" "),
        corners.first().map_or(0.0, |(x, _)| x / width * WIDTH),
    );
    #[expect(clippy::cast_possible_truncation, reason = "a span of days")]
    let worst = cx.t.span(TimeDelta::seconds(most.ceil() as i64));
    let label = p.at_most_behind.replace("{span}", &worst);
    html! {
        figure.chart {
            figcaption { (p.behind_over_time) @if !corners.is_empty() { span.keys { (label) } } }
            @if corners.is_empty() { p.sub { (cx.t.states.never_synced) } }
            @else {
                div {
                    svg.over-time viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label={ (p.behind_over_time) ": " (label) } {
                        polygon.area points={ (format!("{left:.1},{HEIGHT}")) " " (line) " " (format!("{WIDTH},{HEIGHT}")) } {}
                        polyline.edge points=(line) {}
                    }
                    div.axis { (cx.ago(begin)) span { (p.now) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_shared::ids::RunId;

    use super::*;

    fn moved(at: i64, to: i64) -> Move {
        let time = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        Move {
            id: at,
            moved_at: time(at),
            old: None,
            new: Some(time(to)),
            run_id: Some(RunId(1)),
            actor: None,
            reason: None,
        }
    }

    #[test]
    fn the_lag_grows_with_the_clock_and_falls_with_each_move() {
        let time = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        // newest first, as the ledger lists them
        let moves = [moved(160, 155), moved(100, 90)];
        let found = corners(&moves, time(120), time(200));
        assert_eq!(found, vec![(0.0, 30.0), (40.0, 70.0), (40.0, 5.0), (80.0, 45.0)]);
    }

    #[test]
    fn a_tenant_without_a_watermark_has_no_line() {
        let now = DateTime::from_timestamp(100, 0).expect("a time");
        assert!(corners(&[], now, now).is_empty());
    }
}
