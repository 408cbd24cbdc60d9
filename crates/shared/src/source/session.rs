//! A read-only transaction on a source.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row, raw_sql};

use super::{Source, SourceError};
use crate::db::DbPool;
use crate::db::guarded::{Guarded, Served};
use crate::fence::SourceSnapshot;

/// One round trip for both: whoever meets a row that cannot be read goes back to the savepoint.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SAVEPOINT begun";
const BACK: &str = "ROLLBACK TO SAVEPOINT begun";

/// How far a hot standby is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// When the last transaction that it has replayed was committed; `None` when it has replayed none since its start.
    pub replayed_at: Option<DateTime<Utc>>,
}

/// A REPEATABLE READ, READ ONLY transaction, guarded: when it is dropped before [`Self::finish`], its statement is
/// cancelled on the source.
#[derive(Debug)]
pub struct SourceTx {
    guarded: Guarded,
    snapshot: SourceSnapshot,
    replay: Option<Replay>,
    /// What it is called at the source.
    name: String,
}

impl Source {
    /// Begins a transaction and takes its snapshot. `purpose` (such as `run 7 chunk 3`) is shown to the source's
    /// administrators in `pg_stat_activity`.
    ///
    /// # Errors
    /// When the source does not answer.
    pub async fn begin(&self, purpose: &str) -> Result<SourceTx, SourceError> {
        let guarded = self.acquire().await?;
        self.begin_on(guarded, purpose).await
    }

    /// The same with the lowest transaction id open in this database just before, as [`Self::oldest_open`] tells it: on one
    /// connection, for the pool takes one back too late to give it out again at once.
    ///
    /// # Errors
    /// When the source does not answer.
    pub async fn begin_knowing_open(&self, purpose: &str) -> Result<(Option<i64>, SourceTx), SourceError> {
        let mut guarded = self.acquire().await?;
        let oldest_open = self.oldest_open_on(guarded.connection()).await?;
        let tx = self.begin_on(guarded, purpose).await?;
        Ok((oldest_open, tx))
    }

    async fn acquire(&self) -> Result<Guarded, SourceError> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let guarded = Guarded::acquire(&DbPool::direct(self.pool().clone()))
            .await
            .map_err(|source| self.unreachable(source))?;
        Ok(guarded.holding(permit))
    }

    async fn begin_on(&self, mut guarded: Guarded, purpose: &str) -> Result<SourceTx, SourceError> {
        // the connection may have died unnoticed
        raw_sql(BEGIN)
            .execute(guarded.connection())
            .await
            .map_err(|source| self.unreachable(source))?;
        look(guarded, purpose)
            .await
            .map_err(self.query_error("begin a transaction"))
    }
}

async fn look(mut guarded: Guarded, purpose: &str) -> Result<SourceTx, sqlx::Error> {
    let name: String = format!("tidemark {purpose}").chars().take(63).collect();
    let row = sqlx::query(
        "SELECT pg_backend_pid(), now(), pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, \
                (SELECT count(*)::integer FROM pg_snapshot_xip(s)), pg_is_in_recovery(), \
                pg_last_xact_replay_timestamp(), set_config('application_name', $1, true) \
         FROM pg_current_snapshot() s",
    )
    .bind(&name)
    .fetch_one(guarded.connection())
    .await?;
    guarded.serve_by(Served {
        pid: row.try_get(0)?,
        since: row.try_get(1)?,
    });
    let in_recovery: bool = row.try_get(5)?;
    Ok(SourceTx {
        guarded,
        name,
        snapshot: SourceSnapshot {
            clock: row.try_get(1)?,
            xmin: row.try_get(2)?,
            xmax: row.try_get(3)?,
            in_progress: row.try_get(4)?,
        },
        replay: if in_recovery {
            Some(Replay {
                replayed_at: row.try_get(6)?,
            })
        } else {
            None
        },
    })
}

impl SourceTx {
    #[must_use]
    pub const fn snapshot(&self) -> &SourceSnapshot {
        &self.snapshot
    }

    /// How far the source is when it is a hot standby; `None` for a primary.
    #[must_use]
    pub const fn replay(&self) -> Option<Replay> {
        self.replay
    }

    /// The connection, for reading.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.guarded.connection()
    }

    /// Goes on in the same snapshot after a statement has failed. Of what was set since the beginning
    /// only its name is left.
    ///
    /// # Errors
    /// When the source does not answer.
    pub async fn go_back(&mut self) -> Result<(), sqlx::Error> {
        raw_sql(BACK).execute(self.guarded.connection()).await?;
        sqlx::query("SELECT set_config('application_name', $1, true)")
            .bind(&self.name)
            .execute(self.guarded.connection())
            .await
            .map(drop)
    }

    /// Ends the transaction. When even that fails the connection is closed; what was read is good all the same.
    pub async fn finish(mut self) {
        match sqlx::query("COMMIT").execute(self.connection()).await {
            Ok(_) => self.guarded.release(),
            Err(error) => tracing::debug!(error = %error, "source transaction not ended cleanly"),
        }
    }
}
