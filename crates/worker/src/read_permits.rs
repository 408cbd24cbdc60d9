//! How many chunks a worker reads at a time. A chunk that has been read gives its place to the next one, and ends while that
//! is read: source, processor and target are then all at work. One that fails keeps its place until that is written: when
//! nothing of its run can pass, the next chunk is cancelled and not begun.

use std::sync::Arc;

use tidemark_runtime::config::WorkerSettings;
use tidemark_shared::job::Lane;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of both lanes: one more than bulk chunks may have.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
}

/// One chunk's, until it is given up or dropped.
#[derive(Debug)]
pub struct Place {
    of_all: Option<OwnedSemaphorePermit>,
    of_bulk: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Lets the next chunk begin.
    pub fn give_up(&mut self) {
        self.of_all.take();
        self.of_bulk.take();
    }
}

impl Places {
    pub fn new(settings: &WorkerSettings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.read_permits().into())),
            bulk: Arc::new(Semaphore::new(settings.concurrency.into())),
        }
    }

    /// Waits for a place in this lane.
    pub async fn take(&self, lane: Lane) -> Place {
        // first, so that a bulk chunk that has to wait keeps no live one waiting
        let of_bulk = match lane {
            Lane::Live => None,
            Lane::Bulk => Some(permit(&self.bulk).await),
        };
        Place {
            of_all: Some(permit(&self.all).await),
            of_bulk,
        }
    }
}

async fn permit(of: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = Arc::clone(of).acquire_owned().await;
    permit.expect("the semaphore is never closed")
}
