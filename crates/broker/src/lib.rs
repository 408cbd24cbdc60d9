//! The queue between producer, workers and finalizer: a trait with two implementations, RabbitMQ and memory.
//!
//! Acks happen in this module alone: a handler says what became of a delivery, the consumer settles it.

mod certificates;
mod checkup;
mod connection;
mod consumer;
mod dead;
mod depth;
mod destination;
mod error;
mod health;
mod management;
mod memory;
mod message;
pub mod metrics;
mod publisher;
mod rabbit;
#[cfg(test)]
mod tests;
mod topology;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use tidemark_shared::job::{ChunkEvent, Job, Lane, TraceContext};

pub use dead::{DeadDelivery, DeadFilter, DeadGroup, DeadLetters, DeadMessage};
pub use destination::{Destination, Route};
pub use error::QueueError;
pub use health::{ConsumerHealth, PublisherHealth, QueueHealth};
pub use memory::MemoryQueue;
pub use rabbit::{RabbitQueue, RabbitSettings};

/// A job on its way into the queue.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub job: Job,
    pub lane: Lane,
    pub context: TraceContext,
}

/// What the broker said of one published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Stored: the broker took responsibility.
    Confirmed,
    /// Returned: no queue is bound. The job is not stored.
    Unroutable,
    /// Refused (nack). The job is not stored.
    Rejected,
}

/// How much waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// `live`, `bulk`, `events` or `dead`, without the prefix.
    pub queue: &'static str,
    /// Those that no consumer has been handed yet.
    pub messages: u32,
    pub consumers: u32,
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
    /// Not started (shutting down): give it back for another consumer. It comes again at once, so a handler that
    /// gives back for any other reason makes a busy loop.
    GiveBack,
}

pub type Handler<T> = Arc<dyn Fn(Received<T>) -> BoxFuture<'static, Settle> + Send + Sync>;

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

/// Runs a handler. A panic in it settles the delivery as done: given back it would come again at once and panic
/// again, while the ledger sends the chunk anew when its lease has run out, and counts the attempts.
async fn run_handler<T>(handler: &Handler<T>, received: Received<T>) -> Settle {
    let handling = AssertUnwindSafe(async { handler(received).await });
    handling.catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("handler panicked, delivery dropped");
        Settle::Ack
    })
}
