//! Who is connected, for readiness and for the log.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::error::QueueError;

/// The state of a queue's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueHealth {
    pub publisher: PublisherHealth,
    /// One for every `consume_…` that has not returned yet.
    pub consumers: Vec<ConsumerHealth>,
}

impl QueueHealth {
    /// Publishing does not fail, and every consumer is subscribed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.publisher != PublisherHealth::Failing
            && self.consumers.iter().all(|consumer| consumer.subscribed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublisherHealth {
    /// No connection, and none missed: the next publish makes one.
    Idle,
    Connected,
    /// The last publish failed; the next one that succeeds ends this.
    Failing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHealth {
    pub queue: String,
    /// The broker has accepted the subscription and the connection lives, as far as is known.
    pub subscribed: bool,
}

/// The running consumers of one queue object. A consumer leaves by being dropped.
#[derive(Default)]
pub(super) struct Subscriptions(Mutex<Vec<Weak<Subscription>>>);

impl Subscriptions {
    pub fn add(&self, queue: &str) -> Arc<Subscription> {
        let subscription = Arc::new(Subscription {
            queue: queue.to_owned(),
            state: Mutex::new(State::Starting),
        });
        let mut all = lock(&self.0);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&subscription));
        subscription
    }

    pub fn health(&self) -> Vec<ConsumerHealth> {
        let all = lock(&self.0);
        all.iter()
            .filter_map(Weak::upgrade)
            .map(|one| one.health())
            .collect()
    }

    /// Subscriptions to a queue.
    pub fn count(&self, queue: &str) -> u32 {
        let consumers = self.health().into_iter();
        let count = consumers
            .filter(|one| one.subscribed && one.queue == queue)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// The state of one consumer. Says every change in the log, once.
pub(super) struct Subscription {
    queue: String,
    state: Mutex<State>,
}

enum State {
    Starting,
    Subscribed,
    /// With the words that the log has already had.
    Lost(String),
}

impl Subscription {
    pub fn subscribed(&self) {
        *lock(&self.state) = State::Subscribed;
        tracing::info!(queue = self.queue, "subscribed");
    }

    /// A failed attempt to come back is news only when it fails in another way than the one before.
    pub fn failed(&self, error: &QueueError) {
        let error = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let mut state = lock(&self.state);
        if !matches!(&*state, State::Lost(known) if *known == error) {
            tracing::warn!(queue = self.queue, error, "not subscribed, trying until it works");
        }
        *state = State::Lost(error);
    }

    /// Stopped on request: nothing to warn of.
    pub fn unsubscribed(&self) {
        *lock(&self.state) = State::Starting;
        tracing::info!(queue = self.queue, "unsubscribed");
    }

    fn health(&self) -> ConsumerHealth {
        ConsumerHealth {
            queue: self.queue.clone(),
            subscribed: matches!(*lock(&self.state), State::Subscribed),
        }
    }
}

/// No code panics while it holds one of these locks, and a reader of states could live with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
