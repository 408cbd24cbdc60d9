//! Samples the fence of every source, every few seconds.

use std::sync::Arc;
use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::ticker::Ticker;
use tidemark_source::{Source, Sources};

use crate::planning::error::PlanError;
use crate::planning::fence_sample::{SampleMode, standby_fence, take_sample};

/// The sampling loop.
#[derive(Debug)]
pub struct Sampler {
    db: DbPool,
    sources: Arc<Sources>,
    interval: Duration,
}

impl Sampler {
    #[must_use]
    pub const fn new(db: DbPool, sources: Arc<Sources>, interval: Duration) -> Self {
        Self {
            db,
            sources,
            interval,
        }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        // a source that does not answer delays none of the others
        let sources = self.sources.iter().map(|source| self.watch(source, &lifecycle));
        futures::future::join_all(sources).await;
    }

    async fn watch(&self, source: &Source, lifecycle: &Lifecycle) {
        // failures are logged here, with their source, and do not lengthen the interval
        let mut ticker = Ticker::new("sampler", self.interval, lifecycle);
        let mut is_failing = false;
        while ticker.next_turn().await {
            let outcome = tokio::select! {
                outcome = self.tick(source) => outcome,
                () = lifecycle.soft().cancelled() => return,
            };
            match outcome {
                Ok(()) if is_failing => tracing::info!(source = source.name(), "fence sampled again"),
                Ok(()) => {}
                Err(ref error) => self.note_failure(source, error, is_failing).await,
            }
            is_failing = outcome.is_err();
        }
    }

    /// Samples a source, and records its fence and the session that blocks the fence.
    async fn tick(&self, source: &Source) -> Result<(), PlanError> {
        let db = &self.db;
        let (epoch, observation) = take_sample(db, source, SampleMode::Store).await?;
        let sampled_at = observation.sample.sampled_at;
        let holder = source.holder().await?;
        let fence_at = match observation.replay {
            Some(replay) => standby_fence(&replay),
            None => {
                let horizon = source.oldest_open_xid().await?.unwrap_or(i64::MAX);
                let sample =
                    ledger::fence::find_qualifying(db, source.name(), epoch, horizon, sampled_at).await?;
                sample.map(|sample| sample.sampled_at)
            }
        };
        ledger::source_watch::record_sample(db, source.name(), sampled_at, fence_at, holder.as_ref()).await?;
        Ok(())
    }

    async fn note_failure(&self, source: &Source, error: &PlanError, was_failing: bool) {
        let error = report(error);
        // once per outage, not once per sample
        if !was_failing {
            tracing::warn!(
                source = source.name(),
                error,
                "fence not sampled, watermarks stay"
            );
        }
        if let Err(error) = ledger::source_watch::record_failure(&self.db, source.name(), &error).await {
            tracing::debug!(error = %report(&error), "failure of the source not recorded");
        }
    }
}
