//! Waiting for a state, never for a time: the only polling of the tests.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::Stage;

/// Limit of every wait: longer than a busy machine ever needs.
pub const WAIT_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two polls.
const PAUSE: Duration = Duration::from_millis(20);

/// Polls until there is a value. After `WAIT_LIMIT` the test fails, with `what` it has waited for.
pub async fn poll<T>(what: impl Display, mut next: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let polling = async {
        loop {
            if let Some(value) = next().await? {
                return Ok(value);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(WAIT_LIMIT, polling)
        .await
        .with_context(|| format!("never: {what}"))?
}

/// Chunks that wait for their next attempt are due at once.
const DUE: &str =
    "UPDATE etl_chunk SET next_attempt_at = now() WHERE status = 'pending' AND next_attempt_at > now()";

impl Stage {
    /// Ends the back-off of every chunk, after a test has ended what it waits for.
    pub async fn end_back_offs(&self) -> Result<()> {
        self.target.execute(DUE).await?;
        Ok(())
    }

    /// Waits until a chunk has had more attempts than a failing one gets, or is dead. Backing off takes no time here.
    pub async fn until_attempted_often(&self) -> Result<()> {
        poll("more attempts than a failing chunk gets", async || {
            self.end_back_offs().await?;
            let often: Option<bool> =
                sqlx::query_scalar("SELECT max(attempt) >= 7 OR bool_or(status = 'dead') FROM etl_chunk")
                    .fetch_one(&self.target)
                    .await?;
            Ok((often == Some(true)).then_some(()))
        })
        .await
    }

    /// Waits until a statement on the target returns true.
    pub async fn until(&self, statement: &str) -> Result<()> {
        until_true(&self.target, statement).await
    }

    /// Waits until a statement on the source returns true.
    pub async fn until_source(&self, statement: &str) -> Result<()> {
        until_true(&self.source, statement).await
    }

    /// Waits until a tenant's plans of three seconds had nothing to read. A transaction that another test has open on the server
    /// may delay it.
    pub async fn until_nothing_is_planned(&self, tenant: i32) -> Result<()> {
        let last_read = format!(
            "SELECT max(finished_at) FROM etl_control WHERE tenant_id = {tenant} AND chunks_total > 0"
        );
        self.until(&format!(
            "SELECT watermark > coalesce(({last_read}), '-infinity') + interval '3 seconds' FROM etl_watermark \
             WHERE tenant_id = {tenant}"
        ))
        .await
    }

    /// Waits until so many processes have checked the isolation of tenants. Before that, a lock on the tenants' rows
    /// blocks them.
    pub async fn until_started(&self, count: usize) -> Result<()> {
        self.until(&format!("SELECT count(*) = {count} FROM etl_process"))
            .await
    }
}

/// Waits until a statement returns true.
pub async fn until_true(pool: &PgPool, statement: &str) -> Result<()> {
    poll(statement, async || {
        let is_true: Option<bool> = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(pool)
            .await?;
        Ok((is_true == Some(true)).then_some(()))
    })
    .await
}
