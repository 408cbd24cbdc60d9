//! What processes tell each other through the ledger's database, so that a loop looks before its next tick. A notice that is
//! lost costs a tick.

use std::convert::Infallible;

use sqlx::PgExecutor;
use sqlx::postgres::PgListener;

use super::{Attempt, DbResult, statements};
use tidemark_postgres::DbPool;

/// As `REQUEST` in `run.rs` has it.
const REQUESTS: &str = "tidemark_requests";
const CAPACITY: &str = "tidemark_room";

statements! {
    // nobody waits for it to be on disk
    NOTIFY_CAPACITY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('tidemark_room', '') \
                    WHERE EXISTS (SELECT FROM etl_chunk WHERE status = 'pending')";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Somebody has asked for a run.
    Request,
    /// Chunks have ended while others wait for room.
    Capacity,
}

/// Calls `notify` with every notice, on a connection of its own; at first with each, for what came before. Behind a pooler
/// nothing can be notify: sessions there are lent.
///
/// # Errors
/// When the ledger does not answer, or no longer.
pub async fn listen(db: &DbPool, notify: impl Fn(Notice) + Send) -> DbResult<Infallible> {
    let mut listener = PgListener::connect_with(db.sized(1).connections())
        .await
        .attempt("connect to listen for notices")?;
    let attempted = "listen for notices";
    listener
        .listen_all([REQUESTS, CAPACITY])
        .await
        .attempt(attempted)?;
    notify(Notice::Request);
    notify(Notice::Capacity);
    loop {
        match listener.recv().await.attempt(attempted)?.channel() {
            CAPACITY => notify(Notice::Capacity),
            _ => notify(Notice::Request),
        }
    }
}

/// Tells producers that chunks have ended, if any are pending.
pub async fn notify_capacity(db: impl PgExecutor<'_>) -> DbResult<()> {
    sqlx::query(NOTIFY_CAPACITY)
        .execute(db)
        .await
        .map(drop)
        .attempt("tell of room for chunks")
}
