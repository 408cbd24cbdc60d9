//! Keeps `conversation_daily` in step with the rows.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_runtime::ticker::{Ticker, Turn};

/// How far the sums may be behind the rows. During a large run each turn computes the days of its newest chunks. A turn looks at
/// each tenant once in an index.
const TICK: Duration = Duration::from_secs(10);

/// The loop that computes changed days again.
#[derive(Debug)]
pub struct DailySummarizer {
    db: DbPool,
}

impl DailySummarizer {
    #[must_use]
    pub const fn new(db: DbPool) -> Self {
        Self { db }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        let mut ticker = Ticker::new("daily", TICK, &lifecycle);
        while ticker.next_turn().await {
            tokio::select! {
                () = lifecycle.soft().cancelled() => return,
                outcome = self.tick() => ticker.ended(outcome),
            }
        }
    }

    async fn tick(&self) -> Result<Turn, DbError> {
        // a large tenant's first time takes long
        let refreshed = pulse::beat_during(ledger::daily::refresh_due(&self.db)).await?;
        if refreshed > 0 {
            tracing::debug!(tenants = refreshed, "sums by day computed");
        }
        Ok(Turn::Done)
    }
}

/// The same once, for a command. The rows are there, and a finalizer computes the sums later: a failure fails nothing.
pub async fn summarize(db: &DbPool) {
    if let Err(error) = ledger::daily::refresh_due(db).await {
        tracing::warn!(error = %report(&error), "sums by day not computed");
    }
}
