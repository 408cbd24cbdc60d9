//! Tests of both queues, and tests that need a real RabbitMQ.

mod behaviour;
mod fixture;
mod rabbit;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Handler, Outgoing, Received, Settle};
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::job::{ChunkEvent, Job, Lane, TraceContext};

/// Long enough for a loaded machine. A test that passes never waits this long.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

fn chunk(seq: i32) -> ChunkId {
    let run_id = RunId(7);
    ChunkId { run_id, seq }
}

fn outgoing(lane: Lane, seq: i32) -> Outgoing {
    Outgoing {
        job: Job::new(chunk(seq), TenantId(2), 1),
        lane,
        context: context(seq),
    }
}

fn event(seq: i32) -> ChunkEvent {
    ChunkEvent::new(chunk(seq), TenantId(2))
}

async fn publish_event(queue: &impl super::Queue, seq: i32) -> Result<(), super::QueueError> {
    let published = queue.publish_events(&[(event(seq), context(seq))]).await?;
    assert_eq!(published, [super::Published::Confirmed]);
    Ok(())
}

fn context(seq: i32) -> TraceContext {
    TraceContext {
        traceparent: Some(format!("00-{seq:032x}-00f067aa0ba902b7-01")),
        tracestate: Some("vendor=tidemark".to_owned()),
    }
}

/// A handler that acknowledges, and the receiver of its messages.
fn collector<T: Send + 'static>() -> (Handler<T>, mpsc::Receiver<Received<T>>) {
    // more than any test sends: a full channel would look like a missing delivery
    let (sender, receiver) = mpsc::channel(1000);
    let handler: Handler<T> = Arc::new(move |received| {
        let sender = sender.clone();
        async move {
            sender.send(received).await.expect("the test reads until it ends");
            Settle::Ack
        }
        .boxed()
    });
    (handler, receiver)
}

/// A handler that reports its start and ends when the test cancels `gate`.
fn gated<T: Send + 'static>(gate: &CancellationToken) -> (Handler<T>, mpsc::Receiver<Received<T>>) {
    let gate = gate.clone();
    let (sender, receiver) = mpsc::channel(1000);
    let handler: Handler<T> = Arc::new(move |received| {
        let (sender, gate) = (sender.clone(), gate.clone());
        async move {
            sender.send(received).await.expect("the test reads until it ends");
            gate.cancelled().await;
            Settle::Ack
        }
        .boxed()
    });
    (handler, receiver)
}

async fn next<T>(receiver: &mut mpsc::Receiver<T>) -> T {
    let received = within("a delivery", receiver.recv()).await;
    received.expect("the consumer runs")
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let outcome = timeout(WAIT_LIMIT, work).await;
    outcome.unwrap_or_else(|_| panic!("waited {WAIT_LIMIT:?} for {what}"))
}

/// Polls until a state is reached.
async fn until(what: &str, reached: impl AsyncFn() -> bool) {
    let mut pace = interval(Duration::from_millis(20));
    within(what, async {
        while !reached().await {
            pace.tick().await;
        }
    })
    .await;
}
