//! Passes notices of other processes on to the loops of this one.

use std::time::Duration;

use tidemark_ledger::DbError;
use tidemark_ledger::notice;
use tidemark_ledger::notice::Notice;
use tidemark_postgres::DbPool;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_runtime::wake::Wakes;

/// The loop that listens: planning and dispatch start at once, and not only at their next tick.
#[derive(Debug)]
pub struct NoticeListener {
    db: DbPool,
    tick: Duration,
    wakes: Wakes,
}

impl NoticeListener {
    #[must_use]
    pub const fn new(db: DbPool, tick: Duration, wakes: Wakes) -> Self {
        Self { db, tick, wakes }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        let mut ticker = Ticker::new("notices", self.tick, &lifecycle);
        while ticker.next_turn().await {
            tokio::select! {
                () = lifecycle.soft().cancelled() => return,
                outcome = self.tick() => ticker.ended(outcome),
            }
        }
    }

    /// Listens until the connection fails.
    async fn tick(&self) -> Result<Turn, DbError> {
        let wake = |notice| match notice {
            Notice::Request => self.wakes.request.notify_one(),
            Notice::Capacity => self.wakes.dispatch.notify_one(),
        };
        let never = notice::listen(&self.db, wake).await?;
        match never {}
    }
}
