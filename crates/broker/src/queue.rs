//! The queue's interface.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::delivery::{Handler, Outgoing, Published};
use super::destination::{Destination, Route};
use super::error::QueueError;
use super::health::QueueHealth;
use tidemark_shared::job::{ChunkEvent, Job, Lane, TraceContext};

/// The number of messages and consumers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// `live`, `bulk`, `events` or `dead`, without the prefix.
    pub queue: &'static str,
    /// Messages not yet delivered to a consumer.
    pub messages: u32,
    pub consumers: u32,
}

/// The transport. The ledger is the source of truth: losing all messages costs time, never data.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Publishes jobs and waits for the broker's answer for each, in order.
    /// After an error the outcome of every job is unknown; publishing again is harmless.
    async fn publish_jobs(&self, jobs: &[Outgoing]) -> Result<Vec<Published>, QueueError>;

    /// Like [`Self::publish_jobs`], for events.
    async fn publish_events(
        &self,
        events: &[(ChunkEvent, TraceContext)],
    ) -> Result<Vec<Published>, QueueError>;

    /// Passes jobs of one lane to `handler`, at most `prefetch` at a time, until `stop` is cancelled. Reconnects without a
    /// limit. After `stop` it takes no more jobs, requeues those that no handler has started, waits for the running handlers,
    /// settles their deliveries and returns. Dropping the future drops the running handlers too; their deliveries come again.
    async fn consume_jobs(&self, lane: Lane, prefetch: u16, stop: CancellationToken, handler: Handler<Job>);

    /// Like [`Self::consume_jobs`], for events.
    async fn consume_events(&self, prefetch: u16, stop: CancellationToken, handler: Handler<ChunkEvent>);

    /// The destination of messages, for spans. `None` without a broker.
    fn destination(&self, route: Route) -> Option<Destination>;

    /// The state for a readiness endpoint. Sends no request, so it is cheap and never waits.
    fn health(&self) -> QueueHealth;

    /// The depth of each queue. Sends requests to the broker, so do not call it for every scrape.
    async fn depths(&self) -> Result<Vec<QueueDepth>, QueueError>;

    /// Connects, declares the queues and disconnects, for start-up and `doctor`. Errors distinguish an unreachable server
    /// ([`QueueError::Unreachable`]), wrong credentials ([`QueueError::Refused`]) and queues that cannot be declared
    /// ([`QueueError::Topology`]).
    async fn check(&self) -> Result<(), QueueError>;

    /// Closes all connections and waits for the broker's answer. The last call before the process ends: without it the
    /// broker logs a client that disappeared.
    async fn close(&self);
}
