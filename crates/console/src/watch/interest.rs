//! Which runs somebody looks at: only these are read with their chunks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidemark_shared::ids::RunId;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Counts {
    streams: usize,
    runs: BTreeMap<RunId, usize>,
}

#[derive(Debug, Default)]
pub struct Interest {
    counts: Mutex<Counts>,
    began: Notify,
}

/// One stream's interest, until it is dropped.
#[derive(Debug)]
pub struct Looking {
    interest: Arc<Interest>,
    run: Option<RunId>,
}

impl Interest {
    /// Records a stream, and the run that its page shows.
    pub fn look(self: &Arc<Self>, run: Option<RunId>) -> Looking {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.streams += 1;
        if let Some(run) = run {
            *counts.runs.entry(run).or_default() += 1;
        }
        drop(counts);
        self.began.notify_one();
        Looking {
            interest: Arc::clone(self),
            run,
        }
    }

    pub fn is_any(&self) -> bool {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).streams > 0
    }

    pub fn runs(&self) -> Vec<RunId> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.runs.keys().copied().collect()
    }

    /// Waits until a stream begins.
    pub async fn begins(&self) {
        self.began.notified().await;
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut counts = self
            .interest
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.streams -= 1;
        if let Some(run) = self.run
            && let Some(count) = counts.runs.get_mut(&run)
        {
            *count -= 1;
            if *count == 0 {
                counts.runs.remove(&run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_until_its_last_stream_ends() {
        let interest = Arc::new(Interest::default());
        let first = interest.look(Some(RunId(7)));
        let second = interest.look(Some(RunId(7)));
        drop(first);
        assert_eq!(interest.runs(), [RunId(7)]);
        drop(second);
        assert!(interest.runs().is_empty() && !interest.is_any());
    }
}
