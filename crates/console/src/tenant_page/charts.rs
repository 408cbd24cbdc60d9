//! Charts of a tenant's page, drawn by the server. Each has its numbers in a table below it.

use maud::{Markup, html};

use super::filters::{Asked, HANDLERS};
use super::numbers::Numbers;
use super::words;
use crate::context::Cx;

/// Links from a chart to the conversations behind it.
pub struct Behind<'a> {
    pub asked: &'a Asked,
    /// The path of the list.
    pub list: String,
}

impl Behind<'_> {
    fn link(&self, changes: &[(&str, Option<String>)]) -> String {
        self.asked.link(&self.list, changes)
    }

    fn day(&self, day: chrono::NaiveDate, of: Option<&str>) -> String {
        let day = Some(day.to_string());
        let of = of.map(str::to_owned);
        self.link(&[("days", None), ("from", day.clone()), ("to", day), ("of", of)])
    }
}

/// A chart with its caption, and its numbers as a table that opens.
fn figure(cx: &Cx, title: &str, keys: &Markup, chart: &Markup, table: &Markup) -> Markup {
    html! {
        figure.chart {
            figcaption { h2 { (title) } (keys) }
            (chart)
            details { summary { (cx.t.visit.table) } div.scroll tabindex="0" role="region" aria-label=(title) { (table) } }
        }
    }
}

/// New conversations of each day: those that are resolved by now below, the others above.
pub fn days(cx: &Cx, numbers: &Numbers, behind: &Behind<'_>) -> Markup {
    const HEIGHT: i64 = 120;
    let visit = &cx.t.visit;
    let most = numbers
        .days
        .iter()
        .map(|(_, tally)| tally.conversations)
        .max()
        .unwrap_or_default()
        .max(1);
    let tall = |count: i64| (count * HEIGHT + most - 1) / most;
    let keys = html! {
        span.keys { span.key.good { (visit.resolved_part) } span.key.active { (visit.other_part) } }
    };
    let chart = html! {
        div.bars aria-hidden="true" {
            span.most { (cx.count(most)) }
            svg viewBox={ "0 0 " (numbers.days.len() * 10) " " (HEIGHT) } preserveAspectRatio="none" {
                @for (index, (day, tally)) in numbers.days.iter().enumerate() {
                    @let (all, done) = (tall(tally.conversations), tall(tally.resolved));
                    a href=(behind.day(*day, None)) tabindex="-1" {
                        title { (words::date(cx, *day)) ": " (cx.count(tally.conversations)) ", " (cx.count(tally.resolved)) " " (visit.resolved_part) }
                        rect.ground x=(index * 10) y="0" width="10" height=(HEIGHT) {}
                        rect.fill.active x=(index * 10 + 1) y=(HEIGHT - all) width="8" height=(all - done.min(all)) {}
                        rect.fill.good x=(index * 10 + 1) y=(HEIGHT - done.min(all)) width="8" height=(done.min(all)) {}
                    }
                }
            }
            div.axis {
                @for index in axis(numbers.days.len()) {
                    @if let Some((day, _)) = numbers.days.get(index) { span { (words::short_date(cx, *day)) } }
                }
            }
        }
    };
    let table = html! {
        table {
            thead { tr { th scope="col" { (visit.day) } th.number scope="col" { (visit.conversations) } th.number scope="col" { (visit.resolved_part) } th.number scope="col" { (visit.resolved_share) } } }
            tbody { @for (day, tally) in numbers.days.iter().rev() {
                tr {
                    th scope="row" { (words::date(cx, *day)) }
                    td.number { (linked(cx, tally.conversations, &behind.day(*day, None))) }
                    td.number { (linked(cx, tally.resolved, &behind.day(*day, Some("resolved")))) }
                    td.number { (words::percent(cx, tally.resolved, tally.conversations).unwrap_or_else(|| "–".to_owned())) }
                }
            } }
        }
    };
    figure(cx, visit.by_day, &keys, &chart, &table)
}

/// The days that the axis names: the first, the last, and some between.
fn axis(days: usize) -> Vec<usize> {
    match days {
        0..=1 => vec![0],
        2..=7 => (0..days).collect(),
        _ => (0..5).map(|step| (days - 1) * step / 4).collect(),
    }
}

/// A count that leads to its conversations. Nothing leads nowhere.
pub fn linked(cx: &Cx, count: i64, link: &str) -> Markup {
    html! { @if count == 0 { span.zero { "0" } } @else { a href=(link) { (cx.count(count)) } } }
}

/// Conversations that began in each hour of each weekday.
pub fn heat(cx: &Cx, numbers: &Numbers, behind: &Behind<'_>) -> Markup {
    const CELL: usize = 20;
    const LEFT: usize = 34;
    const TOP: usize = 18;
    let visit = &cx.t.visit;
    let names = words::weekdays(cx);
    let most = numbers
        .hours
        .iter()
        .flatten()
        .copied()
        .max()
        .unwrap_or_default()
        .max(1);
    // the week begins on Monday
    let week = [1, 2, 3, 4, 5, 6, 0];
    let link = |weekday: usize, hour: usize| {
        behind.link(&[
            ("weekday", Some(weekday.to_string())),
            ("hour", Some(hour.to_string())),
        ])
    };
    let chart = html! {
        svg.heat viewBox={ "0 0 " (LEFT + 24 * CELL) " " (TOP + 7 * CELL) } aria-hidden="true" {
            @for hour in (0..24).step_by(3) { text x=(LEFT + hour * CELL) y="11" { (hour) " h" } }
            @for (row, weekday) in week.into_iter().enumerate() {
                text x="0" y=(TOP + row * CELL + 14) { (names.get(weekday).copied().unwrap_or_default()) }
                @for (hour, count) in numbers.hours[weekday].iter().enumerate() {
                    a href=(link(weekday, hour)) tabindex="-1" {
                        title { (words::heat_cell(cx, weekday, hour, *count)) }
                        rect class={ "heat-" (level(*count, most)) } x=(LEFT + hour * CELL + 1) y=(TOP + row * CELL + 1) width=(CELL - 2) height=(CELL - 2) rx="3" {}
                    }
                }
            }
        }
    };
    let table = html! {
        table.dense {
            thead { tr { th scope="col" { (visit.weekday) } @for hour in 0..24 { th.number scope="col" { (hour) } } } }
            tbody { @for weekday in week {
                tr {
                    th scope="row" { (names.get(weekday).copied().unwrap_or_default()) }
                    @for (hour, count) in numbers.hours[weekday].iter().enumerate() { td.number { (linked(cx, *count, &link(weekday, hour))) } }
                }
            } }
        }
    };
    figure(cx, visit.heat, &html! {}, &chart, &table)
}

/// How dark a cell is, from 0 for nothing to 5.
const fn level(count: i64, most: i64) -> i64 {
    if count == 0 { 0 } else { 1 + (count * 4) / most }
}

/// Shares of people, bots, both and nobody.
pub fn handlers(cx: &Cx, numbers: &Numbers, behind: &Behind<'_>) -> Markup {
    let visit = &cx.t.visit;
    let tallies: Vec<_> = HANDLERS
        .iter()
        .map(|by| (*by, numbers.handlers.get(*by).copied().unwrap_or_default()))
        .collect();
    let all: i64 = tallies.iter().map(|(_, tally)| tally.conversations).sum();
    let mut left = 0;
    let parts: Vec<_> = tallies
        .iter()
        .map(|(by, tally)| {
            let wide = if all > 0 {
                tally.conversations * 1000 / all
            } else {
                0
            };
            let part = (*by, left, wide);
            left += wide;
            part
        })
        .collect();
    let keys = html! { span.keys { @for (by, _) in &tallies { span class={ "key by-" (by) } { (words::handler(cx, by)) } } } };
    let chart = html! {
        svg.shares viewBox="0 0 1000 24" preserveAspectRatio="none" aria-hidden="true" {
            @for (by, left, wide) in parts { rect class={ "by-" (by) } x=(left) y="0" width=(wide) height="24" {} }
        }
    };
    let table = html! {
        table {
            thead { tr { th scope="col" { (visit.handled) } th.number scope="col" { (visit.conversations) } th.number scope="col" { "%" } th.number scope="col" { (visit.resolved_share) } } }
            tbody { @for (by, tally) in &tallies {
                tr {
                    th scope="row" { (words::handler(cx, by)) }
                    td.number { (linked(cx, tally.conversations, &behind.link(&[("by", Some((*by).to_owned()))]))) }
                    td.number { (words::percent(cx, tally.conversations, all).unwrap_or_else(|| "–".to_owned())) }
                    td.number { (words::percent(cx, tally.resolved, tally.conversations).unwrap_or_else(|| "–".to_owned())) }
                }
            } }
        }
    };
    html! {
        figure.chart { figcaption { h2 { (visit.handled) } (keys) } (chart) div.scroll tabindex="0" role="region" aria-label=(visit.handled) { (table) } }
    }
}
