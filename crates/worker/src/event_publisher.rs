//! Events about chunks that have ended, told beside the work: a delivery is acknowledged without waiting for them.

use std::sync::Arc;

use tidemark_broker::{Published, Queue, QueueError, Route};
use tidemark_postgres::report::report;
use tidemark_runtime::telemetry;
use tidemark_shared::job::ChunkEvent;
use tokio::sync::mpsc;
use tracing::Span;

/// Events on their way. One that finds no room is not told: the finalizer looks by itself.
const UNTOLD: usize = 1_000;

/// Takes events and never waits.
#[derive(Clone)]
pub(crate) struct Announcer {
    queue: Arc<dyn Queue>,
    untold: mpsc::Sender<Untold>,
}

struct Untold {
    event: ChunkEvent,
    span: Span,
}

/// The other end, that publishes.
pub(crate) struct Announcements {
    queue: Arc<dyn Queue>,
    untold: mpsc::Receiver<Untold>,
}

pub(crate) fn announcer(queue: &Arc<dyn Queue>) -> (Announcer, Announcements) {
    let (sender, receiver) = mpsc::channel(UNTOLD);
    let announcer = Announcer {
        queue: Arc::clone(queue),
        untold: sender,
    };
    let announcements = Announcements {
        queue: Arc::clone(queue),
        untold: receiver,
    };
    (announcer, announcements)
}

impl Announcer {
    pub fn tell(&self, event: ChunkEvent) {
        let span = tracing::info_span!("event", otel.kind = "producer");
        if let Some(destination) = self.queue.destination(Route::Events) {
            destination.describe_send(&span);
        }
        if self.untold.try_send(Untold { event, span }).is_err() {
            tracing::debug!("event not published, the finalizer looks by itself");
        }
    }
}

impl Announcements {
    /// Publishes what has gathered, all of it at once, until nobody tells any more.
    pub async fn run(mut self) {
        let mut gathered = Vec::new();
        while self.untold.recv_many(&mut gathered, UNTOLD).await > 0 {
            self.publish(&gathered).await;
            gathered.clear();
        }
    }

    async fn publish(&self, gathered: &[Untold]) {
        let events: Vec<_> = gathered
            .iter()
            .map(|untold| (untold.event, telemetry::context_of(&untold.span)))
            .collect();
        match self.queue.publish_events(&events).await {
            Ok(outcomes) => {
                for (untold, outcome) in gathered.iter().zip(outcomes) {
                    if outcome != Published::Confirmed {
                        failed(untold, &QueueError::NotStored { outcome });
                    }
                }
            }
            Err(error) => gathered.iter().for_each(|untold| failed(untold, &error)),
        }
    }
}

fn failed(untold: &Untold, error: &QueueError) {
    telemetry::record_failure(&untold.span, error);
    tracing::debug!(error = %report(error), "event not published, the finalizer looks by itself");
}
