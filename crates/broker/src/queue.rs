//! The queue, as its users see it.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::delivery::{Handler, Outgoing, Published};
use super::destination::{Destination, Route};
use super::error::QueueError;
use super::health::QueueHealth;
use tidemark_shared::job::{ChunkEvent, Job, Lane, TraceContext};

/// How much waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// `live`, `bulk`, `events` or `dead`, without the prefix.
    pub queue: &'static str,
    /// Those that no consumer has been handed yet.
    pub messages: u32,
    pub consumers: u32,
}

/// The transport. The ledger is the truth: losing everything in here costs delay, never data.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Publishes jobs and waits until the broker has answered for every one, in order.
    /// On an error nothing is known of any of them; publishing again is harmless.
    async fn publish_jobs(&self, jobs: &[Outgoing]) -> Result<Vec<Published>, QueueError>;

    /// The same for events.
    async fn publish_events(
        &self,
        events: &[(ChunkEvent, TraceContext)],
    ) -> Result<Vec<Published>, QueueError>;

    /// Hands jobs of one lane to `handler`, at most `prefetch` at a time, until `stop` is cancelled; reconnects
    /// for as long as it takes. After `stop`: takes no more, gives back what was prefetched and not handed out,
    /// waits for the running handlers and settles their deliveries, then returns. Dropping the future instead drops
    /// the running handlers too; their deliveries come again.
    async fn consume_jobs(&self, lane: Lane, prefetch: u16, stop: CancellationToken, handler: Handler<Job>);

    /// The same for events.
    async fn consume_events(&self, prefetch: u16, stop: CancellationToken, handler: Handler<ChunkEvent>);

    /// For spans: the way of its messages. `None` where no broker is on it.
    fn destination(&self, route: Route) -> Option<Destination>;

    /// What a readiness endpoint wants to know. Asks nobody, so it is cheap and never waits.
    fn health(&self) -> QueueHealth;

    /// How much waits in each queue. Asks the broker, so not for every reader of a metric.
    async fn depths(&self) -> Result<Vec<QueueDepth>, QueueError>;

    /// Connects, declares the queues and leaves, for start-up and `doctor`. Its errors tell a server that is not there
    /// ([`QueueError::Unreachable`]) from wrong credentials ([`QueueError::Refused`]) and from queues that cannot be
    /// declared ([`QueueError::Topology`]), and say what to do.
    async fn check(&self) -> Result<(), QueueError>;
}
