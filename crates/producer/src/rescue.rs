//! Returns chunks to pending whose worker vanished, or whose message did.

use std::time::Duration;

use sqlx::PgPool;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::db::chunk::RescuedChunk;
use tidemark_shared::db::{self, DbError};
use tidemark_shared::lifecycle::Lifecycle;
use tidemark_shared::report::report;
use tokio::sync::Notify;

use crate::metrics::{self, Rescued};
use crate::wake::{Wakes, pause};

/// The rescue loop.
#[derive(Debug)]
pub struct Rescuer {
    db: PgPool,
    tick: Duration,
    requeue_after: Duration,
    max_lost: i32,
    wakes: Wakes,
}

impl Rescuer {
    #[must_use]
    pub const fn new(
        db: PgPool,
        tick: Duration,
        requeue_after: Duration,
        max_lost: i32,
        wakes: Wakes,
    ) -> Self {
        Self {
            db,
            tick,
            requeue_after,
            max_lost,
            wakes,
        }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        // leases run out by the clock
        let never = Notify::new();
        loop {
            if let Err(error) = self.tick().await {
                tracing::warn!(error = %report(&error), "chunks not rescued");
            }
            if !pause(&never, self.tick, &lifecycle).await {
                return;
            }
        }
    }

    async fn tick(&self) -> Result<(), DbError> {
        let lost = db::chunk::rescue_lost(&self.db, self.max_lost).await?;
        note(&lost, Rescued::LeaseExpired);
        let queued = db::chunk::rescue_queued(&self.db, self.requeue_after).await?;
        note(&queued, Rescued::QueuedTooLong);
        if !lost.is_empty() || !queued.is_empty() {
            self.wakes.dispatch.notify_one();
            self.wakes.finalize.notify_one();
        }
        Ok(())
    }
}

fn note(chunks: &[RescuedChunk], why: Rescued) {
    metrics::rescued(why, chunks.len());
    let why = why.as_str();
    for chunk in chunks {
        match chunk.status {
            ChunkStatus::Dead => {
                tracing::error!(run.id = %chunk.run_id, chunk.seq = chunk.seq, why, "chunk is dead");
            }
            _ => tracing::warn!(run.id = %chunk.run_id, chunk.seq = chunk.seq, why, "chunk rescued"),
        }
    }
}
