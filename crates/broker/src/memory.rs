//! The queue of a single process, for `--local` and for tests that do not need RabbitMQ.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::delivery::{Handler, Outgoing, Published, Received, Settle, run_handler};
use super::destination::{Destination, Route};
use super::error::QueueError;
use super::health::{PublisherHealth, QueueHealth, Subscriptions};
use super::queue::{Queue, QueueDepth};
use tidemark_shared::job::{ChunkEvent, Job, Lane, TraceContext};

/// Capacity of a buffer: well above the number of chunks in flight, and below a megabyte.
///
/// A full buffer rejects messages. Waiting could take forever if the consumer has stopped or is the caller itself. A rejected
/// job stays pending in the ledger, and an event only wakes the finalizer early.
const CAPACITY: usize = 4096;

/// The queue in memory. Its messages are lost with the process; the ledger dispatches them again.
pub struct MemoryQueue {
    live: Arc<Buffer<Job>>,
    bulk: Arc<Buffer<Job>>,
    events: Arc<Buffer<ChunkEvent>>,
    subscriptions: Subscriptions,
}

impl MemoryQueue {
    #[must_use]
    pub fn new() -> Self {
        Self {
            live: Arc::new(Buffer::new("chunks.live")),
            bulk: Arc::new(Buffer::new("chunks.bulk")),
            events: Arc::new(Buffer::new("events")),
            subscriptions: Subscriptions::default(),
        }
    }

    const fn chunks(&self, lane: Lane) -> &Arc<Buffer<Job>> {
        match lane {
            Lane::Live => &self.live,
            Lane::Bulk => &self.bulk,
        }
    }

    async fn consume<T: Clone + Send + 'static>(
        &self,
        buffer: &Arc<Buffer<T>>,
        prefetch: u16,
        stop: CancellationToken,
        handler: Handler<T>,
    ) {
        let subscription = self.subscriptions.add(buffer.name);
        subscription.subscribed();
        let slots = Arc::new(Semaphore::new(prefetch.max(1).into()));
        let mut tasks = JoinSet::new();
        let next = async || {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot.expect("the semaphore is never closed"), buffer.take().await)
        };
        while let Some((slot, received)) = stop.run_until_cancelled(next()).await {
            let handler = Arc::clone(&handler);
            let delivery = Unsettled {
                buffer: Arc::clone(buffer),
                message: Some(received.clone()),
            };
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let _slot = slot;
                if run_handler(&handler, received).await == Settle::Ack {
                    delivery.ack();
                }
            });
        }
        subscription.unsubscribed();
        while tasks.join_next().await.is_some() {}
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn publish_jobs(&self, jobs: &[Outgoing]) -> Result<Vec<Published>, QueueError> {
        let published = jobs.iter().map(|outgoing| {
            let buffer = self.chunks(outgoing.lane);
            buffer.offer(outgoing.job, &outgoing.context)
        });
        Ok(published.collect())
    }

    async fn publish_events(
        &self,
        events: &[(ChunkEvent, TraceContext)],
    ) -> Result<Vec<Published>, QueueError> {
        let published = events
            .iter()
            .map(|(event, context)| self.events.offer(*event, context));
        Ok(published.collect())
    }

    async fn consume_jobs(&self, lane: Lane, prefetch: u16, stop: CancellationToken, handler: Handler<Job>) {
        self.consume(self.chunks(lane), prefetch, stop, handler).await;
    }

    async fn consume_events(&self, prefetch: u16, stop: CancellationToken, handler: Handler<ChunkEvent>) {
        self.consume(&self.events, prefetch, stop, handler).await;
    }

    fn destination(&self, _route: Route) -> Option<Destination> {
        None
    }

    fn health(&self) -> QueueHealth {
        QueueHealth {
            refuses_login: false,
            publisher: PublisherHealth::Connected,
            consumers: self.subscriptions.health(),
        }
    }

    async fn depths(&self) -> Result<Vec<QueueDepth>, QueueError> {
        let depth = |queue, name: &str, messages: usize| QueueDepth {
            queue,
            messages: u32::try_from(messages).unwrap_or(u32::MAX),
            consumers: self.subscriptions.count(name),
        };
        Ok(vec![
            depth("live", self.live.name, self.live.lock().len()),
            depth("bulk", self.bulk.name, self.bulk.lock().len()),
            depth("events", self.events.name, self.events.lock().len()),
        ])
    }

    async fn check(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn close(&self) {}
}

/// A bounded queue. Returned messages go to its front.
struct Buffer<T> {
    name: &'static str,
    messages: Mutex<VecDeque<Received<T>>>,
    /// One permit for each message.
    count: Semaphore,
}

impl<T> Buffer<T> {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            messages: Mutex::new(VecDeque::new()),
            count: Semaphore::new(0),
        }
    }

    fn offer(&self, body: T, context: &TraceContext) -> Published {
        let mut messages = self.lock();
        if messages.len() >= CAPACITY {
            return Published::Rejected;
        }
        messages.push_back(Received {
            body,
            context: context.clone(),
            redelivered: false,
        });
        self.count.add_permits(1);
        Published::Confirmed
    }

    /// Always accepted: the number of messages outside the buffer is at most the number of running handlers.
    fn put_back(&self, mut received: Received<T>) {
        received.redelivered = true;
        self.lock().push_front(received);
        self.count.add_permits(1);
    }

    /// Cancellation-safe: nothing is awaited between taking a permit and taking its message.
    async fn take(&self) -> Received<T> {
        let permit = self.count.acquire().await.expect("the semaphore is never closed");
        permit.forget();
        self.lock()
            .pop_front()
            .expect("every permit stands for a message")
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Received<T>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that a handler processes. It returns to the buffer unless acknowledged, even if the handler is dropped.
struct Unsettled<T> {
    buffer: Arc<Buffer<T>>,
    message: Option<Received<T>>,
}

impl<T> Unsettled<T> {
    fn ack(mut self) {
        self.message.take();
    }
}

impl<T> Drop for Unsettled<T> {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.buffer.put_back(message);
        }
    }
}
