//! The state of connections and subscriptions, for readiness and the log.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::error::QueueError;

/// The state of a queue's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueHealth {
    pub publisher: PublisherHealth,
    /// One for each running `consume_…` call.
    pub consumers: Vec<ConsumerHealth>,
    /// The broker refused user, password or virtual host at the last attempt to connect.
    pub refuses_login: bool,
}

impl QueueHealth {
    /// Whether publishing works and every consumer is subscribed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.publisher != PublisherHealth::Failing
            && self.consumers.iter().all(|consumer| consumer.subscribed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublisherHealth {
    /// Not connected yet: the next publish opens a connection.
    Idle,
    Connected,
    /// The last publish failed. The next success ends this state.
    Failing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHealth {
    pub queue: String,
    /// The broker has accepted the subscription, and no failure of the connection is known.
    pub subscribed: bool,
}

/// The running consumers of one queue object. A dropped consumer is removed.
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

    /// The number of subscriptions to a queue.
    pub fn count(&self, queue: &str) -> u32 {
        let consumers = self.health().into_iter();
        let count = consumers
            .filter(|one| one.subscribed && one.queue == queue)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// The state of one consumer. Logs each change once.
pub(super) struct Subscription {
    queue: String,
    state: Mutex<State>,
}

enum State {
    Starting,
    Subscribed,
    /// With the error that was logged last.
    Lost(String),
}

impl Subscription {
    pub fn subscribed(&self) {
        *lock(&self.state) = State::Subscribed;
        tracing::info!(queue = self.queue, "subscribed");
    }

    /// Logs a failed attempt only if its error differs from the previous one.
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

    /// The consumer was stopped, which is no failure.
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

/// No code panics while it holds one of these locks. Poisoning would not matter for these states.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
