//! How far behind a tenant was, from the moves of its watermark.

use chrono::{DateTime, TimeDelta, Utc};
use tidemark_ledger::console::view::LagMove;
use tidemark_ledger::watermark::Move;

/// The span of pictures, unless the tenant is younger.
pub const HOURS: i32 = 24;

/// A move of the watermark, or several that left no gap.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    began_at: DateTime<Utc>,
    moved_at: DateTime<Utc>,
    old: Option<DateTime<Utc>>,
    new: DateTime<Utc>,
}

impl Step {
    /// `None`: the watermark was taken away.
    pub fn of(one: &Move) -> Option<Self> {
        Some(Self {
            began_at: one.began_at,
            moved_at: one.moved_at,
            old: one.old,
            new: one.new?,
        })
    }
}

impl From<&LagMove> for Step {
    fn from(one: &LagMove) -> Self {
        Self {
            began_at: one.began_at,
            moved_at: one.moved_at,
            old: one.old,
            new: one.new,
        }
    }
}

/// One corner of the line: seconds since the picture's begin, and seconds behind.
pub type Corner = (f64, f64);

#[expect(clippy::cast_precision_loss, reason = "seconds of a day for a picture")]
pub fn seconds(span: TimeDelta) -> f64 {
    span.num_milliseconds() as f64 / 1_000.0
}

/// How far behind the watermark was: it grows with the clock and falls with each move. Moves that left no gap are a flat line.
pub fn corners(steps: &[Step], begin: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Corner> {
    let mut steps = steps.to_vec();
    steps.sort_by_key(|one| one.moved_at);
    let mut all: Vec<Corner> = Vec::new();
    let at = |when: DateTime<Utc>, behind: TimeDelta| (seconds(when - begin), seconds(behind).max(0.0));
    for one in &steps {
        if let Some(old) = one.old {
            all.push(at(one.began_at, one.began_at - old));
        }
        let after = one.moved_at - one.new;
        if one.began_at < one.moved_at {
            all.push(at(one.began_at, after));
        }
        all.push(at(one.moved_at, after));
    }
    if let Some(last) = steps.last() {
        all.push(at(now, now - last.new));
    }
    cut(&all)
}

/// The part of the line from the begin on.
fn cut(all: &[Corner]) -> Vec<Corner> {
    let first = all.iter().position(|(x, _)| *x >= 0.0).unwrap_or(all.len());
    let mut shown = Vec::new();
    if let (Some(before), Some(after)) = (first.checked_sub(1).map(|index| all[index]), all.get(first)) {
        let part = -before.0 / (after.0 - before.0).max(f64::EPSILON);
        shown.push((0.0, before.1 + (after.1 - before.1) * part));
    }
    shown.extend_from_slice(&all[first..]);
    shown
}

pub fn begin(steps: &[Step], now: DateTime<Utc>) -> DateTime<Utc> {
    let first = steps.iter().map(|one| one.began_at).min();
    first.unwrap_or(now).max(now - TimeDelta::hours(i64::from(HOURS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn step(began: i64, moved: i64, old: i64, new: i64) -> Step {
        Step {
            began_at: time(began),
            moved_at: time(moved),
            old: Some(time(old)),
            new: time(new),
        }
    }

    #[test]
    fn the_lag_grows_with_the_clock_and_falls_with_each_move() {
        // newest first, as the ledger lists them
        let steps = [step(160, 160, 90, 155), step(100, 100, 20, 90)];
        let found = corners(&steps, time(120), time(200));
        assert_eq!(found, vec![(0.0, 30.0), (40.0, 70.0), (40.0, 5.0), (80.0, 45.0)]);
    }

    #[test]
    fn an_idle_tenant_was_not_behind_while_its_moves_left_no_gap() {
        // moved every few seconds from 100 to 900, then a gap
        let steps = [step(100, 900, 95, 898), step(1000, 1000, 898, 999)];
        let found = corners(&steps, time(0), time(1000));
        let expected = [
            (100.0, 5.0),
            (100.0, 2.0),
            (900.0, 2.0),
            (1000.0, 102.0),
            (1000.0, 1.0),
            (1000.0, 1.0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tenant_without_a_watermark_has_no_line() {
        assert!(corners(&[], time(100), time(100)).is_empty());
    }
}
