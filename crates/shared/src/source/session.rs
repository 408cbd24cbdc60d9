//! A read-only transaction on a source.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::sync::OwnedSemaphorePermit;

use super::{Source, SourceError};
use crate::db::guarded::Guarded;
use crate::fence::SourceSnapshot;

/// A REPEATABLE READ, READ ONLY transaction, guarded: when it is dropped before [`Self::finish`], its statement is
/// cancelled on the source.
#[derive(Debug)]
pub struct SourceTx {
    guarded: Guarded,
    snapshot: SourceSnapshot,
    in_recovery: bool,
    _permit: OwnedSemaphorePermit,
}

impl Source {
    /// Begins a transaction and takes its snapshot. `purpose` (such as `run 7 chunk 3`) is shown to the source's
    /// administrators in `pg_stat_activity`.
    ///
    /// # Errors
    /// When the source does not answer.
    pub async fn begin(&self, purpose: &str) -> Result<SourceTx, SourceError> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let guarded = Guarded::acquire(self.pool())
            .await
            .map_err(self.query_error("connect"))?;
        begin(guarded, permit, purpose)
            .await
            .map_err(self.query_error("begin a transaction"))
    }
}

async fn begin(
    mut guarded: Guarded,
    permit: OwnedSemaphorePermit,
    purpose: &str,
) -> Result<SourceTx, sqlx::Error> {
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(guarded.connection())
        .await?;
    let (pid, clock, xmin, xmax, in_progress, in_recovery, _): (i32, DateTime<Utc>, i64, i64, i32, bool, String) =
        sqlx::query_as(
            "SELECT pg_backend_pid(), now(), pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, \
                    (SELECT count(*)::integer FROM pg_snapshot_xip(s)), pg_is_in_recovery(), \
                    set_config('application_name', left(concat('tidemark ', $1::text), 63), true) \
             FROM pg_current_snapshot() s",
        )
        .bind(purpose)
        .fetch_one(guarded.connection())
        .await?;
    guarded.serve_by(pid);
    Ok(SourceTx {
        guarded,
        snapshot: SourceSnapshot {
            xmin,
            xmax,
            in_progress,
            clock,
        },
        in_recovery,
        _permit: permit,
    })
}

impl SourceTx {
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
    pub fn connection(&mut self) -> &mut PgConnection {
        self.guarded.connection()
    }

    /// Ends the transaction. When even that fails the connection is closed; what was read is good all the same.
    pub async fn finish(mut self) {
        match sqlx::query("COMMIT").execute(self.connection()).await {
            Ok(_) => self.guarded.release(),
            Err(error) => tracing::debug!(error = %error, "source transaction not ended cleanly"),
        }
    }
}
