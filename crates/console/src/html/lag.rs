//! Pictures of how far behind a tenant was: a chart of the last day, and a line without an axis for a table.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use crate::context::Cx;
use crate::watch::lag::{Corner, HOURS, Step, begin, corners, seconds};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 128.0;
/// Above the highest point, for the label of the highest line of the grid.
const ROOM: f64 = 12.0;
const SPARK_WIDTH: f64 = 96.0;
const SPARK_HEIGHT: f64 = 20.0;

/// The corners as points of a picture of this size.
fn points(corners: &[Corner], span: f64, most: f64, (width, height): (f64, f64)) -> String {
    let points: Vec<String> = corners
        .iter()
        .map(|(x, y)| format!("{:.1},{:.1}", x / span * width, height - y / most * height))
        .collect();
    points.join(" ")
}

/// The distance of the lines of the grid: at most three of them.
fn grid_step(most: f64) -> i64 {
    const STEPS: [i64; 21] = [
        1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400,
        172_800, 345_600, 864_000,
    ];
    #[expect(clippy::cast_precision_loss, reason = "some days in seconds")]
    let fits = |step: &&i64| **step as f64 * 3.0 >= most;
    STEPS.iter().find(fits).copied().unwrap_or(8_640_000)
}

/// A round span in one unit: `5 min`, `2 h`.
fn round(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The last day, or the time since the first move if that is shorter.
pub fn chart(cx: &Cx, steps: &[Step], now: DateTime<Utc>) -> Markup {
    let p = &cx.t.pages;
    let begin = begin(steps, now);
    let corners = corners(steps, begin, now);
    let span = seconds(now - begin).max(1.0);
    let worst = corners.iter().map(|(_, behind)| *behind).fold(1.0, f64::max);
    let step = grid_step(worst);
    #[expect(clippy::cast_possible_truncation, reason = "a span of days")]
    let whole = worst.ceil() as i64;
    let lines: Vec<i64> = (0..)
        .map(|line| line * step)
        .take_while(|line| *line <= whole)
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "some days in seconds")]
    let height_of = |behind: i64| HEIGHT - behind as f64 / worst * (HEIGHT - ROOM);
    let line = points(&corners, span, worst, (WIDTH, HEIGHT - ROOM));
    let left = corners.first().map_or(0.0, |(x, _)| x / span * WIDTH);
    let label = p
        .at_most_behind
        .replace("{span}", &cx.t.span(TimeDelta::seconds(whole)));
    html! {
        figure.chart {
            figcaption { (p.behind_over_time) @if !corners.is_empty() { span.keys { (label) } } }
            @if corners.is_empty() { p.sub { (cx.t.states.never_synced) } }
            @else {
                div.lag {
                    svg.scale viewBox={ "0 0 56 " (HEIGHT) } aria-hidden="true" {
                        @for behind in &lines { text x="48" y=(height_of(*behind) + if *behind == 0 { -2.0 } else { 4.0 }) { (round(*behind)) } }
                    }
                    svg.over-time viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label={ (p.behind_over_time) ": " (label) } {
                        @for behind in &lines { line.rule x1="0" x2=(WIDTH) y1=(height_of(*behind)) y2=(height_of(*behind)) {} }
                        g transform={ "translate(0 " (ROOM) ")" } {
                            polygon.area points={ (format!("{left:.1},{}", HEIGHT - ROOM)) " " (line) " " (format!("{WIDTH},{}", HEIGHT - ROOM)) } {}
                            polyline.edge points=(line) {}
                        }
                    }
                    div.axis { (cx.ago(begin)) span { (p.now) } }
                }
            }
        }
    }
}

/// The same in a row of a table. The words beside it have the present value.
pub fn spark(cx: &Cx, steps: &[Step], now: DateTime<Utc>) -> Markup {
    let begin = now - TimeDelta::hours(i64::from(HOURS));
    let corners = corners(steps, begin, now);
    let span = seconds(now - begin);
    let worst = corners.iter().map(|(_, behind)| *behind).fold(1.0, f64::max);
    #[expect(clippy::cast_possible_truncation, reason = "a span of days")]
    let label =
        cx.t.pages
            .in_last_day
            .replace("{span}", &cx.t.span(TimeDelta::seconds(worst.ceil() as i64)));
    let size = (SPARK_WIDTH, SPARK_HEIGHT - 2.0);
    html! {
        // a tenant of some minutes has no picture yet
        @if corners.first().is_some_and(|(x, _)| *x < span * 0.97) {
            svg.spark viewBox={ "0 0 " (SPARK_WIDTH) " " (SPARK_HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                title { (label) }
                polyline.edge transform="translate(0 1)" points=(points(&corners, span, worst, size)) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_has_few_round_lines() {
        for (most, step) in [(1.0, 1), (7.0, 5), (59.0, 20), (600.0, 300), (86_400.0, 43_200)] {
            assert_eq!(grid_step(most), step, "{most}");
        }
        assert_eq!(
            (round(300), round(7_200), round(172_800)),
            ("5 min".to_owned(), "2 h".to_owned(), "2 d".to_owned())
        );
    }
}
