//! Publishes chunks of the ledger to the queue: queues stay short, every tenant gets its share, and no chunk is lost.
//!
//! A chunk is marked queued before it is published, in a transaction that is committed. In the other order a fast worker
//! could see the message before the row. After a crash between the two steps, rescue returns the chunk to pending.

use std::sync::Arc;
use std::time::Duration;

use tidemark_broker::{Outgoing, Published, Queue, QueueError, Route};
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::{DispatchLimits, DispatchedChunk};
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::DbPool;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::telemetry;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_runtime::wake::Wakes;
use tidemark_shared::ids::{ChunkId, RunId};
use tidemark_shared::job::{Job, TraceContext};
use tracing::Span;

use crate::metrics::{self, Publication};

/// A fleet wakes the dispatcher hundreds of times a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// Pause before a chunk that the broker refused is published again.
const NOT_TAKEN_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Ledger(#[from] DbError),
    #[error("publish chunks")]
    Queue(#[source] QueueError),
    #[error(
        "{0} of the published chunks were not taken by the broker: its queues are missing or refuse messages"
    )]
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
        let mut ticker = Ticker::new("dispatch", self.tick, &lifecycle)
            .woken_by(&self.wakes.dispatch)
            .shortest_pause(SHORTEST_PAUSE)
            // a command plans its runs first, on all of the processors
            .pause_first(self.only.is_some());
        while ticker.next_turn().await {
            ticker.ended(self.tick().await);
        }
    }

    /// Publishes the due chunks for which there is room.
    async fn tick(&self) -> Result<Turn, DispatchError> {
        let mut tx = self.db.begin().await.attempt("begin a transaction")?;
        let due = ledger::chunk::dispatch(&mut tx, &self.limits, self.only.as_deref()).await?;
        // `None` while another dispatcher publishes the due chunks
        let due: Vec<OutgoingChunk> = due
            .into_iter()
            .flatten()
            .map(|chunk| OutgoingChunk::begin(chunk, &*self.queue))
            .collect();
        let begun: Vec<_> = due.iter().filter_map(OutgoingChunk::new_trace).collect();
        ledger::chunk::begin_traces(&mut tx, &begun).await?;
        tx.commit().await.attempt("mark chunks queued")?;
        if due.is_empty() {
            // nothing was sent to the broker
            return Ok(Turn::Untried);
        }
        self.publish(&due).await
    }

    async fn publish(&self, due: &[OutgoingChunk]) -> Result<Turn, DispatchError> {
        let jobs: Vec<Outgoing> = due.iter().map(OutgoingChunk::outgoing).collect();
        let outcome = match self.queue.publish_jobs(&jobs).await {
            Ok(outcome) => outcome,
            Err(error) => {
                metrics::count_published(Publication::Unknown, due.len());
                // unknown whether the broker took any of them; publishing a chunk twice is harmless
                let all: Vec<ChunkId> = due.iter().map(OutgoingChunk::id).collect();
                due.iter()
                    .for_each(|chunk| telemetry::record_failure(&chunk.span, &error));
                ledger::chunk::unqueue(&self.db, &all, NOT_TAKEN_DELAY).await?;
                return Err(DispatchError::Queue(error));
            }
        };
        let (taken, refused): (Vec<_>, Vec<_>) = due
            .iter()
            .zip(outcome)
            .partition(|(_, published)| *published == Published::Confirmed);
        let taken: Vec<ChunkId> = taken.into_iter().map(|(chunk, _)| chunk.id()).collect();
        metrics::count_published(Publication::Confirmed, taken.len());
        metrics::count_published(Publication::Refused, refused.len());
        ledger::chunk::mark_published(&self.db, &taken).await?;
        tracing::debug!(chunks = taken.len(), "chunks published");
        if refused.is_empty() {
            return Ok(Turn::Done);
        }
        let refused: Vec<ChunkId> = refused
            .into_iter()
            .map(|(chunk, outcome)| {
                telemetry::record_failure(&chunk.span, &QueueError::NotStored { outcome });
                chunk.id()
            })
            .collect();
        ledger::chunk::unqueue(&self.db, &refused, NOT_TAKEN_DELAY).await?;
        Err(DispatchError::NotTaken(refused.len()))
    }
}

/// A chunk to publish, and the span of its publication.
struct OutgoingChunk {
    chunk: DispatchedChunk,
    span: Span,
}

impl OutgoingChunk {
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

    /// The trace that begins here and is stored for later attempts; `None` when the chunk has a trace already.
    fn new_trace(&self) -> Option<(ChunkId, TraceContext)> {
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
