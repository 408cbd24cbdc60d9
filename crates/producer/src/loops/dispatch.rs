//! From the ledger into the queue: short queues, fair to every tenant, and nothing lost in between.
//!
//! A chunk is marked queued and committed before it is published (the other way round a fast worker sees the message
//! before the row). A crash in between leaves it queued and unpublished, which rescue returns to pending.

use std::sync::Arc;
use std::time::Duration;

use tidemark_broker::{Outgoing, Published, Queue, QueueError, Route};
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::{DispatchLimits, DispatchedChunk};
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::DbPool;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::telemetry;
use tidemark_shared::ids::{ChunkId, RunId};
use tidemark_shared::job::{Job, TraceContext};
use tokio::time::Instant;
use tracing::Span;

use crate::metrics::{self, Publication};
use tidemark_runtime::wake::{Failures, Wakes, pause};

/// From one look to the next at least.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// Pause before a chunk that the broker did not take is tried again.
const NOT_TAKEN_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Ledger(#[from] DbError),
    #[error("publish chunks")]
    Queue(#[source] QueueError),
    #[error("{0} of the published chunks were not taken by the broker: its queues are missing or refuse")]
    NotTaken(usize),
}

/// The dispatch loop.
pub struct Dispatcher {
    db: DbPool,
    queue: Arc<dyn Queue>,
    limits: DispatchLimits,
    tick: Duration,
    wakes: Wakes,
    only: Option<Vec<RunId>>,
}

impl Dispatcher {
    /// `only` restricts it to these runs (`--local`).
    #[must_use]
    pub fn new(
        db: DbPool,
        queue: Arc<dyn Queue>,
        limits: DispatchLimits,
        tick: Duration,
        wakes: Wakes,
        only: Option<Vec<RunId>>,
    ) -> Self {
        Self {
            db,
            queue,
            limits,
            tick,
            wakes,
            only,
        }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        let mut failures = Failures::of("dispatch");
        // a command's own runs are planned first, on all of the processors
        if self.only.is_some() && !pause(&self.wakes.dispatch, self.tick, &lifecycle).await {
            return;
        }
        loop {
            match self.tick().await {
                // nothing was due: that tells nothing of the broker
                Ok(0) => {}
                Ok(_) => failures.over(),
                Err(error) => failures.another(&error),
            }
            let looked_at = Instant::now();
            if !pause(&self.wakes.dispatch, failures.pause(self.tick), &lifecycle).await {
                return;
            }
            // a fleet tells of hundreds of chunks a second
            tokio::time::sleep_until(looked_at + BETWEEN_LOOKS).await;
        }
    }

    /// Publishes what is due and has room; returns how many chunks the broker took.
    async fn tick(&self) -> Result<usize, DispatchError> {
        let mut tx = self.db.begin().await.attempt("begin a transaction")?;
        let due = ledger::chunk::dispatch(&mut tx, &self.limits, self.only.as_deref()).await?;
        // none when another dispatcher is at it: it takes what there is
        let due: Vec<Sending> = due
            .into_iter()
            .flatten()
            .map(|chunk| Sending::begin(chunk, &*self.queue))
            .collect();
        let begun: Vec<_> = due.iter().filter_map(Sending::begun_trace).collect();
        ledger::chunk::begin_traces(&mut tx, &begun).await?;
        tx.commit().await.attempt("mark chunks queued")?;
        if due.is_empty() {
            return Ok(0);
        }
        self.publish(&due).await
    }

    async fn publish(&self, due: &[Sending]) -> Result<usize, DispatchError> {
        let jobs: Vec<Outgoing> = due.iter().map(Sending::outgoing).collect();
        let outcome = match self.queue.publish_jobs(&jobs).await {
            Ok(outcome) => outcome,
            Err(error) => {
                metrics::published(Publication::Unknown, due.len());
                // nothing is known of any of them; publishing again is harmless
                let all: Vec<ChunkId> = due.iter().map(Sending::id).collect();
                due.iter()
                    .for_each(|sending| telemetry::record_failure(&sending.span, &error));
                ledger::chunk::unqueue(&self.db, &all, NOT_TAKEN_DELAY).await?;
                return Err(DispatchError::Queue(error));
            }
        };
        let (taken, refused): (Vec<_>, Vec<_>) = due
            .iter()
            .zip(outcome)
            .partition(|(_, published)| *published == Published::Confirmed);
        let taken: Vec<ChunkId> = taken.into_iter().map(|(sending, _)| sending.id()).collect();
        metrics::published(Publication::Confirmed, taken.len());
        metrics::published(Publication::Refused, refused.len());
        ledger::chunk::mark_published(&self.db, &taken).await?;
        tracing::debug!(chunks = taken.len(), "chunks published");
        if refused.is_empty() {
            return Ok(taken.len());
        }
        let refused: Vec<ChunkId> = refused
            .into_iter()
            .map(|(sending, outcome)| {
                telemetry::record_failure(&sending.span, &QueueError::NotStored { outcome });
                sending.id()
            })
            .collect();
        ledger::chunk::unqueue(&self.db, &refused, NOT_TAKEN_DELAY).await?;
        Err(DispatchError::NotTaken(refused.len()))
    }
}

/// A chunk on its way to the broker, and the span of that.
struct Sending {
    chunk: DispatchedChunk,
    span: Span,
}

impl Sending {
    fn begin(chunk: DispatchedChunk, queue: &dyn Queue) -> Self {
        let span = tracing::info_span!(
            parent: None, "dispatch", otel.kind = "producer", tenant.id = %chunk.tenant_id, run.id = %chunk.run_id,
            chunk.seq = chunk.seq, attempt = chunk.attempt,
        );
        if chunk.traceparent.is_some() {
            let context = TraceContext {
                traceparent: chunk.traceparent.clone(),
                tracestate: chunk.tracestate.clone(),
            };
            telemetry::set_parent(&span, &context);
        } else {
            telemetry::link(&span, &TraceContext::of_run(chunk.run_traceparent.clone()));
        }
        if let Some(destination) = queue.destination(Route::Chunks(chunk.lane)) {
            destination.describe_send(&span);
        }
        Self { chunk, span }
    }

    const fn id(&self) -> ChunkId {
        self.chunk.id()
    }

    /// The chunk's own trace, when this is its beginning: later attempts are in it too.
    fn begun_trace(&self) -> Option<(ChunkId, TraceContext)> {
        if self.chunk.traceparent.is_some() {
            return None;
        }
        let context = telemetry::context_of(&self.span);
        context.traceparent.is_some().then(|| (self.id(), context))
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            job: Job::new(self.id(), self.chunk.tenant_id, self.chunk.attempt),
            lane: self.chunk.lane,
            context: telemetry::context_of(&self.span),
        }
    }
}
