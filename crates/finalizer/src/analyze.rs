//! Runs ANALYZE on the target after the first full run of a tenant, where the login may. See `target/statistics.rs` of
//! the ledger.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::target::Analysis;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_runtime::wake::Wakes;

/// How long the loop waits for a table that somebody else analyzes or vacuums. It is a sign of life otherwise.
const TICK: Duration = Duration::from_secs(60);

/// The loop that analyzes. A loop of its own: runs are closed meanwhile.
#[derive(Debug)]
pub struct Analyzer {
    db: DbPool,
    wakes: Wakes,
}

impl Analyzer {
    #[must_use]
    pub const fn new(db: DbPool, wakes: Wakes) -> Self {
        Self { db, wakes }
    }

    /// The first turn asks too: the finalizer that closed a run may have ended since.
    pub async fn run(self, lifecycle: Lifecycle) {
        let mut ticker = Ticker::new("analyze", TICK, &lifecycle).woken_by(&self.wakes.analyze);
        while ticker.next_turn().await {
            tokio::select! {
                () = lifecycle.soft().cancelled() => return,
                outcome = self.tick() => ticker.ended(outcome),
            }
        }
    }

    async fn tick(&self) -> Result<Turn, DbError> {
        // a large table takes long
        let analysis = pulse::beat_during(ledger::target::analyze_after_first_run(&self.db)).await?;
        note(analysis);
        Ok(Turn::Done)
    }
}

/// The same once, for a command. The rows are there and a failure costs the next plans time, so it fails nothing.
pub async fn analyze(db: &DbPool) {
    match ledger::target::analyze_after_first_run(db).await {
        Ok(analysis) => note(analysis),
        Err(error) => tracing::warn!(error = %report(&error), "target not analyzed"),
    }
}

fn note(analysis: Analysis) {
    match analysis {
        Analysis::NotNeeded => {}
        Analysis::Done => tracing::info!("target analyzed after a first full run"),
        Analysis::Busy => tracing::debug!("target not analyzed yet: another ANALYZE or VACUUM is under way"),
        Analysis::NotAllowed => tracing::debug!("target not analyzed: this login may not"),
    }
}
