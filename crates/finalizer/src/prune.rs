//! Deletes old runs, moves, actions, messages and rejects from the ledger, now and then.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::prune::Pruned;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::RetentionSettings;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::ticker::{Ticker, Turn};
use tokio::time::Instant;

/// How often the loop checks whether pruning is due. A loop without a turn for ten minutes counts as dead, and the
/// interval between two prunings is longer. The first tick prunes, so that a process that restarts often prunes, too.
const TICK: Duration = Duration::from_secs(60);

/// The loop that prunes.
#[derive(Debug)]
pub struct Pruner {
    db: DbPool,
    keep: RetentionSettings,
    pruned_at: Option<Instant>,
}

impl Pruner {
    #[must_use]
    pub const fn new(db: DbPool, keep: RetentionSettings) -> Self {
        Self {
            db,
            keep,
            pruned_at: None,
        }
    }

    pub async fn run(mut self, lifecycle: Lifecycle) {
        let mut ticker = Ticker::new("prune", TICK, &lifecycle).pause_first(true);
        while ticker.next_turn().await {
            ticker.ended(self.tick().await);
        }
    }

    async fn tick(&mut self) -> Result<Turn, DbError> {
        if self
            .pruned_at
            .is_some_and(|at| at.elapsed() < self.keep.prune_every)
        {
            return Ok(Turn::Untried);
        }
        let pruned = ledger::prune::prune(&self.db, &self.keep).await?;
        self.pruned_at = Some(Instant::now());
        if pruned != Pruned::default() {
            tracing::info!(
                runs = pruned.runs,
                chunks = pruned.chunks,
                moves = pruned.moves,
                actions = pruned.actions,
                messages = pruned.messages,
                rejects = pruned.rejects,
                changes = pruned.changes,
                "ledger pruned"
            );
        }
        Ok(Turn::Done)
    }
}
