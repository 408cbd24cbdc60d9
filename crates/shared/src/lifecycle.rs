//! Starting and stopping: a soft token (take no new work), a hard token (drop work), one tracker for every task.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Handed to every loop. Cloning is cheap; all clones are the same lifecycle.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
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

    /// Runs a task that shutdown waits for.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    pub fn stop(&self) {
        self.soft.cancel();
    }

    pub fn stop_now(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Waits until every spawned task has ended; after `grace` counted from the soft token, work in hand is dropped.
    pub async fn finished(&self, grace: std::time::Duration) {
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
        self.tasks.wait().await;
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
