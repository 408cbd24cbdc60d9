//! How the loops of one process wake each other early. Every loop also looks by itself: a lost wake costs a tick.

use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::Lifecycle;
use crate::pulse;
use rand::RngExt;
use tidemark_postgres::report::report;
use tidemark_shared::retry::Backoff;
use tokio::sync::Notify;

/// Between two looks at a ledger or broker that is away: what it costs at most after it has come back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Wakes of one process.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// Somebody has asked for a run.
    pub request: Arc<Notify>,
    /// Chunks are pending, or room has become free.
    pub dispatch: Arc<Notify>,
    /// A chunk has reached a terminal state.
    pub finalize: Arc<Notify>,
}

/// How one loop takes its failures: it says the first of a row, and waits longer after each.
#[derive(Debug)]
pub struct Failures {
    task: &'static str,
    in_a_row: u32,
}

impl Failures {
    pub const fn of(task: &'static str) -> Self {
        Self { task, in_a_row: 0 }
    }

    pub fn over(&mut self) {
        if self.in_a_row > 0 {
            tracing::info!(task = self.task, "works again");
        }
        self.in_a_row = 0;
    }

    pub fn another(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.in_a_row += 1;
        if self.in_a_row == 1 {
            tracing::warn!(task = self.task, error = %report(error), "failed, it goes on trying");
        } else {
            tracing::debug!(task = self.task, error = %report(error), "failed again");
        }
    }

    /// The pause before the next look.
    pub fn pause(&self, tick: Duration) -> Duration {
        let backoff = Backoff {
            base: tick,
            cap: LONGEST_PAUSE.max(tick),
        };
        match self.in_a_row {
            0 => tick,
            failures => backoff.delay(failures, 1.0),
        }
    }
}

/// Waits for a wake, for the next tick (jittered, so that processes do not look in step) or for the stop; `false` when
/// stopping.
pub async fn pause(wake: &Notify, tick: Duration, lifecycle: &Lifecycle) -> bool {
    pulse::beat();
    let tick = tick.mul_f64(rand::rng().random_range(0.8..1.2));
    tokio::select! {
        () = lifecycle.soft().cancelled() => return false,
        () = wake.notified() => {}
        () = tokio::time::sleep(tick) => {}
    }
    !lifecycle.soft().is_cancelled()
}
