//! Samples the fence of every source, every few seconds.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_source::{Source, Sources};

use crate::planning::error::PlanError;
use crate::planning::fence_sample::{STANDBY_MARGIN, observe};

/// Samples a source and notes where its fence stands, and who holds it.
async fn watch(db: &DbPool, source: &Source) -> Result<(), PlanError> {
    let (epoch, observation) = observe(db, source).await?;
    let looked_at = observation.sample.sampled_at;
    let holder = source.holder().await?;
    let fence_at = match observation.replay {
        Some(replay) => replay.replayed_at.map(|replayed_at| replayed_at - STANDBY_MARGIN),
        None => {
            let horizon = source.oldest_open().await?.unwrap_or(i64::MAX);
            let sample = ledger::fence::find_qualifying(db, source.name(), epoch, horizon, looked_at).await?;
            sample.map(|sample| sample.sampled_at)
        }
    };
    ledger::source_watch::seen(db, source.name(), looked_at, fence_at, holder.as_ref()).await?;
    Ok(())
}

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
        // a source that does not answer holds up none of the others
        let sources = self.sources.iter().map(|source| self.watch(source, &lifecycle));
        futures::future::join_all(sources).await;
    }

    async fn watch(&self, source: &Source, lifecycle: &Lifecycle) {
        let mut failing = false;
        loop {
            let watched = tokio::select! {
                watched = watch(&self.db, source) => watched,
                () = lifecycle.soft().cancelled() => return,
            };
            match watched {
                Ok(()) if failing => {
                    tracing::info!(source = source.name(), "fence sampled again");
                    failing = false;
                }
                Ok(()) => {}
                Err(error) => {
                    let error = report(&error);
                    // once per outage, not once per sample
                    if !failing {
                        tracing::warn!(
                            source = source.name(),
                            error,
                            "fence not sampled, watermarks stay"
                        );
                    }
                    failing = true;
                    if let Err(error) = ledger::source_watch::failed(&self.db, source.name(), &error).await {
                        tracing::debug!(error = %report(&error), "trouble with the source not noted");
                    }
                }
            }
            pulse::beat();
            let pause = self.interval.mul_f64(rand::rng().random_range(0.8..1.2));
            tokio::select! {
                () = lifecycle.soft().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
