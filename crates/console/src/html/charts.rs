//! Charts that the server draws: each has its numbers in words or in a table beside it.

use maud::{Markup, html};
use tidemark_ledger::console::view::GridCell;

use super::parts::Tone;
use crate::context::Cx;

/// A column of a histogram.
pub struct Column {
    pub label: String,
    pub count: i64,
    pub tone: Tone,
    pub link: String,
}

/// Columns with their counts, each a link.
pub fn histogram(cx: &Cx, title: &str, columns: &[Column]) -> Markup {
    const HEIGHT: i64 = 64;
    let most = columns
        .iter()
        .map(|column| column.count)
        .max()
        .unwrap_or_default()
        .max(1);
    html! {
        ol.histogram aria-label=(title) {
            @for column in columns {
                @let height = (column.count * HEIGHT + most - 1) / most;
                li {
                    a href=(column.link) {
                        svg viewBox={ "0 0 10 " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
                            rect class={ "fill " (column.tone.class()) } x="0" y=(HEIGHT - height) width="10" height=(height) {}
                        }
                        span.number { (cx.count(column.count)) }
                        span.label { (column.label) }
                    }
                }
            }
        }
    }
}

/// How long something took, beside the longest of its list. The number stands before it.
pub fn length(took: i64, longest: i64, tone: Tone) -> Markup {
    let width = took.clamp(0, longest.max(1)) * 100 / longest.max(1);
    html! {
        svg.bar-of viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect class={ "fill " (tone.class()) } width=(width.max(1)) height="4" rx="1" {}
        }
    }
}

/// When something was, on the axis of what it belongs to; milliseconds since the axis begins.
pub fn span_of(begin: i64, end: i64, all: i64, tone: Tone) -> Markup {
    let all = all.max(1);
    let place = |at: i64| at.clamp(0, all) * 1_000 / all;
    let (from, to) = (place(begin), place(end));
    html! {
        svg.span-of viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="1000" height="10" {}
            rect class={ "fill " (tone.class()) } x=(from.min(996)) width=((to - from).max(4)) height="10" {}
        }
    }
}

/// What the chunks of an open run come through.
const STEPS: [&str; 4] = ["done", "running", "queued", "pending"];

/// The chunks of a run, one cell each or several in one.
pub fn grid(cx: &Cx, title: &str, cells: &[GridCell], is_open: bool) -> Markup {
    let columns = columns(cells.len());
    let rows = cells.len().div_ceil(columns);
    let each = cells
        .iter()
        .map(|cell| cell.last - cell.first + 1)
        .max()
        .unwrap_or(1);
    let states = [
        "done",
        "running",
        "queued",
        "pending",
        "retrying",
        "dead",
        "cancelled",
    ];
    html! {
        figure.grid {
            svg viewBox={ "0 0 " (columns * 10) " " (rows * 10) } role="img" aria-label=(title) class={ "cells size-" (size(cells.len())) } {
                @for (index, cell) in cells.iter().enumerate() {
                    rect class={ "cell " (cell.state) } x=(index % columns * 10 + 1) y=(index / columns * 10 + 1) {
                        @if is_named(cells.len(), &cell.state) { title { (cell_title(cx, cell)) } }
                    }
                    // not by the colour alone
                    @if let Some(mark) = mark(&cell.state) {
                        path.mark transform={ "translate(" (index % columns * 10) " " (index / columns * 10) ")" } d=(mark) {}
                    }
                }
            }
            figcaption {
                ul.legend {
                    @for state in states {
                        @let count = cells.iter().filter(|cell| cell.state == state).count();
                        // an open run comes through these
                        @if count > 0 || is_open && STEPS.contains(&state) {
                            li { svg.swatch viewBox="0 0 10 10" aria-hidden="true" {
                                     rect class={ "cell " (state) } x="1" y="1" {}
                                     @if let Some(mark) = mark(state) { path.mark d=(mark) {} }
                                 }
                                 " " (cx.t.chunk_state(state)) @if each == 1 { " " span.number { (cx.count(i64::try_from(count).unwrap_or(i64::MAX))) } } }
                        }
                    }
                    @if each > 1 { li.sub { (cx.t.pages.chunks_a_cell.replace("{count}", &cx.count(each.into()))) } }
                }
            }
        }
    }
}

/// Of many cells only those have names that somebody looks for: names are most of the page.
fn is_named(cells: usize, state: &str) -> bool {
    cells <= 400 || !["done", "pending", "cancelled"].contains(&state)
}

/// A cross for what was given up, a stroke for what is tried again, a point for what runs.
fn mark(state: &str) -> Option<&'static str> {
    match state {
        "dead" => Some("M3.2 3.2l3.6 3.6m0 -3.6l-3.6 3.6"),
        "retrying" => Some("M3 5h4"),
        "running" => Some("M4.6 5h0.8"),
        _ => None,
    }
}

fn cell_title(cx: &Cx, cell: &GridCell) -> String {
    let state = cx.t.chunk_state(&cell.state);
    if cell.first == cell.last {
        format!("{}: {state}", cell.first)
    } else {
        format!("{}–{}: {state}", cell.first, cell.last)
    }
}

/// Few cells are drawn large, many small.
const fn columns(cells: usize) -> usize {
    match cells {
        ..=60 => 30,
        61..=400 => 50,
        _ => 80,
    }
}

const fn size(cells: usize) -> &'static str {
    match cells {
        ..=60 => "large",
        61..=400 => "medium",
        _ => "small",
    }
}

/// A place where our script draws a chart of the last hour. `series` are fields of a point.
///
/// `empty` stands there while everything is zero.
pub fn line_chart(cx: &Cx, title: &str, empty: &str, series: &[(&str, &str, Tone)]) -> Markup {
    let names: Vec<&str> = series.iter().map(|(field, _, _)| *field).collect();
    let tones: Vec<&str> = series.iter().map(|(_, _, tone)| tone.class()).collect();
    html! {
        figure.chart {
            figcaption {
                (title)
                @if series.len() > 1 {
                    span.keys { @for (_, label, tone) in series { span class={ "key " (tone.class()) } { (label) } } }
                }
            }
            div.plot hx-morph-skip data-series=(names.join(",")) data-tones=(tones.join(",")) data-zone=(cx.zone().name())
                data-empty=(empty) role="img" aria-label=(title) {}
        }
    }
}
