//! Returns chunks to pending when their worker or their message vanished.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::chunk::RescuedChunk;
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::DbPool;
use tidemark_runtime::config::ProducerSettings;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::telemetry;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_runtime::wake::Wakes;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::job::TraceContext;
use tokio::time::Instant;

use crate::metrics;
use crate::metrics::Rescued;

/// The rescue loop.
#[derive(Debug)]
pub struct Rescuer {
    db: DbPool,
    tick: Duration,
    requeue_after: Duration,
    max_lost: i32,
    contact: LedgerContact,
    wakes: Wakes,
}

/// Whether workers could renew their leases. While the ledger is unavailable or cannot write, no worker can renew. So after
/// a gap between two answers of the ledger, and after it had no space, workers get the length of one lease to renew before
/// an expired lease counts as lost.
#[derive(Debug)]
struct LedgerContact {
    lease: Duration,
    longest_gap: Duration,
    answered_at: Option<Instant>,
    trusted_from: Option<Instant>,
    /// The ledger could not write, and has not written since.
    is_full: bool,
}

impl LedgerContact {
    /// `tick`: the pause between two turns of the loop.
    fn new(lease: Duration, tick: Duration) -> Self {
        Self {
            lease,
            // a lease is renewed three times in its length: a shorter gap costs a worker one renewal at most
            longest_gap: lease / 2 + tick * 2,
            answered_at: None,
            trusted_from: None,
            is_full: false,
        }
    }

    /// Notes that the ledger answered, and wrote if it could not do so before. Returns whether an expired lease counts as lost.
    fn note_answer(&mut self, now: Instant) -> bool {
        let before = self.answered_at.replace(now);
        let was_away = before.is_some_and(|before| now.duration_since(before) > self.longest_gap);
        if std::mem::take(&mut self.is_full) || was_away {
            self.trusted_from = Some(now + self.lease);
        }
        self.trusted_from.is_none_or(|from| now >= from)
    }
}

impl Rescuer {
    #[must_use]
    pub fn new(db: DbPool, settings: &ProducerSettings, lease: Duration, wakes: Wakes) -> Self {
        Self {
            db,
            tick: settings.tick,
            requeue_after: settings.requeue_after,
            max_lost: settings.max_lost,
            contact: LedgerContact::new(lease, settings.tick),
            wakes,
        }
    }

    pub async fn run(mut self, lifecycle: Lifecycle) {
        // a process that starts has more urgent work
        let mut ticker = Ticker::new("rescue", self.tick, &lifecycle).pause_first(true);
        while ticker.next_turn().await {
            ticker.ended(self.tick().await);
        }
    }

    async fn tick(&mut self) -> Result<Turn, DbError> {
        let outcome = self.rescue().await;
        if outcome.as_ref().is_err_and(DbError::is_exhausted) {
            self.contact.is_full = true;
        }
        outcome
    }

    /// Whether the ledger can write the loss of leases, shown by a transaction that is rolled back. Where nothing is to be
    /// written, a full ledger answers, too.
    async fn check_writable(&self) -> Result<(), DbError> {
        let mut tx = self.db.begin().await.attempt("begin a transaction")?;
        ledger::chunk::rescue_lost(&mut *tx, self.max_lost).await?;
        tx.rollback().await.attempt("roll the check back")
    }

    async fn rescue(&mut self) -> Result<Turn, DbError> {
        if self.contact.is_full {
            self.check_writable().await?;
        }
        let queued = ledger::chunk::rescue_queued(&self.db, self.requeue_after).await?;
        log_rescued(&queued, Rescued::QueuedTooLong);
        let lost = if self.contact.note_answer(Instant::now()) {
            ledger::chunk::rescue_lost(&self.db, self.max_lost).await?
        } else {
            Vec::new()
        };
        log_rescued(&lost, Rescued::LeaseExpired);
        if !lost.is_empty() || !queued.is_empty() {
            self.wakes.dispatch.notify_one();
        }
        for chunk in &lost {
            self.wakes.may_be_complete(chunk.run_id);
        }
        Ok(Turn::Done)
    }
}

fn log_rescued(chunks: &[RescuedChunk], reason: Rescued) {
    metrics::count_rescued(reason, chunks.len());
    let reason = reason.as_str();
    for chunk in chunks {
        let span = tracing::info_span!(
            "rescue", tenant.id = %chunk.tenant_id, run.id = %chunk.run_id, chunk.seq = chunk.seq, attempt = chunk.attempt,
        );
        let context = TraceContext {
            traceparent: chunk.traceparent.clone(),
            tracestate: chunk.tracestate.clone(),
        };
        telemetry::set_parent(&span, &context);
        span.in_scope(|| match chunk.status {
            ChunkStatus::Dead => tracing::error!(why = reason, "chunk is dead"),
            _ => tracing::warn!(why = reason, "chunk rescued"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_ledger_was_away_leases_get_their_length_before_they_count_as_lost() {
        let lease = Duration::from_secs(30);
        let mut contact = LedgerContact::new(lease, Duration::from_secs(1));
        let start = Instant::now();
        assert!(contact.note_answer(start));
        assert!(contact.note_answer(start + Duration::from_secs(10)));
        let back = start + Duration::from_secs(70);
        assert!(!contact.note_answer(back));
        assert!(!contact.note_answer(back + Duration::from_secs(10)));
        assert!(!contact.note_answer(back + Duration::from_secs(20)));
        assert!(contact.note_answer(back + lease));
    }

    #[test]
    fn after_the_ledger_was_full_leases_get_their_length_too() {
        let lease = Duration::from_secs(30);
        let mut contact = LedgerContact::new(lease, Duration::from_secs(1));
        let start = Instant::now();
        assert!(contact.note_answer(start));
        contact.is_full = true;
        let written = start + Duration::from_secs(2);
        assert!(!contact.note_answer(written));
        assert!(!contact.note_answer(written + Duration::from_secs(10)));
        assert!(!contact.note_answer(written + Duration::from_secs(20)));
        assert!(contact.note_answer(written + lease));
    }
}
