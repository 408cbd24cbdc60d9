//! The worker: takes jobs from both lanes, claims their chunks, executes them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use secrecy::SecretString;
use tidemark_broker::{Handler, Queue, Received, Route, Settle};
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::chunk::ClaimedChunk;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::WorkerSettings;
use tidemark_runtime::lifecycle::{Lifecycle, panic_message};
use tidemark_runtime::telemetry;
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::ids::ChunkId;
use tidemark_shared::job::{ChunkEvent, Job, Lane};
use tidemark_shared::run::RunType;
use tidemark_source::Sources;
use tracing::{Instrument, Span};

use crate::disposition::{Disposition, Tried, decide};
use crate::event_publisher::{Announcer, announcer};
use crate::execute::{ExecuteError, Executor};
use crate::lease::{Lease, Lost};
use crate::ledger_retry::until_answered;
use crate::metrics::{self, InFlight, Outcome};
use crate::read_permits::{Place, Places};

/// A worker process's work.
pub struct Worker {
    db: DbPool,
    queue: Arc<dyn Queue>,
    executor: Executor,
    instance: String,
    settings: WorkerSettings,
    places: Places,
    lifecycle: Lifecycle,
}

impl Worker {
    #[must_use]
    pub fn new(
        db: DbPool,
        queue: Arc<dyn Queue>,
        sources: Arc<Sources>,
        instance: String,
        settings: WorkerSettings,
        privacy_key: Option<SecretString>,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            executor: Executor::new(db.clone(), sources, privacy_key, settings.load_permits()),
            places: Places::new(&settings),
            db,
            queue,
            instance,
            settings,
            lifecycle,
        }
    }

    /// Consumes both lanes until the soft stop; returns once the chunks in hand are settled.
    pub async fn run(self) {
        let concurrency = self.settings.concurrency;
        metrics::begin(concurrency);
        let (announcer, announcements) = announcer(&self.queue);
        let worker = Arc::new(self);
        let consumers = [Lane::Live, Lane::Bulk].map(|lane| {
            let handler: Handler<Job> = {
                let (worker, announcer) = (Arc::clone(&worker), announcer.clone());
                Arc::new(move |received| {
                    let (worker, announcer) = (Arc::clone(&worker), announcer.clone());
                    async move { worker.handle(lane, received, &announcer).await }.boxed()
                })
            };
            // one more than is read: it waits for the place of a chunk that is only loaded any more
            worker.queue.consume_jobs(
                lane,
                concurrency.saturating_add(1),
                worker.lifecycle.soft().clone(),
                handler,
            )
        });
        // the announcements end when the last handler is gone
        drop(announcer);
        tokio::join!(futures::future::join_all(consumers), announcements.run());
    }

    async fn handle(&self, lane: Lane, received: Received<Job>, announcer: &Announcer) -> Settle {
        metrics::delivered(received.redelivered);
        let place = tokio::select! {
            biased;
            () = self.lifecycle.soft().cancelled() => return Settle::Requeue,
            place = self.places.take(lane) => place,
        };
        let job = received.body;
        let span = tracing::info_span!(
            "chunk", otel.kind = "consumer", tenant.id = %job.tenant_id, run.id = %job.run_id, chunk.seq = job.seq, attempt = tracing::field::Empty,
            outcome = tracing::field::Empty,
        );
        telemetry::set_parent(&span, &received.context);
        if let Some(destination) = self.queue.destination(Route::Chunks(lane)) {
            destination.describe_process(&span);
        }
        let task = format!("chunk {}/{}", job.run_id, job.seq);
        let processing = self.process(&job, announcer, place).instrument(span);
        // the chunk's lease runs out, and rescue counts it
        self.lifecycle
            .catch_panic(&task, processing)
            .await
            .unwrap_or(Settle::Ack)
    }

    async fn process(&self, job: &Job, announcer: &Announcer, mut place: Place) -> Settle {
        let claiming = until_answered(&self.lifecycle, || {
            ledger::chunk::claim(
                &self.db,
                job.chunk(),
                job.tenant_id,
                &self.instance,
                self.settings.lease,
            )
        });
        let claim = tracing::info_span!("claim", otel.kind = "client");
        telemetry::describe_database(&claim, self.db.connections(), "UPDATE etl_chunk");
        let claimed = match telemetry::traced(claim, claiming).await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => {
                tracing::debug!("not claimable: done, cancelled, held or unknown");
                ended(Outcome::Refused);
                return Settle::Ack;
            }
            Err(error) if self.lifecycle.soft().is_cancelled() => {
                tracing::debug!(error = %report(&error), "not claimed before the stop");
                return Settle::Requeue;
            }
            Err(error) => {
                // the chunk stays queued, and is published again like one whose message was lost
                tracing::error!(error = %report(&error), "chunk not claimed");
                return Settle::Ack;
            }
        };
        Span::current().record("attempt", claimed.attempt);
        let _in_flight = InFlight::begin(claimed.lane, claimed.waited());
        let id = job.chunk();
        let executing = AssertUnwindSafe(self.execute(id, &claimed, &mut place)).catch_unwind();
        let (outcome, panic) = match executing.await {
            Ok(outcome) => (outcome, None),
            Err(panic) => {
                let message = panic_message(&*panic);
                (Err(ExecuteError::Panicked(message.clone())), Some(message))
            }
        };
        match outcome {
            Ok(counts) => {
                // a comparison moves no rows, and says itself what it found
                if claimed.run_type != RunType::Verify {
                    log_loaded(&counts);
                    metrics::rows(&counts);
                }
                ended(Outcome::Done);
            }
            Err(error) => {
                if let Err(error) = self.dispose(id, &claimed, &error).await {
                    // the lease runs out and rescue takes the chunk
                    tracing::warn!(error = %report(&error), "outcome of the chunk not written");
                }
            }
        }
        if let Some(message) = panic {
            self.lifecycle
                .panicked(&format!("chunk {}/{}", id.run_id, id.seq), message);
        }
        announcer.tell(ChunkEvent::new(id, claimed.tenant_id));
        Settle::Ack
    }

    /// Executes beside its lease; a hard stop drops the work.
    async fn execute(
        &self,
        id: ChunkId,
        claimed: &ClaimedChunk,
        place: &mut Place,
    ) -> Result<ChunkCounts, ExecuteError> {
        let lease = Lease {
            db: self.db.clone(),
            chunk: id,
            attempt: claimed.attempt,
            length: self.settings.lease,
        };
        tokio::select! {
            outcome = lease.guard(Box::pin(self.executor.execute(id, claimed, place))) => match outcome {
                Ok(outcome) => outcome,
                Err(Lost) => Err(ExecuteError::LeaseLost),
            },
            () = self.lifecycle.hard().cancelled() => Err(ExecuteError::ShuttingDown),
        }
    }

    async fn dispose(
        &self,
        id: ChunkId,
        claimed: &ClaimedChunk,
        error: &ExecuteError,
    ) -> Result<(), DbError> {
        let text = report(error);
        let tried = Tried {
            attempts: claimed.attempt,
            failures: claimed.failure_count,
        };
        let disposition = decide(error, tried, rand::random());
        if !matches!(disposition, Disposition::Release | Disposition::Defer(_)) {
            telemetry::record_failure(&Span::current(), error);
        }
        ended(disposition.outcome());
        log_failed(disposition, &text);
        until_answered(&self.lifecycle, || {
            self.put_down(id, claimed.attempt, disposition, &text)
        })
        .await
    }

    /// Writes into the ledger what becomes of the chunk; writing it again is harmless.
    async fn put_down(
        &self,
        id: ChunkId,
        attempt: i32,
        disposition: Disposition,
        error: &str,
    ) -> Result<(), DbError> {
        match disposition {
            Disposition::Retry(after) => ledger::chunk::fail(&self.db, id, attempt, error, Some(after))
                .await
                .map(drop),
            Disposition::Wait(after) | Disposition::Defer(after) => {
                ledger::chunk::postpone(&self.db, id, attempt, error, after).await
            }
            Disposition::Dead => ledger::chunk::fail(&self.db, id, attempt, error, None)
                .await
                .map(drop),
            Disposition::FailRun => ledger::chunk::fail_run(&self.db, id, attempt, error).await,
            Disposition::Release => ledger::chunk::release(&self.db, id, attempt).await,
        }
    }
}

fn ended(outcome: Outcome) {
    metrics::attempted(outcome);
    Span::current().record("outcome", outcome.as_str());
}

fn log_failed(disposition: Disposition, error: &str) {
    match disposition {
        Disposition::Retry(after) => {
            tracing::warn!(
                error,
                retry_after_s = after.as_secs_f64(),
                "chunk failed, it is tried again"
            );
        }
        Disposition::Wait(after) => {
            tracing::warn!(
                error,
                retry_after_s = after.as_secs_f64(),
                "a server is away, the chunk waits"
            );
        }
        Disposition::Defer(after) => {
            tracing::info!(
                reason = error,
                again_after_s = after.as_secs_f64(),
                "chunk put back"
            );
        }
        Disposition::Dead => tracing::error!(error, "chunk is dead"),
        Disposition::FailRun => {
            tracing::error!(error, "chunk is dead, the rest of its run is cancelled");
        }
        Disposition::Release => tracing::info!(reason = error, "chunk released"),
    }
}

fn log_loaded(counts: &ChunkCounts) {
    tracing::info!(
        extracted = counts.extracted,
        inserted = counts.inserted,
        updated = counts.updated,
        unchanged = counts.unchanged,
        stale = counts.stale,
        deleted = counts.deleted,
        rejected = counts.rejected,
        "chunk loaded"
    );
}
