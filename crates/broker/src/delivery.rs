//! A message on its way: published, received, settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use tidemark_shared::job::{Job, Lane, TraceContext};

/// A job to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub job: Job,
    pub lane: Lane,
    pub context: TraceContext,
}

/// The broker's answer for one published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The broker stored the message.
    Confirmed,
    /// No queue is bound to the routing key. The message is not stored.
    Unroutable,
    /// The broker refused it (nack). The message is not stored.
    Rejected,
}

/// A message for a handler.
#[derive(Debug, Clone)]
pub struct Received<T> {
    pub body: T,
    pub context: TraceContext,
    pub redelivered: bool,
}

/// How a handler wants its delivery settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// The outcome is in the ledger: acknowledge.
    Ack,
    /// Not started, because the process shuts down: requeue for another consumer. The message comes again at once, so a
    /// handler that requeues for another reason makes a busy loop.
    Requeue,
}

pub type Handler<T> = Arc<dyn Fn(Received<T>) -> BoxFuture<'static, Settle> + Send + Sync>;

/// Runs a handler. If it panics the delivery is acknowledged: requeued, it would come again at once and panic again. The
/// ledger dispatches the chunk again when its lease expires, and counts the attempts.
pub(super) async fn run_handler<T>(handler: &Handler<T>, received: Received<T>) -> Settle {
    let handling = AssertUnwindSafe(async { handler(received).await });
    handling.catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("handler panicked, delivery dropped");
        Settle::Ack
    })
}
