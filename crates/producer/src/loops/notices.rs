//! Notices of other processes, passed on to the loops of this one.

use std::time::Duration;

use tidemark_ledger::notice;
use tidemark_ledger::notice::Notice;
use tidemark_postgres::DbPool;
use tidemark_runtime::lifecycle::Lifecycle;
use tokio::sync::Notify;

use tidemark_runtime::wake::{Failures, Wakes, pause};

/// Wakes planning and dispatch as soon as there is a reason, and not only at the next tick.
pub async fn listen_for_notices(db: DbPool, wakes: Wakes, tick: Duration, lifecycle: Lifecycle) {
    let mut failures = Failures::of("notices");
    let never = Notify::new();
    let heard = |notice| match notice {
        Notice::Request => wakes.request.notify_one(),
        Notice::Capacity => wakes.dispatch.notify_one(),
    };
    loop {
        tokio::select! {
            () = lifecycle.soft().cancelled() => return,
            outcome = notice::listen(&db, heard) => {
                let Err(error) = outcome;
                failures.another(&error);
            }
        }
        if !pause(&never, failures.pause(tick), &lifecycle).await {
            return;
        }
    }
}
