//! Sampling a source's transactions. See [`tidemark_shared::fence`] for what a sample means.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, Row};

use super::error::SourceError;
use super::session::Replay;
use super::source::Source;
use tidemark_shared::fence::{FenceSample, Holder, widen_xid};

/// A sample, and the source's `xmax` at that time.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    pub sample: FenceSample,
    pub xmax: i64,
    /// Set by a hot standby. A standby does not show its primary's open transactions, so such a sample must not be kept.
    pub replay: Option<Replay>,
}

const HOLDER: &str = r#"SELECT pid, usename::text AS "user", application_name AS application, state, xact_start AS since,
            NULL::text AS prepared, age(backend_xid) AS age
     FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND datname = current_database()
     UNION ALL
     SELECT NULL, owner::text, NULL, 'prepared', prepared, gid, age(transaction)
     FROM pg_prepared_xacts WHERE database = current_database()
     ORDER BY age DESC LIMIT 1"#;

/// The oldest open transaction of this database that has written.
pub(super) async fn oldest_writer(source: impl PgExecutor<'_>) -> Result<Option<Holder>, sqlx::Error> {
    let found = sqlx::query(HOLDER).fetch_optional(source).await?;
    found
        .map(|row| {
            Ok(Holder {
                pid: row.try_get("pid")?,
                user: row.try_get("user")?,
                application: row.try_get("application")?,
                state: row.try_get("state")?,
                since: row.try_get("since")?,
                prepared: row.try_get("prepared")?,
            })
        })
        .transpose()
}

impl Source {
    /// Takes a sample: first the clock, then the transaction ids. Must not run in a transaction, because
    /// `pg_stat_activity` does not change within one.
    pub async fn observe(&self) -> Result<Observation, SourceError> {
        let mut connection = self
            .db()
            .acquire()
            .await
            .map_err(|error| self.unreachable(error))?;
        let sampled_at: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(&mut *connection)
            .await
            .map_err(self.query_error("read the clock"))?;
        // A separate statement before the snapshot: a writer that ends in between is below xmax, and a writer in neither
        // list began after the clock was read.
        let open: Vec<i64> = sqlx::query_scalar(
            "SELECT backend_xid::text::bigint FROM pg_stat_activity WHERE backend_xid IS NOT NULL \
             UNION ALL SELECT transaction::text::bigint FROM pg_prepared_xacts",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(self.query_error("read the open transactions"))?;
        let (xmax, in_recovery, replayed_at): (i64, bool, Option<DateTime<Utc>>) = sqlx::query_as(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_is_in_recovery(), \
                    pg_last_xact_replay_timestamp()",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(self.query_error("read the highest transaction id"))?;
        let hi = open
            .into_iter()
            .filter_map(|xid| u32::try_from(xid).ok())
            .map(|xid| widen_xid(xid, xmax))
            .fold(xmax - 1, i64::max);
        Ok(Observation {
            sample: FenceSample { sampled_at, hi },
            xmax,
            replay: in_recovery.then_some(Replay { replayed_at }),
        })
    }

    /// The oldest writing transaction, which limits the fence. `None` when no transaction of this database has written.
    pub async fn holder(&self) -> Result<Option<Holder>, SourceError> {
        oldest_writer(self.db())
            .await
            .map_err(self.query_error("find the oldest transaction"))
    }

    /// The lowest open transaction id of this database, prepared transactions included; `None` when none is open. Call it
    /// outside a transaction, before taking the snapshot that it is compared with.
    pub async fn oldest_open_xid(&self) -> Result<Option<i64>, SourceError> {
        self.oldest_open_xid_on(self.db()).await
    }

    pub(super) async fn oldest_open_xid_on(
        &self,
        source: impl PgExecutor<'_>,
    ) -> Result<Option<i64>, SourceError> {
        let (near, open): (i64, Vec<i64>) = sqlx::query_as(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, \
                    ARRAY(SELECT backend_xid::text::bigint FROM pg_stat_activity \
                          WHERE backend_xid IS NOT NULL AND datname = current_database() \
                          UNION ALL SELECT transaction::text::bigint FROM pg_prepared_xacts \
                          WHERE database = current_database())",
        )
        .fetch_one(source)
        .await
        .map_err(self.query_error("read the open transactions"))?;
        Ok(open
            .into_iter()
            .filter_map(|xid| u32::try_from(xid).ok())
            .map(|xid| widen_xid(xid, near))
            .min())
    }

    /// Compares the source's transaction id with the highest id known before it was read.
    ///
    /// # Errors
    /// [`SourceError::WentBack`] when the id is lower: the server was restored or replaced.
    pub fn check_not_restored(&self, known: Option<i64>, seen: i64) -> Result<(), SourceError> {
        match known {
            Some(known) if seen < known => Err(SourceError::WentBack {
                name: self.name().to_owned(),
                server: self.server().to_owned(),
                known,
                seen,
            }),
            _ => Ok(()),
        }
    }
}
