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
/// earlier notices, and again after each reconnection. Behind a pooler no notice arrives, because sessions are lent.
///
/// # Errors
/// When the ledger does not answer, or no longer.
pub async fn listen(db: &DbPool, notify: impl Fn(Notice) + Send) -> DbResult<Infallible> {
    let attempted = "listen for notices";
    let pool = db.sized(1);
    loop {
        let moved = pool.changed();
        // leads the pool to the host in use; the listener asks the pool itself
        drop(pool.acquire().await.attempt("connect to listen for notices")?);
        let mut listener = PgListener::connect_with(pool.connections())
            .await
            .attempt("connect to listen for notices")?;
        listener.eager_reconnect(false);
        listener
            .listen_all([REQUESTS, CAPACITY])
            .await
            .attempt(attempted)?;
        notify(Notice::Request);
        notify(Notice::Capacity);
        let listening = async {
            while let Some(notice) = listener.try_recv().await.attempt(attempted)? {
                match notice.channel() {
                    CAPACITY => notify(Notice::Capacity),
                    _ => notify(Notice::Request),
                }
            }
            Ok(())
        };
        tokio::select! {
            ended = listening => ended?,
            () = moved => {}
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
