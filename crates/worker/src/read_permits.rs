//! Limits how many chunks a worker reads at a time.
//!
//! A chunk releases its permit when it has been read, and is loaded while the next one is read: source, worker and
//! target then work at the same time. A failed chunk keeps its permit until its failure is written: when the failure
//! cancels the run, the next chunk is cancelled before it starts.

use std::sync::Arc;

use tidemark_runtime::config::WorkerSettings;
use tidemark_shared::job::Lane;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits of both lanes. Bulk chunks can take all but one.
#[derive(Debug)]
pub(crate) struct ReadPermits {
    all: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
}

/// One chunk's permit, until it is released or dropped.
#[derive(Debug)]
pub struct ReadPermit {
    all: Option<OwnedSemaphorePermit>,
    bulk: Option<OwnedSemaphorePermit>,
}

impl ReadPermit {
    /// Lets the next chunk start.
    pub fn release(&mut self) {
        self.all.take();
        self.bulk.take();
    }
}

impl ReadPermits {
    pub fn new(settings: &WorkerSettings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.read_permits().into())),
            bulk: Arc::new(Semaphore::new(settings.concurrency.into())),
        }
    }

    /// Waits for a permit in this lane.
    pub async fn acquire(&self, lane: Lane) -> ReadPermit {
        // the lane's permit first: a waiting bulk chunk must not occupy a permit that a live chunk could use
        let bulk = match lane {
            Lane::Live => None,
            Lane::Bulk => Some(permit(&self.bulk).await),
        };
        ReadPermit {
            all: Some(permit(&self.all).await),
            bulk,
        }
    }
}

async fn permit(of: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = Arc::clone(of).acquire_owned().await;
    permit.expect("the semaphore is never closed")
}
