//! Samples the fence of every source, every few seconds.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use sqlx::PgPool;
use tidemark_shared::db::{self, Attempt};
use tidemark_shared::fence::FenceSample;
use tidemark_shared::lifecycle::Lifecycle;
use tidemark_shared::report::report;
use tidemark_shared::source::fence::Observation;
use tidemark_shared::source::{Source, Sources};

use crate::plan::PlanError;

/// Epoch of a source that the ledger does not know yet; its table has the same default.
const FIRST_EPOCH: i32 = 1;

/// Takes one sample of a source and keeps it nowhere; returns it with the source's epoch.
///
/// # Errors
/// As [`sample`].
pub(crate) async fn look(db: &PgPool, source: &Source) -> Result<(i32, Observation), PlanError> {
    // what is known is read first: whatever the source shows afterwards must not be less
    let known = db::fence::find(db, source.name()).await?;
    let observation = source.observe().await?;
    source.check_not_back(known.map(|known| known.highest_xmax), observation.xmax)?;
    Ok((known.map_or(FIRST_EPOCH, |known| known.epoch), observation))
}

/// Takes one sample of a source and keeps it in the ledger; returns it with the source's epoch.
///
/// # Errors
/// When ledger or source do not answer, or the source went back in time.
pub async fn sample(db: &PgPool, source: &Source) -> Result<(i32, FenceSample), PlanError> {
    let (_, observation) = look(db, source).await?;
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let state = db::fence::note(&mut *tx, source.name(), observation.xmax).await?;
    if !observation.in_recovery {
        db::fence::insert(&mut tx, source.name(), state.epoch, observation.sample).await?;
    }
    tx.commit().await.attempt("keep the fence sample")?;
    Ok((state.epoch, observation.sample))
}

/// The sampling loop.
#[derive(Debug)]
pub struct Sampler {
    db: PgPool,
    sources: Arc<Sources>,
    interval: Duration,
}

impl Sampler {
    #[must_use]
    pub const fn new(db: PgPool, sources: Arc<Sources>, interval: Duration) -> Self {
        Self {
            db,
            sources,
            interval,
        }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        while !lifecycle.soft().is_cancelled() {
            for source in self.sources.iter() {
                if let Err(error) = sample(&self.db, source).await {
                    tracing::warn!(source = source.name(), error = %report(&error), "fence not sampled");
                }
            }
            let pause = self.interval.mul_f64(rand::rng().random_range(0.8..1.2));
            tokio::select! {
                () = lifecycle.soft().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
