//! Samples of a source's fence.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_postgres::DbPool;
use tidemark_source::fence::Observation;
use tidemark_source::{Replay, Source};

use crate::planning::error::PlanError;

/// How far the watermark stays behind the replay of a standby. What committed on the primary before is replayed by then,
/// but a standby does not show which transactions are still open on its primary and may commit later.
const STANDBY_MARGIN: Duration = Duration::from_secs(10);

/// What happens to a sample that a plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleMode {
    /// The ledger stores it for later plans.
    Store,
    /// Nothing is written.
    Discard,
}

/// Epoch of a source that is not in the ledger yet. The table has the same default.
const FIRST_EPOCH: i32 = 1;

/// Takes one sample of a source; returns it with the source's epoch.
pub(crate) async fn take_sample(
    db: &DbPool,
    source: &Source,
    mode: SampleMode,
) -> Result<(i32, Observation), PlanError> {
    // the ledger is read first: a source that answers a lower xmax afterwards went back in time
    let known = ledger::fence::find(db, source.name()).await?;
    let observation = source.observe().await?;
    source.check_not_restored(known.map(|known| known.highest_xmax), observation.xmax)?;
    if mode == SampleMode::Discard {
        return Ok((known.map_or(FIRST_EPOCH, |known| known.epoch), observation));
    }
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let state = ledger::fence::record_xmax(&mut *tx, source.name(), observation.xmax).await?;
    if observation.replay.is_none() {
        ledger::fence::insert(&mut tx, source.name(), state.epoch, observation.sample).await?;
    }
    tx.commit().await.attempt("store the fence sample")?;
    Ok((state.epoch, observation))
}

/// The fence of a source that is a standby.
pub(crate) fn standby_fence(replay: &Replay) -> Option<DateTime<Utc>> {
    replay.replayed_at.map(|replayed_at| replayed_at - STANDBY_MARGIN)
}
