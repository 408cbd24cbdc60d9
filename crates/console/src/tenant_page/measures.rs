//! The measures of a span, each against the span before, and who waits now.

use maud::{Markup, html};
use tidemark_ledger::tenant_page::numbers::Tally;

use super::charts::Behind;
use super::numbers::Numbers;
use super::words;
use crate::context::Cx;
use crate::html::parts::none;

/// A number with what it was before.
struct Measure {
    label: &'static str,
    value: String,
    note: Option<String>,
    change: Option<String>,
    link: String,
}

fn measure(cx: &Cx, measure: &Measure) -> Markup {
    html! {
        a.tile href=(measure.link) {
            span.label { (measure.label) }
            span.value { (measure.value) }
            span.delta { (measure.change.as_deref().unwrap_or(cx.t.visit.no_comparison)) }
            @if let Some(note) = &measure.note { span.delta { (note) } }
        }
    }
}

/// A change with its sign: `+12.5 %`.
fn signed(cx: &Cx, change: f64, unit: &str) -> String {
    let sign = if change < -0.049 {
        "−"
    } else if change > 0.049 {
        "+"
    } else {
        "±"
    };
    format!("{sign}{} {unit}", cx.t.decimal(change.abs()))
        .trim_end()
        .to_owned()
}

fn against(cx: &Cx, change: &str, before: &str) -> String {
    format!("{change} · {}", cx.t.visit.before.replace("{value}", before))
}

/// A count or a duration against the one before, in percent.
fn relative(cx: &Cx, now: f64, before: f64, text: &str) -> Option<String> {
    (before > 0.0).then(|| against(cx, &signed(cx, (now - before) * 100.0 / before, "%"), text))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of conversations for a percentage"
)]
fn count_change(cx: &Cx, now: i64, before: i64) -> Option<String> {
    relative(cx, now as f64, before as f64, &cx.count(before))
}

fn share_change(cx: &Cx, now: (i64, i64), before: (i64, i64)) -> Option<String> {
    let (now, then) = (words::share(now.0, now.1)?, words::share(before.0, before.1)?);
    let change = cx.t.visit.points.replace("{points}", &signed(cx, now - then, ""));
    Some(against(cx, &change, &words::percent(cx, before.0, before.1)?))
}

fn seconds_change(cx: &Cx, now: Option<f64>, before: Option<f64>) -> Option<String> {
    let before = before?;
    relative(cx, now?, before, &words::seconds(cx, before))
}

/// All measures of a span.
pub fn all(cx: &Cx, numbers: &Numbers, behind: &Behind<'_>) -> Markup {
    let text = &cx.t.visit;
    let (now, before) = (&numbers.span, &numbers.before);
    let (tally, then) = (now.tally, before.tally);
    let list = |of: &str| behind.asked.link(&behind.list, &[("of", Some(of.to_owned()))]);
    let all = [
        Measure {
            label: text.conversations,
            value: cx.count(tally.conversations),
            note: None,
            change: count_change(cx, tally.conversations, then.conversations),
            link: behind.asked.link(&behind.list, &[]),
        },
        Measure {
            label: text.contacts,
            value: cx.count(now.totals.contacts),
            note: None,
            change: count_change(cx, now.totals.contacts, before.totals.contacts),
            link: list("contacts"),
        },
        Measure {
            label: text.resolved_share,
            value: words::percent(cx, tally.resolved, tally.conversations).unwrap_or_default(),
            note: None,
            change: share_change(
                cx,
                (tally.resolved, tally.conversations),
                (then.resolved, then.conversations),
            ),
            link: list("resolved"),
        },
        Measure {
            label: text.unanswered,
            value: words::percent(cx, tally.unanswered, tally.conversations).unwrap_or_default(),
            note: None,
            change: share_change(
                cx,
                (tally.unanswered, tally.conversations),
                (then.unanswered, then.conversations),
            ),
            link: list("unanswered"),
        },
        Measure {
            label: text.first_response_median,
            value: now
                .totals
                .response_median
                .map_or_else(|| none().to_owned(), |one| words::seconds(cx, one)),
            note: None,
            change: seconds_change(cx, now.totals.response_median, before.totals.response_median),
            link: list("responded"),
        },
        Measure {
            label: text.first_response_p90,
            value: now
                .totals
                .response_p90
                .map_or_else(|| none().to_owned(), |one| words::seconds(cx, one)),
            note: None,
            change: seconds_change(cx, now.totals.response_p90, before.totals.response_p90),
            link: list("responded"),
        },
        rating(cx, tally, then, list("rated")),
    ];
    html! { div.numbers.measures { @for one in &all { (measure(cx, one)) } (waiting(cx, numbers, behind)) } }
}

fn rating(cx: &Cx, tally: Tally, then: Tally, link: String) -> Measure {
    let text = &cx.t.visit;
    let mean = words::mean(tally.rating_sum, tally.ratings);
    let before = words::mean(then.rating_sum, then.ratings);
    let shown = |mean: f64| text.rating_of.replace("{rating}", &cx.t.decimal(mean));
    let note = text
        .csat_note
        .replace("{count}", &cx.count(tally.ratings))
        .replace(
            "{share}",
            &words::percent(cx, tally.satisfied, tally.ratings).unwrap_or_default(),
        );
    Measure {
        label: text.csat,
        value: mean.map_or_else(|| none().to_owned(), shown),
        note: Some(if tally.ratings > 0 {
            note
        } else {
            text.csat_none.to_owned()
        }),
        change: mean
            .zip(before)
            .map(|(now, before)| against(cx, &signed(cx, now - before, ""), &shown(before))),
        link,
    }
}

/// How many wait now, and how long the longest.
pub fn waiting(cx: &Cx, numbers: &Numbers, behind: &Behind<'_>) -> Markup {
    let text = &cx.t.visit;
    let longest = numbers
        .waiting_since
        .zip(cx.now)
        .map(|(since, now)| text.waiting_longest.replace("{span}", &cx.t.span(now - since)));
    html! {
        a.tile href=(behind.asked.link(&behind.list, &[("of", Some("waiting".to_owned()))])) {
            span.label { (text.waiting) }
            span.value { (cx.count(numbers.waiting)) }
            span.delta { (longest.as_deref().unwrap_or(text.waiting_none)) }
        }
    }
}
