//! The progress of a run, its pace, and its share of the source's limits. All times are by the ledger's clock.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::ids::RunId;

/// The pace is measured over the chunks that ended in this window.
pub const RECENT_WINDOW: Duration = Duration::from_secs(60);
/// The number of chunks in the window from which the pace is measured over it. Fewer give an uneven pace.
const MIN_RECENT_CHUNKS: i64 = 3;

/// Chunks of a run in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChunkStates {
    pub pending: i64,
    pub queued: i64,
    pub running: i64,
    pub done: i64,
    pub dead: i64,
    pub cancelled: i64,
}

impl ChunkStates {
    #[must_use]
    pub const fn total(&self) -> i64 {
        self.pending + self.in_flight() + self.ended()
    }

    /// Chunks that count towards the limits.
    #[must_use]
    pub const fn in_flight(&self) -> i64 {
        self.queued + self.running
    }

    #[must_use]
    pub const fn ended(&self) -> i64 {
        self.done + self.dead + self.cancelled
    }
}

/// Totals of a run's ended chunks, of all or of recent ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedTotals {
    pub chunks: i64,
    /// Conversations, as the plan counted them.
    pub keys: i64,
    pub rows: i64,
}

/// The chunk that takes or took longest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlowChunk {
    pub seq: i32,
    pub attempt: i32,
    pub worker_id: Option<String>,
    /// Since its first claim, over all attempts.
    pub took_ms: i64,
}

/// A run's share of its source's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceShare {
    pub name: String,
    /// Chunks of this run that are queued or running.
    pub run_in_flight: i64,
    /// The same for all runs of the source.
    pub in_flight: i64,
    /// The limit; `None` when this process's settings do not have the source.
    pub max_in_flight: Option<i32>,
    /// Sessions that chunks and plans have open on the source.
    pub sessions: i64,
}

/// The pace of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pace {
    pub rows_per_second: f64,
    /// The time until the end at this pace; `None` when no key has ended.
    pub eta_ms: Option<i64>,
}

/// The progress of a run at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    #[serde(skip)]
    pub run_id: RunId,
    pub at: DateTime<Utc>,
    pub chunks: ChunkStates,
    /// Conversations that the plan counted.
    pub keys_total: i64,
    /// Conversations of chunks that have ended.
    pub keys_ended: i64,
    /// `None`: the run has not started, or makes no progress.
    pub pace: Option<Pace>,
    pub slowest_running: Option<SlowChunk>,
    pub slowest_done: Option<SlowChunk>,
    pub failed_attempts: i64,
    /// Leases that expired because a worker vanished.
    pub lost_leases: i64,
    pub source: SourceShare,
}

/// The pace of a run with `keys_left`: over the recent window when enough chunks ended in it, otherwise since the
/// start. `None` when no chunk has ended, or the run makes no progress.
#[must_use]
pub fn pace(
    at: DateTime<Utc>,
    began_at: Option<DateTime<Utc>>,
    keys_left: i64,
    running: i64,
    all: EndedTotals,
    recent: EndedTotals,
) -> Option<Pace> {
    let age = (at - began_at?).to_std().ok()?;
    if all.chunks == 0 || (recent.chunks == 0 && running == 0) {
        return None;
    }
    let (ended, seconds) = if recent.chunks >= MIN_RECENT_CHUNKS {
        (recent, age.min(RECENT_WINDOW).as_secs_f64())
    } else {
        (all, age.as_secs_f64())
    };
    if seconds <= 0.0 {
        return None;
    }
    let per_second = |count: i64| as_float(count) / seconds;
    let keys_per_second = per_second(ended.keys);
    let eta_ms = match keys_left {
        ..=0 => Some(0),
        _ if keys_per_second > 0.0 => Some(milliseconds(as_float(keys_left) / keys_per_second)),
        _ => None,
    };
    Some(Pace {
        rows_per_second: per_second(ended.rows),
        eta_ms,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rate for display")]
const fn as_float(count: i64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of floats saturates, and no run takes that long"
)]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn after(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn ended(chunks: i64, rows: i64) -> EndedTotals {
        EndedTotals {
            chunks,
            keys: rows,
            rows,
        }
    }

    fn at(
        seconds: i64,
        left: i64,
        running: i64,
        all: EndedTotals,
        recent: EndedTotals,
    ) -> Option<(f64, Option<i64>)> {
        let pace = pace(after(seconds), Some(after(0)), left, running, all, recent);
        pace.map(|pace| (pace.rows_per_second, pace.eta_ms))
    }

    #[test]
    fn the_pace_is_measured_over_recent_chunks_and_gives_the_end() {
        // 600 s at 10 a second, the last minute at 100
        let found = at(600, 30_000, 4, ended(60, 12_000), ended(6, 6_000));
        assert_eq!(found, Some((100.0, Some(300_000))));
    }

    #[test]
    fn a_run_younger_than_the_window_is_measured_from_its_start() {
        let found = at(10, 1_000, 1, ended(3, 3_000), ended(3, 3_000));
        assert_eq!(found, Some((300.0, Some(3_333))));
    }

    #[test]
    fn chunks_that_take_longer_than_the_window_are_measured_over_the_whole_run() {
        let found = at(400, 2_000, 2, ended(4, 4_000), ended(1, 1_000));
        assert_eq!(found, Some((10.0, Some(200_000))));
        let found = at(400, 2_000, 2, ended(4, 4_000), ended(0, 0));
        assert_eq!(found, Some((10.0, Some(200_000))));
    }

    #[test]
    fn a_run_without_ended_chunks_or_without_progress_has_no_pace() {
        assert_eq!(at(30, 1_000, 4, ended(0, 0), ended(0, 0)), None);
        assert_eq!(at(900, 1_000, 0, ended(5, 5_000), ended(0, 0)), None);
        assert_eq!(pace(after(5), None, 10, 0, ended(0, 0), ended(0, 0)), None);
        // a clock that went back
        assert_eq!(at(-5, 10, 1, ended(1, 1), ended(1, 1)), None);
    }

    #[test]
    fn gone_keys_count_for_the_end_and_not_as_rows() {
        let gone = EndedTotals {
            chunks: 4,
            keys: 400,
            rows: 0,
        };
        assert_eq!(at(40, 100, 1, gone, gone), Some((0.0, Some(10_000))));
        assert_eq!(at(40, 0, 0, gone, gone), Some((0.0, Some(0))));
    }
}
