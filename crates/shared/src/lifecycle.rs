//! Starting and stopping: a soft token (take no new work), a hard token (drop work), one tracker for every task.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pulse::{LoopHealth, Pulses};

/// For giving back what was in hand, after the hard token.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Handed to every loop. Cloning is cheap; all clones are the same lifecycle.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
    pulses: Pulses,
}

impl Lifecycle {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when no new work may be taken.
    #[must_use]
    pub const fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when work in hand must be dropped.
    #[must_use]
    pub const fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Runs a task that shutdown waits for. Such tasks are loops that end when they are stopped: one that ends earlier or
    /// panics stops the whole process, so that whoever supervises it starts a new one.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = self.clone();
        let task = self.pulses.watch(name, task);
        self.tasks.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            if outcome.is_err() || !lifecycle.soft.is_cancelled() {
                tracing::error!(task = name, "task ended by itself, the process stops");
                lifecycle.failed.store(true, Ordering::Relaxed);
                lifecycle.stop();
            }
        });
    }

    /// Whether a task has ended by itself.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The loops among the tasks, and when they last turned.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopHealth> {
        self.pulses.health()
    }

    pub fn stop(&self) {
        self.soft.cancel();
    }

    pub fn stop_now(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Waits until every spawned task has ended; after `grace` counted from the soft token, work in hand is dropped.
    pub async fn finished(&self, grace: Duration) {
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => return,
            () = self.soft.cancelled() => {}
        }
        tokio::select! {
            () = self.tasks.wait() => return,
            () = self.hard.cancelled() => {}
            () = tokio::time::sleep(grace) => {
                tracing::warn!(grace_s = grace.as_secs(), "grace period is over, work in hand is dropped");
                self.hard.cancel();
            }
        }
        // what does not even heed the hard token ends with the process
        if tokio::time::timeout(LAST_MOMENT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some tasks did not end in time");
        }
    }

    /// SIGTERM or SIGINT stops softly, a second one at once.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn stop_on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lifecycle = self.clone();
        // not tracked: it lives as long as the process, and shutdown must not wait for a signal
        #[expect(clippy::disallowed_methods, reason = "shutdown must not wait for this task")]
        tokio::spawn(async move {
            for stop in [Self::stop, Self::stop_now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                stop(&lifecycle);
            }
        });
        Ok(())
    }
}
