//! Start and stop of a process: a soft token (take no new work), a hard token (drop work), one tracker for all tasks.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pulse::{LoopHealth, Pulses};

/// How long tasks may take to release their work after the hard token.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a process ends without being stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskFailed {
    #[error("task `{task}` panicked: {message}: this is a bug, please report it with the log")]
    Panicked { task: String, message: String },
    #[error("task `{task}` ended by itself")]
    Ended { task: String },
}

/// The message of a panic.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// The lifecycle of the process, passed to every loop. Cloning is cheap; all clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<OnceLock<TaskFailed>>,
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

    /// Cancelled when running work must be dropped.
    #[must_use]
    pub const fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Runs a task that shutdown waits for. Such tasks are loops that end only when stopped. A task that ends earlier or
    /// panics stops the whole process, so that its supervisor starts a new one.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = self.clone();
        let task = self.pulses.watch(name, task);
        self.tasks.spawn(async move {
            let outcome = lifecycle.catch_panic(name, task).await;
            if outcome.is_some() && !lifecycle.soft.is_cancelled() {
                lifecycle.fail(TaskFailed::Ended {
                    task: name.to_owned(),
                });
            }
        });
    }

    /// Runs part of a task. A panic stops the process and returns `None`.
    pub async fn catch_panic<T>(&self, task: &str, work: impl Future<Output = T>) -> Option<T> {
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(outcome) => Some(outcome),
            Err(panic) => {
                self.panicked(task, panic_message(&*panic));
                None
            }
        }
    }

    /// Stops the process because a task has panicked.
    pub fn panicked(&self, task: &str, message: String) {
        self.fail(TaskFailed::Panicked {
            task: task.to_owned(),
            message,
        });
    }

    fn fail(&self, failed: TaskFailed) {
        tracing::error!(error = %failed, "the process stops");
        // only the first failure is the cause
        drop(self.failed.set(failed));
        self.stop();
    }

    /// Why the process ends, if a task is the cause.
    #[must_use]
    pub fn failure(&self) -> Option<TaskFailed> {
        self.failed.get().cloned()
    }

    /// The tasks that are loops, and the time since their last turn.
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

    /// Waits until every spawned task has ended. Cancels the hard token when `grace` has passed since the soft token.
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
        // a task that ignores the hard token ends with the process
        if tokio::time::timeout(RELEASE_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some tasks did not end in time");
        }
    }

    /// The first SIGTERM or SIGINT cancels the soft token, the second the hard token.
    pub fn stop_on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lifecycle = self.clone();
        #[expect(clippy::disallowed_methods, reason = "shutdown must not wait for a signal")]
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

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_task_that_panics_stops_the_process_and_is_named() {
        let lifecycle = Lifecycle::new();
        let waits = lifecycle.clone();
        lifecycle.spawn("patient", async move { waits.soft().cancelled().await });
        lifecycle.spawn("scheduler", async {
            panic!("chunk {} is odd", 7);
        });
        lifecycle.finished(GRACE).await;
        let failure = lifecycle.failure().expect("a failure").to_string();
        assert!(
            failure.contains("task `scheduler` panicked: chunk 7 is odd"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn a_task_that_ends_without_being_stopped_is_named_and_one_that_was_stopped_is_not() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("finalizer", async {});
        lifecycle.finished(GRACE).await;
        let failure = lifecycle.failure().expect("a failure").to_string();
        assert_eq!(failure, "task `finalizer` ended by itself");

        let stopped = Lifecycle::new();
        let waits = stopped.clone();
        stopped.spawn("patient", async move { waits.soft().cancelled().await });
        stopped.stop();
        stopped.finished(GRACE).await;
        assert_eq!(stopped.failure(), None);
    }

    #[tokio::test]
    async fn a_panic_inside_a_task_returns_none_and_stops_the_process() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.catch_panic("calm", async { 3 }).await, Some(3));
        assert!(lifecycle.failure().is_none());
        let lost = lifecycle.catch_panic("chunk 1/2", async { panic!("boom") }).await;
        assert_eq!(lost, None::<()>);
        assert!(lifecycle.soft().is_cancelled());
        assert!(
            lifecycle
                .failure()
                .expect("a failure")
                .to_string()
                .contains("chunk 1/2")
        );
    }
}
