//! How long a migration may stop others.
//!
//! A statement that waits for a lock keeps the locks that it has, and everybody who comes later waits behind it. lock_timeout
//! bounds one wait; a migration of many tables may wait at each. So a second session looks at the first one, and cancels it
//! when it still waits for a lock after `BOUND`. Work that does not wait goes on.

use std::pin::pin;
use std::time::Duration;

use sqlx::{PgConnection, raw_sql};
use tidemark_postgres::sqlstate::sqlstate;
use tokio::time::sleep;

use crate::statements;

statements! {
    CANCEL_IF_WAITING = include_str!("cancel_if_waiting.sql");
}

/// How long the fleet may wait behind a migration that waits for one table.
pub const LOCK_TIMEOUT: &str = "SET lock_timeout = '500ms'; SET statement_timeout = 0";
/// How long it may wait behind one that waits for several, in seconds.
const BOUND: f64 = 0.6;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// `lock_not_available` and `deadlock_detected`.
const LOCK_FAILURES: [&str; 2] = ["55P03", "40P01"];
const CANCELLED: &str = "57014";

/// How a statement that needs locks has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Others have its tables: it was rolled back.
    Locked,
}

/// A session that waits, and the one that looks at it.
pub struct Watched<'a> {
    pub pid: i32,
    pub watcher: &'a mut PgConnection,
}

impl Watched<'_> {
    /// Lets work of the session wait for locks no longer than `BOUND`.
    pub async fn bound<E>(
        &mut self,
        work: impl Future<Output = Result<(), E>>,
        code_of: impl Fn(&E) -> Option<String>,
    ) -> Result<Outcome, E> {
        let mut work = pin!(work);
        let mut is_cancelled = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut work => break ended,
                () = sleep(LOOK_EVERY) => {}
            }
            // asked to its end: a cancel must not hit the next statement of the session
            let asked = sqlx::query_scalar(CANCEL_IF_WAITING).bind(self.pid).bind(BOUND);
            is_cancelled |= asked.fetch_one(&mut *self.watcher).await.unwrap_or(false);
        };
        let Err(error) = ended else {
            return Ok(Outcome::Done);
        };
        match code_of(&error).as_deref() {
            Some(code) if LOCK_FAILURES.contains(&code) => Ok(Outcome::Locked),
            Some(CANCELLED) if is_cancelled => Ok(Outcome::Locked),
            _ => Err(error),
        }
    }

    /// One statement in a transaction of its own.
    pub async fn execute(
        &mut self,
        connection: &mut PgConnection,
        statement: String,
    ) -> Result<Outcome, sqlx::Error> {
        raw_sql(LOCK_TIMEOUT).execute(&mut *connection).await?;
        let work = async {
            raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(connection)
                .await
                .map(drop)
        };
        self.bound(work, sqlstate).await
    }
}
