//! A pooled connection in a transaction, safe to drop half-way.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio_util::task::TaskTracker;

/// Cancels on their way to a server: the process must not end before them.
static CANCELS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Waits until the statements of dropped connections are cancelled, for at most `bound`.
pub async fn cancels_sent(bound: Duration) {
    CANCELS.close();
    if tokio::time::timeout(bound, CANCELS.wait()).await.is_err() {
        tracing::warn!("statements on a server may go on until their timeout ends them");
    }
}

/// A connection that goes back to its pool by [`Self::release`] only. When it is dropped instead (an error, a lost
/// lease, a shutdown), its statement is cancelled on the server and the connection closed: a half-read result or a
/// half-sent COPY would otherwise be the next user's.
#[derive(Debug)]
pub struct Guarded {
    connection: Option<PoolConnection<Postgres>>,
    pool: PgPool,
    pid: Option<i32>,
}

impl Guarded {
    /// # Errors
    /// When no connection can be had.
    pub async fn acquire(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let connection = pool.acquire().await?;
        Ok(Self {
            connection: Some(connection),
            pool: pool.clone(),
            pid: None,
        })
    }

    /// The server's process that serves this connection: without it a dropped connection's statement goes on.
    pub const fn serve_by(&mut self, pid: i32) {
        self.pid = Some(pid);
    }

    /// # Panics
    /// Never: only `release` and `drop` take the connection away.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.connection
            .as_mut()
            .expect("a guarded connection is there until it is released")
    }

    /// Back into the pool, outside any transaction.
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
        let Some(pid) = self.pid else { return };
        let pool = self.pool.clone();
        let cancel = async move {
            if let Err(error) = cancel_backend(&pool, pid).await {
                tracing::warn!(error = %error, pid, "statement not cancelled on the server, its timeout ends it");
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            CANCELS.spawn_on(cancel, &runtime);
        }
    }
}

/// Cancels as the login itself: the role that sessions act in has no right over the login's own backends.
async fn cancel_backend(pool: &PgPool, pid: i32) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("SET LOCAL ROLE NONE").execute(&mut *tx).await?;
    sqlx::query("SELECT pg_cancel_backend($1)")
        .bind(pid)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
