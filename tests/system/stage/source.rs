//! A test's own actions on the source.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::Stage;

impl Stage {
    /// URL of the source for a login that may only SELECT; row-level security applies to it.
    pub async fn reader_url(&self) -> Result<String> {
        let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", self.name);
        self.source.execute(AssertSqlSafe(grant)).await?;
        let mut url = url::Url::parse(&self.owner_url("source"))?;
        url.set_username(&self.name)
            .and_then(|()| url.set_password(Some(&self.name)))
            .ok()
            .context("a server's URL takes a user")?;
        Ok(url.to_string())
    }

    /// Blocks readers of a source table's rows until the returned connection is closed. The table itself is not
    /// locked, so transactions begin.
    pub async fn block_readers(&self, table: &str) -> Result<PgConnection> {
        let mut holder = PgConnection::connect(&self.owner_url("source")).await?;
        let gate = format!(
            "ALTER TABLE {table} RENAME TO {table}_held; \
             CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$; \
             CREATE VIEW {table} AS SELECT * FROM {table}_held WHERE gate(); \
             GRANT SELECT ON {table} TO PUBLIC; \
             SELECT pg_advisory_lock(1)"
        );
        sqlx::raw_sql(AssertSqlSafe(gate)).execute(&mut holder).await?;
        Ok(holder)
    }
}
