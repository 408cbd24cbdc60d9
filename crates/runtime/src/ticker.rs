//! The pace of a loop: a turn at every tick or wake, longer pauses while it fails, no turn after the soft stop.

use std::error::Error;
use std::time::Duration;

use rand::RngExt;
use tidemark_postgres::report::{report, sqlstate_of};
use tidemark_shared::retry::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lifecycle::Lifecycle;
use crate::pulse;

/// The longest pause while a server is unavailable, and so the longest wait after the server is available again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a turn found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Work, and there may be more: the next turn follows at once.
    More,
    /// Nothing more to do: the next turn waits for a tick or a wake.
    Done,
    /// Nothing that needed the server that the loop depends on: earlier failures still count.
    Untried,
}

/// Paces one loop:
///
/// ```ignore
/// let mut ticker = Ticker::new("rescue", self.tick, &lifecycle);
/// while ticker.next_turn().await {
///     ticker.ended(self.tick().await);
/// }
/// ```
#[derive(Debug)]
pub struct Ticker<'a> {
    tick: Duration,
    lifecycle: &'a Lifecycle,
    wake: Option<&'a Notify>,
    shortest_pause: Option<Duration>,
    failures: Failures,
    turn_began_at: Option<Instant>,
    /// Whether the next turn waits for a tick or a wake.
    pauses: bool,
    turn_ended_at: Option<Instant>,
}

impl<'a> Ticker<'a> {
    /// `task` names the loop in the log.
    pub const fn new(task: &'static str, tick: Duration, lifecycle: &'a Lifecycle) -> Self {
        Self {
            tick,
            lifecycle,
            wake: None,
            shortest_pause: None,
            failures: Failures::of(task),
            turn_began_at: None,
            pauses: false,
            turn_ended_at: None,
        }
    }

    /// A wake ends the pause early.
    #[must_use]
    pub const fn woken_by(mut self, wake: &'a Notify) -> Self {
        self.wake = Some(wake);
        self
    }

    /// Even a wake leaves this long between two turns, and as long as the last turn has taken: a loop that is woken all the
    /// time works half of it at most, and finds more at each turn.
    #[must_use]
    pub const fn shortest_pause(mut self, pause: Duration) -> Self {
        self.shortest_pause = Some(pause);
        self
    }

    /// The first turn waits for a tick or a wake, too.
    #[must_use]
    pub const fn pause_first(mut self, pauses: bool) -> Self {
        self.pauses = pauses;
        self
    }

    /// Waits until the next turn is due; `false` when the loop must stop.
    /// A first turn without a pause comes in any case, even after the stop.
    pub async fn next_turn(&mut self) -> bool {
        pulse::beat();
        if self.pauses && !self.pause().await {
            return false;
        }
        pulse::beat();
        self.pauses = true;
        self.turn_began_at = Some(Instant::now());
        true
    }

    /// Notes how the turn ended. The first failure in a row is logged as a warning.
    pub fn ended<E: Into<Box<dyn Error>>>(&mut self, outcome: Result<Turn, E>) {
        self.turn_ended_at = Some(Instant::now());
        match outcome {
            Ok(Turn::More) => self.pauses = self.lifecycle.soft().is_cancelled(),
            Ok(Turn::Done) => self.failures.over(),
            Ok(Turn::Untried) => {}
            Err(error) => self.failures.another(&*error.into()),
        }
    }

    async fn pause(&self) -> bool {
        let stop = self.lifecycle.soft();
        // jittered, so that processes do not ask the servers in step
        let pause = self
            .failures
            .pause(self.tick)
            .mul_f64(rand::rng().random_range(0.8..1.2));
        let woken = async {
            match self.wake {
                Some(wake) => wake.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            () = woken => {}
            () = tokio::time::sleep(pause) => {}
        }
        if let (Some(shortest), Some(began_at), Some(ended_at)) =
            (self.shortest_pause, self.turn_began_at, self.turn_ended_at)
        {
            let as_long = ended_at.saturating_duration_since(began_at).min(self.tick);
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep_until(ended_at + shortest.max(as_long)) => {}
            }
        }
        true
    }
}

/// The failures of one loop: the first in a row is logged as a warning, and each makes the next pause longer.
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
        pulse::note_failure(None);
    }

    pub fn another(&mut self, error: &(dyn Error + 'static)) {
        self.in_a_row += 1;
        pulse::note_failure(Some(pulse::Failure {
            sqlstate: sqlstate_of(error),
        }));
        if self.in_a_row == 1 {
            tracing::warn!(task = self.task, error = %report(error), "failed, will try again");
        } else {
            tracing::debug!(task = self.task, error = %report(error), "failed again");
        }
    }

    /// How long to wait before the next turn.
    fn pause(&self, tick: Duration) -> Duration {
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    type Outcome = Result<Turn, std::io::Error>;

    #[tokio::test]
    async fn after_the_stop_a_loop_has_its_first_turn_and_no_other() {
        let lifecycle = Lifecycle::new();
        lifecycle.stop();
        let mut ticker = Ticker::new("test", DAY, &lifecycle);
        assert!(ticker.next_turn().await);
        ticker.ended(Outcome::Ok(Turn::More));
        assert!(!ticker.next_turn().await);
        let mut pausing = Ticker::new("test", DAY, &lifecycle).pause_first(true);
        assert!(!pausing.next_turn().await);
    }

    #[tokio::test]
    async fn a_turn_that_found_work_is_followed_at_once_and_a_pause_ends_with_a_wake() {
        let lifecycle = Lifecycle::new();
        let wake = Notify::new();
        let mut ticker = Ticker::new("test", DAY, &lifecycle).woken_by(&wake);
        assert!(ticker.next_turn().await);
        ticker.ended(Outcome::Ok(Turn::More));
        assert!(ticker.next_turn().await);
        ticker.ended(Outcome::Ok(Turn::Done));
        wake.notify_one();
        assert!(ticker.next_turn().await);
    }

    #[test]
    fn pauses_grow_with_failures_up_to_a_bound_and_are_short_again_afterwards() {
        let tick = Duration::from_millis(500);
        let mut failures = Failures::of("test");
        let error = std::io::Error::other("away");
        assert_eq!(failures.pause(tick), tick);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            failures.another(&error);
            pauses.push(failures.pause(tick));
        }
        assert!(pauses.is_sorted() && pauses[1] > tick, "{pauses:?}");
        assert_eq!(pauses[7], LONGEST_PAUSE);
        failures.over();
        assert_eq!(failures.pause(tick), tick);
    }
}
