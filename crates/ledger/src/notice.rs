//! Notices between processes, by LISTEN and NOTIFY in the ledger's database. A notice makes a loop run before its next
//! tick. A lost notice costs one tick.

use std::convert::Infallible;

use sqlx::PgExecutor;
use sqlx::postgres::PgListener;
use tidemark_postgres::DbPool;

use crate::{Attempt, DbResult, statements};

/// The same name is in run/request.rs.
const REQUESTS: &str = "tidemark_requests";
const CAPACITY: &str = "tidemark_room";

statements! {
    // no process waits until it is on disk
    NOTIFY_CAPACITY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('tidemark_room', '') \
                       WHERE EXISTS (SELECT FROM etl_chunk WHERE status = 'pending')";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A run was requested.
    Request,
    /// Chunks have ended while others wait to be dispatched.
    Capacity,
}

/// Calls `notify` for every notice, on a connection of its own. At the start it calls `notify` once for each kind, for
/// earlier notices. Behind a pooler no notice arrives, because sessions are lent.
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

/// Notifies producers that chunks have ended, if any chunk is pending.
pub async fn notify_capacity(db: impl PgExecutor<'_>) -> DbResult<()> {
    sqlx::query(NOTIFY_CAPACITY)
        .execute(db)
        .await
        .map(drop)
        .attempt("notify producers of free capacity")
}
