//! The queue between producer, workers and finalizer: a trait with two implementations, RabbitMQ and memory.
//!
//! Acks happen in this module alone: a handler says what became of a delivery, the consumer settles it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::job::{ChunkEvent, Job, Lane, TraceContext};

/// A job on its way into the queue.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub job: Job,
    pub lane: Lane,
    pub context: TraceContext,
}

/// What the broker said of one published job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Stored: the broker took responsibility.
    Confirmed,
    /// Returned: no queue is bound. The job is not stored.
    Unroutable,
    /// Refused (nack). The job is not stored.
    Rejected,
}

/// A message handed to a handler.
#[derive(Debug, Clone)]
pub struct Received<T> {
    pub body: T,
    pub context: TraceContext,
    pub redelivered: bool,
}

/// What a handler made of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// The ledger holds the outcome: acknowledge.
    Ack,
    /// Not started (shutting down): give it back for another consumer.
    GiveBack,
}

pub type Handler<T> = Arc<dyn Fn(Received<T>) -> BoxFuture<'static, Settle> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("{0}")]
    Placeholder(&'static str),
}

/// The transport. The ledger is the truth: losing everything in here costs delay, never data.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Publishes jobs and waits until the broker has answered for every one, in order.
    /// On an error nothing is known of any of them; publishing again is harmless.
    async fn publish_jobs(&self, jobs: &[Outgoing]) -> Result<Vec<Published>, QueueError>;

    /// Publishes one event and waits for its confirmation.
    async fn publish_event(&self, event: ChunkEvent, context: &TraceContext) -> Result<(), QueueError>;

    /// Hands jobs of one lane to `handler`, at most `prefetch` at a time, until `stop` is cancelled; reconnects
    /// for as long as it takes. After `stop`: takes no more, gives back what was prefetched and not handed out,
    /// waits for the running handlers and settles their deliveries, then returns.
    async fn consume_jobs(&self, lane: Lane, prefetch: u16, stop: CancellationToken, handler: Handler<Job>);

    /// The same for events.
    async fn consume_events(&self, prefetch: u16, stop: CancellationToken, handler: Handler<ChunkEvent>);
}
