//! Consumes jobs from both lanes, claims their chunks and executes them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use secrecy::SecretString;
use tidemark_broker::{Handler, Queue, Received, Route, Settle};
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::ClaimedChunk;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::WorkerSettings;
use tidemark_runtime::lifecycle::{Lifecycle, panic_message};
use tidemark_runtime::telemetry;
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::ids::ChunkId;
use tidemark_shared::job::{ChunkEvent, Job, Lane};
use tidemark_source::Sources;
use tracing::{Instrument, Span};

use crate::error::ExecuteError;
use crate::event_publisher::{EventSender, event_channel};
use crate::execute::Executor;
use crate::lease::{Lease, Lost};
use crate::ledger_retry::retry_while_unavailable;
use crate::metrics::{self, InFlight, Outcome};
use crate::read_permits::{ReadPermit, ReadPermits};
use crate::settle::{record_outcome, settle_done, settle_failed};

/// The worker of one process.
pub struct Worker {
    db: DbPool,
    queue: Arc<dyn Queue>,
    executor: Executor,
    instance: String,
    settings: WorkerSettings,
    read_permits: ReadPermits,
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
            read_permits: ReadPermits::new(&settings),
            db,
            queue,
            instance,
            settings,
            lifecycle,
        }
    }

    /// Consumes both lanes until the soft stop. Returns when the chunks in progress are settled.
    pub async fn run(self) {
        let concurrency = self.settings.concurrency;
        metrics::initialize(concurrency);
        let (events, publisher) = event_channel(&self.queue);
        let worker = Arc::new(self);
        let consumers = [Lane::Live, Lane::Bulk].map(|lane| {
            let handler: Handler<Job> = {
                let (worker, events) = (Arc::clone(&worker), events.clone());
                Arc::new(move |received| {
                    let (worker, events) = (Arc::clone(&worker), events.clone());
                    async move { worker.handle(lane, received, &events).await }.boxed()
                })
            };
            // prefetch one extra message, so that a chunk can start as soon as another has finished reading
            worker.queue.consume_jobs(
                lane,
                concurrency.saturating_add(1),
                worker.lifecycle.soft().clone(),
                handler,
            )
        });
        // the publisher ends when the last sender is dropped, and the handlers hold the others
        drop(events);
        tokio::join!(futures::future::join_all(consumers), publisher.run());
    }

    async fn handle(&self, lane: Lane, received: Received<Job>, events: &EventSender) -> Settle {
        metrics::delivered(received.redelivered);
        let permit = tokio::select! {
            biased;
            () = self.lifecycle.soft().cancelled() => return Settle::Requeue,
            permit = self.read_permits.acquire(lane) => permit,
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
        let processing = self.process(&job, events, permit).instrument(span);
        // after a panic: the lease expires, and rescue counts the attempt as failed
        self.lifecycle
            .catch_panic(&task, processing)
            .await
            .unwrap_or(Settle::Ack)
    }

    async fn process(&self, job: &Job, events: &EventSender, mut permit: ReadPermit) -> Settle {
        let claiming = retry_while_unavailable(&self.lifecycle, || {
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
                tracing::debug!("chunk not claimable: done, cancelled, claimed by another or unknown");
                record_outcome(Outcome::Refused);
                return Settle::Ack;
            }
            Err(error) if self.lifecycle.soft().is_cancelled() => {
                tracing::debug!(error = %report(&error), "chunk not claimed before the stop");
                return Settle::Requeue;
            }
            Err(error) => {
                // the chunk stays queued: dispatch publishes it again, as after a lost message
                tracing::error!(error = %report(&error), "chunk not claimed");
                return Settle::Ack;
            }
        };
        Span::current().record("attempt", claimed.attempt);
        let _in_flight = InFlight::begin(claimed.lane, claimed.waited());
        let id = job.chunk();
        let executing = AssertUnwindSafe(self.execute(id, &claimed, &mut permit)).catch_unwind();
        let (outcome, panic) = match executing.await {
            Ok(outcome) => (outcome, None),
            Err(panic) => {
                let message = panic_message(&*panic);
                (Err(ExecuteError::Panicked(message.clone())), Some(message))
            }
        };
        match outcome {
            Ok(counts) => {
                settle_done(&claimed, &counts);
            }
            Err(error) => {
                if let Err(error) = settle_failed(&self.db, &self.lifecycle, id, &claimed, &error).await {
                    // the lease expires, and rescue returns the chunk to pending
                    tracing::warn!(error = %report(&error), "chunk outcome not written");
                }
            }
        }
        if let Some(message) = panic {
            self.lifecycle
                .panicked(&format!("chunk {}/{}", id.run_id, id.seq), message);
        }
        events.send(ChunkEvent::new(id, claimed.tenant_id));
        Settle::Ack
    }

    /// Executes the chunk while its lease is renewed. A hard stop drops the work.
    async fn execute(
        &self,
        id: ChunkId,
        claimed: &ClaimedChunk,
        permit: &mut ReadPermit,
    ) -> Result<ChunkCounts, ExecuteError> {
        let lease = Lease {
            db: self.db.clone(),
            chunk: id,
            attempt: claimed.attempt,
            length: self.settings.lease,
        };
        tokio::select! {
            outcome = lease.run(Box::pin(self.executor.execute(id, claimed, permit))) => match outcome {
                Ok(outcome) => outcome,
                Err(Lost) => Err(ExecuteError::LeaseLost),
            },
            () = self.lifecycle.hard().cancelled() => Err(ExecuteError::ShuttingDown),
        }
    }
}
