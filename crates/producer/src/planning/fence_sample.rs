//! Samples of a source's fence.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_postgres::DbPool;
use tidemark_shared::fence::FenceSample;
use tidemark_source::Source;
use tidemark_source::fence::Observation;

use crate::planning::error::PlanError;

/// How far behind a standby's replay the watermark stays: what its primary had written by then is replayed, but other
/// sessions' transaction ids are not to be seen there.
pub(crate) const STANDBY_MARGIN: Duration = Duration::from_secs(10);

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
    source.check_not_back(known.map(|known| known.highest_xmax), observation.xmax)?;
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

pub(crate) async fn observe(db: &DbPool, source: &Source) -> Result<(i32, Observation), PlanError> {
    let (_, observation) = look(db, source).await?;
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let state = ledger::fence::note(&mut *tx, source.name(), observation.xmax).await?;
    if observation.replay.is_none() {
        ledger::fence::insert(&mut tx, source.name(), state.epoch, observation.sample).await?;
    }
    tx.commit().await.attempt("keep the fence sample")?;
    Ok((state.epoch, observation))
}
