//! A read-only transaction on a source, and what happens when it is dropped half-way.

use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::{Source, SourceError};
use crate::fence::SourceSnapshot;

/// A REPEATABLE READ, READ ONLY transaction. [`Self::finish`] gives its connection back; when it is dropped instead
/// (an error, a lost lease, a shutdown), its statement is cancelled on the server and the connection closed.
#[derive(Debug)]
pub struct SourceTx {
    connection: Option<PoolConnection<Postgres>>,
    pool: PgPool,
    pid: i32,
    snapshot: SourceSnapshot,
    in_recovery: bool,
}

impl Source {
    /// Begins a transaction and takes its snapshot. `purpose` (such as `run 7 chunk 3`) is shown to the source's
    /// administrators in `pg_stat_activity`.
    ///
    /// # Errors
    /// When the source does not answer.
    pub async fn begin(&self, purpose: &str) -> Result<SourceTx, SourceError> {
        let connection = self.pool().acquire().await.map_err(self.query_error("connect"))?;
        // guarded from here on: a cancelled caller must not return the connection in a transaction
        let mut tx = SourceTx {
            connection: Some(connection),
            pool: self.pool().clone(),
            pid: 0,
            snapshot: SourceSnapshot { xmin: 0, xmax: 0, in_progress: 0, clock: DateTime::<Utc>::MIN_UTC },
            in_recovery: false,
        };
        let error = self.query_error("begin a transaction");
        match tx.begin(purpose).await {
            Ok(()) => Ok(tx),
            Err(source) => Err(error(source)),
        }
    }
}

impl SourceTx {
    async fn begin(&mut self, purpose: &str) -> Result<(), sqlx::Error> {
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(self.connection()).await?;
        let (pid, clock, xmin, xmax, in_progress, in_recovery, _): (i32, DateTime<Utc>, i64, i64, i32, bool, String) =
            sqlx::query_as(
                "SELECT pg_backend_pid(), now(), pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, \
                        (SELECT count(*)::integer FROM pg_snapshot_xip(s)), pg_is_in_recovery(), \
                        set_config('application_name', left(concat('tidemark ', $1::text), 63), true) \
                 FROM pg_current_snapshot() s",
            )
            .bind(purpose)
            .fetch_one(self.connection())
            .await?;
        self.pid = pid;
        self.snapshot = SourceSnapshot { xmin, xmax, in_progress, clock };
        self.in_recovery = in_recovery;
        Ok(())
    }

    #[must_use]
    pub const fn snapshot(&self) -> &SourceSnapshot {
        &self.snapshot
    }

    /// Whether the source is a hot standby.
    #[must_use]
    pub const fn in_recovery(&self) -> bool {
        self.in_recovery
    }

    /// The connection, for reading.
    ///
    /// # Panics
    /// Never: only `finish` and `drop` take it away.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a transaction has its connection until it ends")
    }

    /// Ends the transaction. When even that fails the connection is closed; what was read is good all the same.
    pub async fn finish(mut self) {
        if let Err(error) = sqlx::query("COMMIT").execute(self.connection()).await {
            tracing::debug!(error = %error, "source transaction not ended cleanly, its connection is closed");
            return;
        }
        drop(self.connection.take());
    }
}

impl Drop for SourceTx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // never back into the pool: a half-read result would be the next user's
        drop(connection.detach());
        if self.pid == 0 {
            return;
        }
        let (pool, pid) = (self.pool.clone(), self.pid);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let cancelled = sqlx::query("SELECT pg_cancel_backend($1)").bind(pid).execute(&pool).await;
                if let Err(error) = cancelled {
                    tracing::warn!(error = %error, pid, "statement on the source not cancelled, its timeout ends it");
                }
            });
        }
    }
}
