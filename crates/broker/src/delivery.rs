//! A message on its way: published, received, settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use tidemark_shared::job::{Job, Lane, TraceContext};

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
    Requeue,
}

pub type Handler<T> = Arc<dyn Fn(Received<T>) -> BoxFuture<'static, Settle> + Send + Sync>;

/// Runs a handler. A panic in it settles the delivery as done: given back it would come again at once and panic
/// again, while the ledger sends the chunk anew when its lease has run out, and counts the attempts.
pub(super) async fn run_handler<T>(handler: &Handler<T>, received: Received<T>) -> Settle {
    let handling = AssertUnwindSafe(async { handler(received).await });
    handling.catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("handler panicked, delivery dropped");
        Settle::Ack
    })
}
