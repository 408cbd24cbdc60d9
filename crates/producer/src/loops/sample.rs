//! Samples the fence of every source, every few seconds.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_shared::fence::FenceSample;
use tidemark_source::fence::Observation;
use tidemark_source::{Source, Sources};

use crate::planning::planner::{PlanError, STANDBY_MARGIN};

/// Epoch of a source that the ledger does not know yet; its table has the same default.
const FIRST_EPOCH: i32 = 1;

/// Takes one sample of a source and keeps it nowhere; returns it with the source's epoch.
///
/// # Errors
/// As [`sample`].
pub(crate) async fn look(db: &DbPool, source: &Source) -> Result<(i32, Observation), PlanError> {
    // what is known is read first: whatever the source shows afterwards must not be less
    let known = ledger::fence::find(db, source.name()).await?;
    let observation = source.observe().await?;
    source.check_not_restored(known.map(|known| known.highest_xmax), observation.xmax)?;
    Ok((known.map_or(FIRST_EPOCH, |known| known.epoch), observation))
}

/// Takes one sample of a source and keeps it in the ledger; returns it with the source's epoch.
///
/// # Errors
/// When ledger or source do not answer, or the source went back in time.
pub async fn sample(db: &DbPool, source: &Source) -> Result<(i32, FenceSample), PlanError> {
    let (epoch, observation) = observe(db, source).await?;
    Ok((epoch, observation.sample))
}

async fn observe(db: &DbPool, source: &Source) -> Result<(i32, Observation), PlanError> {
    let (_, observation) = look(db, source).await?;
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let state = ledger::fence::note(&mut *tx, source.name(), observation.xmax).await?;
    if observation.replay.is_none() {
        ledger::fence::insert(&mut tx, source.name(), state.epoch, observation.sample).await?;
    }
    tx.commit().await.attempt("keep the fence sample")?;
    Ok((state.epoch, observation))
}

/// Samples a source and notes where its fence stands, and who holds it.
async fn watch(db: &DbPool, source: &Source) -> Result<(), PlanError> {
    let (epoch, observation) = observe(db, source).await?;
    let looked_at = observation.sample.sampled_at;
    let holder = source.holder().await?;
    let fence_at = match observation.replay {
        Some(replay) => replay.replayed_at.map(|replayed_at| replayed_at - STANDBY_MARGIN),
        None => {
            let horizon = source.oldest_open_xid().await?.unwrap_or(i64::MAX);
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
