//! Forgets what the ledger has kept for long enough, every now and then.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::prune::Pruned;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::RetentionSettings;
use tidemark_runtime::lifecycle::Lifecycle;
use tokio::sync::Notify;
use tokio::time::Instant;

use tidemark_runtime::wake::{Failures, pause};

/// Between two looks at the clock: a loop that shows no sign of life for ten minutes is taken for dead. The first is when
/// pruning begins, so that a process that is started again and again gets to it, too.
const TICK: Duration = Duration::from_secs(60);

/// The loop that prunes.
#[derive(Debug)]
pub struct Pruner {
    db: DbPool,
    keep: RetentionSettings,
}

impl Pruner {
    #[must_use]
    pub const fn new(db: DbPool, keep: RetentionSettings) -> Self {
        Self { db, keep }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        // only the clock wakes it
        let never = Notify::new();
        let mut failures = Failures::of("prune");
        let mut pruned_at = None;
        while pause(&never, failures.pause(TICK), &lifecycle).await {
            if pruned_at.is_some_and(|at: Instant| at.elapsed() < self.keep.prune_every) {
                continue;
            }
            match ledger::prune::prune(&self.db, &self.keep).await {
                Ok(pruned) => {
                    failures.over();
                    pruned_at = Some(Instant::now());
                    say(pruned);
                }
                Err(error) => failures.another(&error),
            }
        }
    }
}

fn say(pruned: Pruned) {
    if pruned == Pruned::default() {
        return;
    }
    tracing::info!(
        runs = pruned.runs,
        chunks = pruned.chunks,
        moves = pruned.moves,
        rejects = pruned.rejects,
        "ledger pruned"
    );
}
