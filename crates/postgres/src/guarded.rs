//! A pooled connection in a transaction that can be dropped at any moment.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

use super::DbPool;

/// Cancels that are being sent: the process must not end before them.
static CANCELS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Only the login may cancel its statements and see when they began, not the role that a connection acts as. A server
/// process in another transaction was lent to another client since, and is left alone.
const CANCEL: &str = "SELECT pg_cancel_backend(served.pid) \
     FROM set_config('role', 'none', true) AS acting (role), \
          LATERAL pg_stat_get_activity(CASE WHEN acting.role = 'none' THEN $1::integer ELSE 0 END) AS served \
     WHERE served.xact_start = $2";

/// Waits at most `bound` until the statements of dropped connections are cancelled.
pub async fn wait_for_cancels(bound: Duration) {
    CANCELS.close();
    if tokio::time::timeout(bound, CANCELS.wait()).await.is_err() {
        tracing::warn!("cancels were not sent in time: statements may run on a server until their timeout");
    }
}

/// The server process of a transaction, and when the transaction began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    pub pid: i32,
    /// `now()` of the transaction.
    pub since: DateTime<Utc>,
}

/// A connection that only [`Self::release`] returns to its pool. When it is dropped instead (an error, a lost lease, a
/// shutdown), its statement is cancelled on the server and the connection is closed. Otherwise the next user would get
/// a half-read result or a half-sent COPY.
#[derive(Debug)]
pub struct Guarded {
    connection: Option<PoolConnection<Postgres>>,
    pool: DbPool,
    backend: Option<Backend>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Guarded {
    pub async fn acquire(pool: &DbPool) -> Result<Self, sqlx::Error> {
        let connection = pool.acquire().await?;
        Ok(Self {
            connection: Some(connection),
            pool: pool.clone(),
            backend: None,
            permit: None,
        })
    }

    /// Keeps a permit until the connection is released or its statement is cancelled.
    #[must_use]
    pub fn with_permit(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Sets the server process of this connection's transaction. Without it the statement of a dropped connection goes
    /// on.
    pub const fn set_backend(&mut self, backend: Backend) {
        self.backend = Some(backend);
    }

    /// # Panics
    /// Never: only `release` and `drop` take the connection out.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.connection
            .as_mut()
            .expect("a guarded connection is there until it is released")
    }

    /// Returns the connection to its pool. No transaction may be open.
    pub fn release(mut self) {
        drop(self.connection.take());
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        drop(connection.detach());
        let Some(Backend { pid, since }) = self.backend else {
            return;
        };
        let pool = self.pool.clone();
        let permit = self.permit.take();
        let cancel = async move {
            let cancelled = sqlx::query(CANCEL).bind(pid).bind(since).execute(&pool).await;
            if let Err(error) = cancelled {
                tracing::warn!(error = %error, pid, "statement not cancelled on the server: it runs until its timeout");
            }
            drop(permit);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            CANCELS.spawn_on(cancel, &runtime);
        }
    }
}
