//! The lease beside the work: renewed while the work goes on; lost, it ends the work.

use std::future::Future;
use std::panic::resume_unwind;
use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::ids::ChunkId;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tracing::Instrument;

/// A claim to renew.
#[derive(Debug, Clone)]
pub struct Lease {
    pub db: DbPool,
    pub chunk: ChunkId,
    pub attempt: i32,
    pub length: Duration,
}

/// The lease was lost; the work was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

impl Lease {
    /// Runs `work` while the lease holds. Dropping the work cancels its statements on the servers.
    ///
    /// # Errors
    /// [`Lost`] when the ledger says that another attempt holds the chunk, or has not answered for a lease's length.
    ///
    /// # Panics
    /// When the renewal panics: that is a fault of this program and no lost lease.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost> {
        // a task of its own, since the work may keep this one busy; it ends when the set is dropped
        let mut renewal = JoinSet::new();
        renewal.spawn(self.clone().hold().in_current_span());
        tokio::select! {
            outcome = work => Ok(outcome),
            ended = renewal.join_next() => match ended.map(|ended| ended.map_err(JoinError::try_into_panic)) {
                // whether the lease holds is unknown then, and the fault is not another worker's
                Some(Err(Ok(panic))) => resume_unwind(panic),
                _ => Err(Lost),
            },
        }
    }

    /// Renews until the lease is lost.
    async fn hold(self) {
        let mut ticks = tokio::time::interval(self.length / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut renewed_at = Instant::now();
        loop {
            ticks.tick().await;
            // a connection that has died without a word would keep this waiting, and the work going on
            let renewing = ledger::chunk::renew(&self.db, self.chunk, self.attempt, self.length);
            let error = match timeout(self.length / 3, renewing).await {
                Ok(Ok(true)) => {
                    renewed_at = Instant::now();
                    continue;
                }
                Ok(Ok(false)) => return,
                Ok(Err(error)) => report(&error),
                Err(_) => "no answer".to_owned(),
            };
            if renewed_at.elapsed() >= self.length {
                tracing::warn!(error, "lease not renewed in time");
                return;
            }
            tracing::debug!(error, "lease not renewed yet");
        }
    }
}
