//! The last hour in numbers, for charts. It has gaps where nobody looked.

use std::collections::VecDeque;

use serde::Serialize;

use super::snapshot::Snapshot;

/// An hour at one point each five seconds.
const POINTS: i64 = 720;
const EVERY_SECONDS: i64 = 5;

/// One point of every chart.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Seconds since 1970, by the ledger's clock.
    pub at: i64,
    pub rows_per_second: f64,
    pub pending: i64,
    pub queued: i64,
    pub running: i64,
    /// Messages in the queues of chunks; `None`: the broker did not answer.
    pub messages: Option<u32>,
    /// Fence lag of each source in seconds.
    pub fence: Vec<(String, Option<f64>)>,
}

#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
}

impl History {
    pub fn add(&mut self, snapshot: &Snapshot) {
        let at = snapshot.at.timestamp();
        if self
            .points
            .back()
            .is_some_and(|last| at < last.at + EVERY_SECONDS)
        {
            return;
        }
        let begin = at - EVERY_SECONDS * POINTS;
        while self.points.front().is_some_and(|first| first.at <= begin) {
            self.points.pop_front();
        }
        self.points.push_back(Point::of(snapshot));
    }

    pub fn points(&self) -> Vec<Point> {
        self.points.iter().cloned().collect()
    }
}

impl Point {
    fn of(snapshot: &Snapshot) -> Self {
        let pace = snapshot
            .open_runs
            .iter()
            .filter_map(|run| run.progress.as_ref()?.pace);
        let sum = |of: fn(&tidemark_operations::status::TenantOverview) -> i64| {
            snapshot.overview.tenants.iter().map(of).sum()
        };
        let messages = snapshot.queues.as_ref().map(|queues| {
            let chunks = queues
                .iter()
                .filter(|queue| ["live", "bulk"].contains(&queue.queue));
            chunks.map(|queue| queue.messages).sum()
        });
        Self {
            at: snapshot.at.timestamp(),
            // the sum of nothing is -0.0
            rows_per_second: pace.map(|pace| pace.rows_per_second).sum::<f64>() + 0.0,
            pending: sum(|tenant| tenant.chunks_pending),
            queued: sum(|tenant| tenant.chunks_queued),
            running: sum(|tenant| tenant.chunks_running),
            messages,
            fence: snapshot
                .overview
                .sources
                .iter()
                .map(|source| (source.watch.source.clone(), source.fence_lag_ms.map(seconds)))
                .collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a lag for display")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
