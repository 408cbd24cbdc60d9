//! Waiting for a state, never for a time.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgPool};

use super::{Stage, WAIT_LIMIT};

impl Stage {
    /// Waits until a statement on the target returns true.
    pub async fn until(&self, statement: &str) -> Result<()> {
        Self::until_on(&self.target, statement).await
    }

    /// Waits until so many processes have checked the isolation of tenants. Before that, a lock on the tenants' rows
    /// blocks them.
    pub async fn until_started(&self, count: usize) -> Result<()> {
        self.until(&format!("SELECT count(*) = {count} FROM etl_process"))
            .await
    }

    /// Waits until a statement on the source returns true.
    pub async fn until_source(&self, statement: &str) -> Result<()> {
        Self::until_on(&self.source, statement).await
    }

    async fn until_on(pool: &PgPool, statement: &str) -> Result<()> {
        let reached = async {
            while sqlx::query_scalar::<_, Option<bool>>(AssertSqlSafe(statement))
                .fetch_one(pool)
                .await?
                != Some(true)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        tokio::time::timeout(WAIT_LIMIT, reached)
            .await
            .with_context(|| format!("never came true: {statement}"))?
    }
}
