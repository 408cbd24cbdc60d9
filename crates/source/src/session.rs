//! A read-only transaction on a source.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, Row, raw_sql};
use tokio::time::Instant;

use super::error::SourceError;
use super::locks::{LockPlan, Plans, Reads, layout};
use super::source::Source;
use tidemark_postgres::guarded::{Backend, Guarded};
use tidemark_postgres::sqlstate::sqlstate;
use tidemark_postgres::temporary_last;
use tidemark_shared::fence::SourceSnapshot;

/// How long a transaction waits for a table that is being rewritten. After that the source counts as unavailable.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(100);
/// `relfilenode` is the table's file as of the snapshot, `pg_relation_filenode` its current file.
const IS_REWRITTEN: &str = "SELECT EXISTS (SELECT FROM unnest($1::text[]) AS r (name) \
     JOIN pg_class c ON c.oid = to_regclass(r.name) WHERE c.relfilenode <> pg_relation_filenode(c.oid))";
const READ_SNAPSHOT: &str = concat!(
    "SELECT pg_backend_pid(), now(), pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, \
            (SELECT count(*)::integer FROM pg_snapshot_xip(s)), pg_is_in_recovery(), \
            pg_last_xact_replay_timestamp(), set_config('application_name', $1, true), ",
    temporary_last!(true),
    // set here and not at BEGIN, so that PostgreSQL keeps the plan of this statement
    ", set_config('plan_cache_mode', $3, true), (",
    layout!("$2"),
    ") FROM pg_current_snapshot() s"
);
const RESTORE: &str = concat!(
    "SELECT set_config('application_name', $1, true), set_config('plan_cache_mode', $2, true), ",
    temporary_last!(true)
);
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT begun";

/// The replay position of a hot standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// Commit time of the last replayed transaction; `None` when none was replayed since the standby started.
    pub replayed_at: Option<DateTime<Utc>>,
}

/// A REPEATABLE READ, READ ONLY transaction. Dropping it before [`Self::finish`] cancels its statement on the source.
#[derive(Debug)]
pub struct SourceTx {
    guarded: Guarded,
    snapshot: SourceSnapshot,
    replay: Option<Replay>,
    layout: i64,
    /// Its `application_name` on the source.
    name: String,
    plan_cache_mode: &'static str,
}

/// A transaction that has begun.
struct Begun {
    snapshot: SourceSnapshot,
    replay: Option<Replay>,
    layout: i64,
    name: String,
}

impl Source {
    /// Begins a transaction and takes its snapshot. Administrators of the source see `purpose` (such as `run 7 chunk 3`) in
    /// `pg_stat_activity`.
    pub async fn begin(&self, purpose: &str) -> Result<SourceTx, SourceError> {
        self.begin_for(purpose, Reads::Any).await
    }

    /// Like [`Self::begin`], for statements that read conversations as `reads` says.
    pub async fn begin_for(&self, purpose: &str, reads: Reads) -> Result<SourceTx, SourceError> {
        let guarded = self.acquire().await?;
        self.begin_on(guarded, purpose, reads).await
    }

    /// Like [`Self::begin`], and returns the value of [`Self::oldest_open_xid`] just before. Both run on one connection,
    /// because a released connection returns to the pool too late to be used again at once.
    pub async fn begin_with_oldest_open(
        &self,
        purpose: &str,
    ) -> Result<(Option<i64>, SourceTx), SourceError> {
        let mut guarded = self.acquire().await?;
        let oldest_open = self.oldest_open_xid_on(guarded.connection()).await?;
        let tx = self.begin_on(guarded, purpose, Reads::Any).await?;
        Ok((oldest_open, tx))
    }

    async fn acquire(&self) -> Result<Guarded, SourceError> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let guarded = Guarded::acquire(self.db())
            .await
            .map_err(|source| self.unreachable(source))?;
        Ok(guarded.with_permit(permit))
    }

    /// Locks the tables, then takes the snapshot: see [`super::locks`]. While a table is being rewritten it retries, and holds
    /// no lock between two attempts.
    async fn begin_on(
        &self,
        mut guarded: Guarded,
        purpose: &str,
        reads: Reads,
    ) -> Result<SourceTx, SourceError> {
        let give_up_at = Instant::now() + LOCK_WAIT;
        let plans = reads.plans(self.known_shape.last().as_deref());
        loop {
            let locks = self.locks.current();
            let refused = match try_begin(&mut guarded, purpose, plans, &locks).await {
                Ok(Some(begun)) if self.locks.is_complete(&locks, begun.layout) => {
                    return Ok(SourceTx {
                        guarded,
                        snapshot: begun.snapshot,
                        replay: begun.replay,
                        layout: begun.layout,
                        name: begun.name,
                        plan_cache_mode: plans.cache_mode(),
                    });
                }
                Ok(_) => None,
                // without an SQLSTATE the connection itself failed
                Err(error) if sqlstate(&error).is_none() => return Err(self.unreachable(error)),
                Err(error) => Some(error),
            };
            raw_sql("ROLLBACK")
                .execute(guarded.connection())
                .await
                .map_err(|source| self.unreachable(source))?;
            let code = refused.as_ref().and_then(sqlstate);
            match (code.as_deref(), refused) {
                // a table was rewritten or created after the snapshot, or is locked now
                (None, source) | (Some("55P03"), source) => {
                    if Instant::now() >= give_up_at {
                        return Err(self.busy(source));
                    }
                    tokio::time::sleep(LOCK_RETRY).await;
                }
                // a relation that cannot be locked, rights on single columns only, or a missing table
                (Some("42501" | "42809" | "42P01"), Some(source)) => {
                    let narrowed = self
                        .locks
                        .narrow(&locks, guarded.connection())
                        .await
                        .map_err(self.query_error("look up which tables can be locked"))?;
                    if !narrowed {
                        return Err(self.query_error("lock the tables that are read")(source));
                    }
                }
                (_, source) => {
                    let source = source.expect("only an error has an SQLSTATE");
                    return Err(self.query_error("begin a transaction")(source));
                }
            }
        }
    }

    fn busy(&self, source: Option<sqlx::Error>) -> SourceError {
        SourceError::Busy {
            name: self.name().to_owned(),
            server: self.server().to_owned(),
            source,
        }
    }
}

/// `None` when a table that cannot be locked was rewritten after the snapshot.
async fn try_begin(
    guarded: &mut Guarded,
    purpose: &str,
    plans: Plans,
    locks: &LockPlan,
) -> Result<Option<Begun>, sqlx::Error> {
    raw_sql(AssertSqlSafe(locks.begin(plans)))
        .execute(guarded.connection())
        .await?;
    let name: String = format!("tidemark {purpose}").chars().take(63).collect();
    let row = sqlx::query(READ_SNAPSHOT)
        .bind(&name)
        .bind(&locks.tables)
        .bind(plans.cache_mode())
        .fetch_one(guarded.connection())
        .await?;
    if !locks.not_lockable.is_empty() {
        let is_rewritten: bool = sqlx::query_scalar(IS_REWRITTEN)
            .bind(&locks.not_lockable)
            .fetch_one(guarded.connection())
            .await?;
        if is_rewritten {
            return Ok(None);
        }
    }
    guarded.set_backend(Backend {
        pid: row.try_get(0)?,
        since: row.try_get(1)?,
    });
    let in_recovery: bool = row.try_get(5)?;
    let snapshot = SourceSnapshot {
        clock: row.try_get(1)?,
        xmin: row.try_get(2)?,
        xmax: row.try_get(3)?,
        in_progress: row.try_get(4)?,
    };
    let replay = if in_recovery {
        Some(Replay {
            replayed_at: row.try_get(6)?,
        })
    } else {
        None
    };
    Ok(Some(Begun {
        snapshot,
        replay,
        layout: row.try_get(10)?,
        name,
    }))
}

impl SourceTx {
    #[must_use]
    pub const fn snapshot(&self) -> &SourceSnapshot {
        &self.snapshot
    }

    /// The replay position of a hot standby; `None` for a primary.
    #[must_use]
    pub const fn replay(&self) -> Option<Replay> {
        self.replay
    }

    /// A hash of the columns of the tables that are read and of their types. It changes with every change of these. Without
    /// meaning in `view` mode.
    #[must_use]
    pub const fn layout(&self) -> i64 {
        self.layout
    }

    /// The connection, for reading.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.guarded.connection()
    }

    /// Goes on in the same snapshot after a statement has failed. Settings made since the start are lost, except
    /// `application_name`, `plan_cache_mode` and `search_path`.
    pub async fn roll_back_to_start(&mut self) -> Result<(), sqlx::Error> {
        raw_sql(ROLL_BACK).execute(self.guarded.connection()).await?;
        sqlx::query(RESTORE)
            .bind(&self.name)
            .bind(self.plan_cache_mode)
            .execute(self.guarded.connection())
            .await
            .map(drop)
    }

    /// Ends the transaction. If that fails the connection is closed; the rows that were read stay valid.
    pub async fn finish(mut self) {
        match sqlx::query("COMMIT").execute(self.connection()).await {
            Ok(_) => self.guarded.release(),
            Err(error) => tracing::debug!(error = %error, "source transaction not ended cleanly"),
        }
    }
}
