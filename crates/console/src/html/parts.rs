//! Small parts that several pages use.

use std::time::Duration;

use maud::{Markup, html};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunReport, RunStatus};

use crate::context::Cx;

/// The meaning of a colour. A word always stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Active,
    Warn,
    Bad,
    Quiet,
}

impl Tone {
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Active => "active",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }

    pub const fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Success => Self::Good,
            RunStatus::Requested | RunStatus::Planning | RunStatus::Running => Self::Active,
            RunStatus::Partial => Self::Warn,
            RunStatus::Failed => Self::Bad,
            RunStatus::Cancelled => Self::Quiet,
        }
    }

    pub fn of_chunk(state: &str) -> Self {
        match state {
            "done" => Self::Good,
            "running" => Self::Active,
            "retrying" => Self::Warn,
            "dead" => Self::Bad,
            _ => Self::Quiet,
        }
    }
}

pub fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (text) } }
}

pub fn run_badge(cx: &Cx, status: RunStatus) -> Markup {
    badge(Tone::of_run(status), cx.t.run_status(status))
}

pub fn run_link(cx: &Cx, id: RunId) -> Markup {
    html! { a.id href=(cx.links.run(id)) { (id) } }
}

pub fn tenant_link(cx: &Cx, id: TenantId, name: &str) -> Markup {
    html! { a href=(cx.links.tenant(id)) { (name) } " " span.sub { (id) } }
}

pub const fn none() -> &'static str {
    "–"
}

pub fn or_none(text: Option<&str>) -> Markup {
    match text {
        Some(text) => html! { (text) },
        None => html! { span.none { (none()) } },
    }
}

/// A heading with a number of things beside it.
pub fn head(title: &str, beside: &Markup) -> Markup {
    html! { header.head { h1 { (title) } div.beside { (beside) } } }
}

/// The same on the command line, ready to copy.
pub fn command(cx: &Cx, text: &str) -> Markup {
    html! {
        details.command {
            summary { (cx.t.common.command) }
            div.code { code { (text) } button.plain type="button" data-copy=(text) { (cx.t.common.copy) } }
        }
    }
}

/// A command that the text before it asks for.
pub fn code_line(cx: &Cx, text: &str) -> Markup {
    html! { div.code { code { (text) } button.plain type="button" data-copy=(text) { (cx.t.common.copy) } } }
}

pub fn empty(text: &str) -> Markup {
    html! { div.empty { p { (text) } } }
}

/// Nothing matches the filters of a list at `path`.
pub fn no_match(cx: &Cx, path: &str, filtered: bool) -> Markup {
    html! {
        div.empty {
            @if filtered {
                p { (cx.t.common.nothing_matches) }
                p { a.button href=(cx.links.to(path)) { (cx.t.common.clear_filters) } }
            } @else { p { (cx.t.common.nothing_here) } }
        }
    }
}

/// Newest and older: lists have no page numbers, because nobody counts a big table.
pub fn pager(cx: &Cx, newest: Option<&str>, older: Option<&str>) -> Markup {
    html! {
        @if newest.is_some() || older.is_some() {
            nav.pager aria-label=(cx.t.common.older) {
                @if let Some(link) = newest { a.button href=(link) { (cx.t.common.newer) } }
                @if let Some(link) = older { a.button href=(link) rel="next" { (cx.t.common.older) } }
            }
        }
    }
}

/// Done of all, with the percentage for those who do not see the bar.
pub fn bar(label: &str, done: i64, all: i64) -> Markup {
    let percent = if all > 0 {
        done.clamp(0, all) * 100 / all
    } else {
        0
    };
    html! {
        span.bar {
            progress max="100" value=(percent) aria-label=(label) { (percent) "%" }
            span.number { (percent) "%" }
        }
    }
}

/// The last run of a list in short: its kind and its state.
pub fn run_in_short(cx: &Cx, run: &RunReport) -> Markup {
    html! {
        (run_badge(cx, run.status)) " "
        a.id href=(cx.links.run(run.run_id)) { (run.run_id) }
        " " span.sub { (cx.t.run_type(run.run_type)) }
    }
}

/// A number in a table. A zero is quiet, so that the others are seen.
pub fn quantity(cx: &Cx, number: i64) -> Markup {
    html! { @if number == 0 { span.zero { "0" } } @else { (cx.count(number)) } }
}

/// A span of a setting in its largest whole unit: `90days` as in the settings.
pub fn whole_span(span: Duration) -> String {
    let seconds = span.as_secs();
    for (unit, length) in [("days", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= length && seconds.is_multiple_of(length) && span.subsec_nanos() == 0 {
            return format!("{}{unit}", seconds / length);
        }
    }
    humantime::format_duration(span).to_string()
}

/// Names and values, side by side.
pub fn facts(rows: &[(&str, Markup)]) -> Markup {
    fact_list("facts", rows)
}

/// Names of settings, as they are written.
pub fn setting_facts(rows: &[(&str, Markup)]) -> Markup {
    fact_list("facts names", rows)
}

/// Names left and values right, for a narrow column.
pub fn fact_rows(rows: &[(&str, Markup)]) -> Markup {
    fact_list("facts rows", rows)
}

fn fact_list(class: &str, rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl class=(class) {
            @for (name, value) in rows { div { dt { (name) } dd { (value) } } }
        }
    }
}
