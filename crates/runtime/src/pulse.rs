//! Heartbeats of a process's loops, for `/livez`. A loop calls [`beat`] once for each turn.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

tokio::task_local! {
    /// The pulse of the current task.
    static PULSE: Arc<Pulse>;
}

/// Records a turn of this task's loop. Does nothing outside a task of [`crate::lifecycle::Lifecycle::spawn`].
pub fn beat() {
    if let Ok(pulse) = PULSE.try_with(Arc::clone) {
        *lock(&pulse.last) = Some(Instant::now());
    }
}

/// Records that the last turn of this task's loop failed, with the SQLSTATE if a database refused it, or that it worked.
pub fn note_failure(failure: Option<Failure>) {
    if let Ok(pulse) = PULSE.try_with(Arc::clone) {
        *lock(&pulse.failure) = failure;
    }
}

/// A failed turn. The log has its error, which may name a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub sqlstate: Option<String>,
}

/// Runs long work that has its own time limit, and beats until it ends.
pub async fn beat_during<F: Future>(work: F) -> F::Output {
    const EVERY: Duration = Duration::from_secs(5);
    let mut work = Box::pin(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(EVERY) => beat(),
        }
    }
}

/// A loop and the time since its last beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopHealth {
    pub name: &'static str,
    pub since_last_beat: Duration,
    /// Set while its turns fail.
    pub failure: Option<Failure>,
}

#[derive(Debug)]
struct Pulse {
    name: &'static str,
    last: Mutex<Option<Instant>>,
    failure: Mutex<Option<Failure>>,
}

/// The loops of one process.
#[derive(Debug, Clone, Default)]
pub struct Pulses(Arc<Mutex<Vec<Arc<Pulse>>>>);

impl Pulses {
    /// Runs a task that may [`beat`].
    pub fn watch<F: Future>(&self, name: &'static str, task: F) -> impl Future<Output = F::Output> + use<F> {
        let pulse = Arc::new(Pulse {
            name,
            last: Mutex::default(),
            failure: Mutex::default(),
        });
        lock(&self.0).push(Arc::clone(&pulse));
        PULSE.scope(pulse, task)
    }

    /// The loops that have beaten at least once. A task that is not a loop never beats and cannot be late.
    pub fn health(&self) -> Vec<LoopHealth> {
        lock(&self.0)
            .iter()
            .filter_map(|pulse| {
                let last = (*lock(&pulse.last))?;
                Some(LoopHealth {
                    name: pulse.name,
                    since_last_beat: last.elapsed(),
                    failure: lock(&pulse.failure).clone(),
                })
            })
            .collect()
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_is_listed_from_its_first_beat_on() {
        let pulses = Pulses::default();
        pulses.watch("quiet", async {}).await;
        assert_eq!(pulses.health(), []);
        pulses.watch("beating", async { beat() }).await;
        let health = pulses.health();
        assert_eq!(health.len(), 1);
        assert_eq!(health[0].name, "beating");
        assert!(health[0].since_last_beat < Duration::from_secs(60));
        assert_eq!(health[0].failure, None);
    }

    #[tokio::test]
    async fn a_loop_that_fails_says_so_until_it_works() {
        let failure = Failure {
            sqlstate: Some("53100".into()),
        };
        let pulses = Pulses::default();
        let failing = failure.clone();
        let seen = pulses.clone();
        pulses
            .watch("full", async move {
                beat();
                note_failure(Some(failing));
                assert_eq!(seen.health()[0].failure, Some(failure));
                note_failure(None);
                assert_eq!(seen.health()[0].failure, None);
            })
            .await;
    }

    #[test]
    fn a_beat_outside_a_task_does_nothing() {
        beat();
    }
}
