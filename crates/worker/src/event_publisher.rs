//! Publishes events about ended chunks in the background: a delivery is acknowledged without waiting for them.

use std::sync::Arc;

use tidemark_broker::{Published, Queue, QueueError, Route};
use tidemark_postgres::report::report;
use tidemark_runtime::telemetry;
use tidemark_shared::job::ChunkEvent;
use tokio::sync::mpsc;
use tracing::Span;

/// Unpublished events that are queued. Further ones are dropped: the finalizer also polls.
const MAX_PENDING: usize = 1_000;

/// Queues events and never waits.
#[derive(Clone)]
pub(crate) struct EventSender {
    queue: Arc<dyn Queue>,
    pending: mpsc::Sender<PendingEvent>,
}

struct PendingEvent {
    event: ChunkEvent,
    span: Span,
}

/// Publishes the queued events.
pub(crate) struct EventPublisher {
    queue: Arc<dyn Queue>,
    pending: mpsc::Receiver<PendingEvent>,
}

pub(crate) fn event_channel(queue: &Arc<dyn Queue>) -> (EventSender, EventPublisher) {
    let (pending_sender, pending_receiver) = mpsc::channel(MAX_PENDING);
    let sender = EventSender {
        queue: Arc::clone(queue),
        pending: pending_sender,
    };
    let publisher = EventPublisher {
        queue: Arc::clone(queue),
        pending: pending_receiver,
    };
    (sender, publisher)
}

impl EventSender {
    pub fn send(&self, event: ChunkEvent) {
        let span = tracing::info_span!("event", otel.kind = "producer");
        if let Some(destination) = self.queue.destination(Route::Events) {
            destination.describe_send(&span);
        }
        if self.pending.try_send(PendingEvent { event, span }).is_err() {
            tracing::debug!("event not published, the finalizer polls");
        }
    }
}

impl EventPublisher {
    /// Publishes the queued events, many at a time, until all senders are dropped.
    pub async fn run(mut self) {
        let mut collected = Vec::new();
        while self.pending.recv_many(&mut collected, MAX_PENDING).await > 0 {
            self.publish(&collected).await;
            collected.clear();
        }
    }

    async fn publish(&self, collected: &[PendingEvent]) {
        let events: Vec<_> = collected
            .iter()
            .map(|pending| (pending.event, telemetry::context_of(&pending.span)))
            .collect();
        match self.queue.publish_events(&events).await {
            Ok(outcomes) => {
                for (pending, outcome) in collected.iter().zip(outcomes) {
                    if outcome != Published::Confirmed {
                        failed(pending, &QueueError::NotStored { outcome });
                    }
                }
            }
            Err(error) => collected.iter().for_each(|pending| failed(pending, &error)),
        }
    }
}

fn failed(pending: &PendingEvent, error: &QueueError) {
    telemetry::record_failure(&pending.span, error);
    tracing::debug!(error = %report(error), "event not published, the finalizer polls");
}
