//! Charts of a tenant's page, drawn by the server. Each has its numbers in a table below it.

use chrono::{Datelike, NaiveDate, Weekday};
use maud::{Markup, html};
use tidemark_ledger::tenant_page::numbers::Tally;

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

    fn bar(&self, bar: &Bar, of: Option<&str>) -> String {
        let day = |day: NaiveDate| Some(day.to_string());
        let of = of.map(str::to_owned);
        self.link(&[
            ("days", None),
            ("from", day(bar.first)),
            ("to", day(bar.last)),
            ("of", of),
        ])
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

/// The longest span with a bar for each day.
const DAILY: usize = 120;

/// Conversations of a day, or of the days of a week.
struct Bar {
    first: NaiveDate,
    last: NaiveDate,
    tally: Tally,
}

impl Bar {
    fn name(&self, cx: &Cx) -> String {
        if self.first == self.last {
            return words::date(cx, self.first);
        }
        format!("{} – {}", words::date(cx, self.first), words::date(cx, self.last))
    }
}

/// A bar for each day, or for each week from Monday where there are many days.
fn bars(days: &[(NaiveDate, Tally)]) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for (day, tally) in days {
        match bars.last_mut() {
            Some(bar) if days.len() > DAILY && day.weekday() != Weekday::Mon => {
                bar.last = *day;
                bar.tally += *tally;
            }
            _ => bars.push(Bar {
                first: *day,
                last: *day,
                tally: *tally,
            }),
        }
    }
    bars
}

/// New conversations of each day or week: those that are resolved by now below, the others above.
pub fn days(cx: &Cx, numbers: &Numbers, behind: &Behind<'_>) -> Markup {
    const HEIGHT: i64 = 120;
    let visit = &cx.t.visit;
    let bars = bars(&numbers.days);
    let title = if numbers.days.len() > DAILY {
        visit.by_week
    } else {
        visit.by_day
    };
    let most = bars
        .iter()
        .map(|bar| bar.tally.conversations)
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
            svg viewBox={ "0 0 " (bars.len() * 10) " " (HEIGHT) } preserveAspectRatio="none" {
                @for (index, bar) in bars.iter().enumerate() {
                    @let all = tall(bar.tally.conversations);
                    @let done = tall(bar.tally.resolved).min(all);
                    a href=(behind.bar(bar, None)) tabindex="-1" {
                        title { (bar.name(cx)) ": " (cx.count(bar.tally.conversations)) ", " (cx.count(bar.tally.resolved)) " " (visit.resolved_part) }
                        rect.ground x=(index * 10) y="0" width="10" height=(HEIGHT) {}
                        rect.fill.active x=(index * 10 + 1) y=(HEIGHT - all) width="8" height=(all - done) {}
                        rect.fill.good x=(index * 10 + 1) y=(HEIGHT - done) width="8" height=(done) {}
                    }
                }
            }
            div.axis {
                @for index in axis(bars.len()) {
                    @if let Some(bar) = bars.get(index) { span { (words::short_date(cx, bar.first)) } }
                }
            }
        }
    };
    let table = html! {
        table {
            thead { tr { th scope="col" { (visit.day) } th.number scope="col" { (visit.conversations) } th.number scope="col" { (visit.resolved_part) } th.number scope="col" { (visit.resolved_share) } } }
            tbody { @for bar in bars.iter().rev() {
                tr {
                    th scope="row" { (bar.name(cx)) }
                    td.number { (linked(cx, bar.tally.conversations, &behind.bar(bar, None))) }
                    td.number { (linked(cx, bar.tally.resolved, &behind.bar(bar, Some("resolved")))) }
                    td.number { (words::percent(cx, bar.tally.resolved, bar.tally.conversations).unwrap_or_else(|| "–".to_owned())) }
                }
            } }
        }
    };
    figure(cx, title, &keys, &chart, &table)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_has_a_bar_for_each_week_and_a_quarter_one_for_each_day() {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let one = Tally {
            conversations: 1,
            ..Tally::default()
        };
        let days: Vec<(NaiveDate, Tally)> = first.iter_days().take(365).map(|day| (day, one)).collect();
        assert_eq!(bars(&days[..90]).len(), 90);
        let weeks = bars(&days);
        assert_eq!(weeks.len(), 53);
        // 2026-01-01 is a Thursday
        assert_eq!(
            (weeks[0].tally.conversations, weeks[1].tally.conversations),
            (4, 7)
        );
        let all: i64 = weeks.iter().map(|week| week.tally.conversations).sum();
        assert_eq!(all, 365);
    }
}
