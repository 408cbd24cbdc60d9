//! Listens to the events of the fleet: a chunk has ended.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidemark_broker::{Handler, Queue, Settle};
use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::ticker::Failures;
use tidemark_runtime::wake::Wakes;
use tidemark_shared::job::ChunkEvent;
use tokio::sync::Notify;

/// Events only wake loops, so many may be taken at once.
const PREFETCH: u16 = 100;
/// A fleet ends hundreds of chunks a second; other processes need one notice for several of them.
const PAUSE_BETWEEN_NOTICES: Duration = Duration::from_millis(10);

/// The loop over events. Each wakes the finalizer and the dispatcher of this process.
pub struct EventListener {
    queue: Arc<dyn Queue>,
    wakes: Wakes,
    notified: Option<DbPool>,
}

impl EventListener {
    /// `notified`: the ledger through which the dispatchers of other processes are notified, too.
    #[must_use]
    pub fn new(queue: Arc<dyn Queue>, wakes: Wakes, notified: Option<DbPool>) -> Self {
        Self {
            queue,
            wakes,
            notified,
        }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        let wakes = self.wakes;
        let chunk_ended = Arc::new(Notify::new());
        let handler: Handler<ChunkEvent> = {
            let chunk_ended = Arc::clone(&chunk_ended);
            Arc::new(move |event| {
                wakes.may_be_complete(event.body.run_id);
                wakes.dispatch.notify_one();
                chunk_ended.notify_one();
                async { Settle::Ack }.boxed()
            })
        };
        let notices = async {
            if let Some(db) = &self.notified {
                notify_capacity(db, &chunk_ended, &lifecycle).await;
            }
        };
        tokio::join!(
            self.queue
                .consume_events(PREFETCH, lifecycle.soft().clone(), handler),
            notices
        );
    }
}

/// Notifies other processes that chunks have ended. A process that misses the notice dispatches at its next tick.
async fn notify_capacity(db: &DbPool, chunk_ended: &Notify, lifecycle: &Lifecycle) {
    let mut failures = Failures::of("capacity notices");
    loop {
        tokio::select! {
            () = lifecycle.soft().cancelled() => return,
            () = chunk_ended.notified() => {}
        }
        match ledger::notice::notify_capacity(db).await {
            Ok(()) => failures.over(),
            Err(error) => failures.another(&error),
        }
        tokio::time::sleep(PAUSE_BETWEEN_NOTICES).await;
    }
}
