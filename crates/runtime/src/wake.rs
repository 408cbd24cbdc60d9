//! How the loops of one process wake each other early. Every loop also has ticks: a lost wake delays work by one tick.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tidemark_shared::ids::RunId;
use tokio::sync::Notify;

/// Runs that the finalizer remembers. Its next search of the ledger finds what does not fit.
const MAX_NAMED: usize = 10_000;

/// The wakes of one process, one for each loop that waits for work.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// A run was requested.
    pub request: Arc<Notify>,
    /// Chunks are pending, or there is room for more chunks in flight.
    pub dispatch: Arc<Notify>,
    /// A run may be complete.
    pub finalize: Arc<Notify>,
    /// A tenant's first full run has succeeded.
    pub analyze: Arc<Notify>,
    /// Runs that may be complete.
    named: Arc<Mutex<BTreeSet<RunId>>>,
}

impl Wakes {
    /// Wakes the finalizer to look at this run: a chunk of it has ended, or it has no chunk.
    pub fn may_be_complete(&self, run: RunId) {
        {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            if named.len() < MAX_NAMED {
                named.insert(run);
            }
        }
        self.finalize.notify_one();
    }

    /// Takes up to `limit` of the runs that may be complete, the oldest first.
    #[must_use]
    pub fn take_named(&self, limit: usize) -> Vec<RunId> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| named.pop_first()).take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_taken_once_however_often_its_chunks_end() {
        let wakes = Wakes::default();
        for run in [3, 1, 3, 2, 3] {
            wakes.may_be_complete(RunId(run));
        }
        assert_eq!(wakes.take_named(2), [1, 2].map(RunId));
        assert_eq!(wakes.take_named(2), [RunId(3)]);
        assert_eq!(wakes.take_named(2), []);
    }
}
