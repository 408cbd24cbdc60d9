//! Renews a chunk's lease while its work runs, and drops the work when the lease is lost.

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

/// The claim whose lease is renewed.
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
    /// Runs `work` while the lease is valid. Dropping the work cancels its statements on the servers.
    ///
    /// # Errors
    /// [`Lost`] when another attempt has claimed the chunk, or the ledger has not answered for the length of the lease.
    ///
    /// # Panics
    /// When the renewal panics: that is a bug and no lost lease.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost> {
        // a separate task, since the work may keep this one busy; dropping the set aborts it
        let mut renewal = JoinSet::new();
        renewal.spawn(self.clone().renew_until_lost().in_current_span());
        tokio::select! {
            outcome = work => Ok(outcome),
            ended = renewal.join_next() => match ended.map(|ended| ended.map_err(JoinError::try_into_panic)) {
                // a bug of this program: do not report it as a lost lease
                Some(Err(Ok(panic))) => resume_unwind(panic),
                _ => Err(Lost),
            },
        }
    }

    /// Renews until the lease is lost.
    async fn renew_until_lost(self) {
        let mut ticks = tokio::time::interval(self.length / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut renewed_at = Instant::now();
        loop {
            ticks.tick().await;
            // without the timeout a silently dead connection would block the renewal while the work goes on
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
