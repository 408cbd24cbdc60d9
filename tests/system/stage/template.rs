//! What a test's databases have at first. On the private server of all tests it is made once, and copied for each test.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tidemark_ledger::MIGRATOR;
use tidemark_ledger::migrate::Migrations;

/// The tests that wait for a template to be made.
const LOCK: i64 = 7_461_302;

#[derive(Debug, Clone, Copy)]
pub(super) enum Template {
    /// An empty Chatwoot.
    Source,
    /// An empty ledger and target.
    Target,
}

impl Template {
    /// Creates a database.
    pub(super) async fn create(self, server: &str, name: &str) -> Result<()> {
        let mut admin = PgConnection::connect(server)
            .await
            .context("connect to the test server")?;
        if is_private(server) {
            let template = self.on(server, &mut admin).await?;
            let strategy: &str = if admin
                .server_version_num()
                .is_some_and(|version| version >= 150_000)
            {
                "STRATEGY file_copy"
            } else {
                ""
            };
            return execute(
                &mut admin,
                format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}"),
            )
            .await;
        }
        self.make(server, &mut admin, name).await
    }

    /// The template's name on this server; the first test makes it.
    async fn on(self, server: &str, admin: &mut PgConnection) -> Result<String> {
        let name = format!("tm_template_{self:?}_{:016x}", build()?).to_lowercase();
        if exists(admin, &name).await? {
            return Ok(name);
        }
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(LOCK)
            .execute(&mut *admin)
            .await?;
        if !exists(admin, &name).await? {
            // a test that was killed here may have left it
            execute(
                admin,
                format!("DROP DATABASE IF EXISTS {name}_unfinished WITH (FORCE)"),
            )
            .await?;
            self.make(server, admin, &format!("{name}_unfinished")).await?;
            execute(
                admin,
                format!("ALTER DATABASE {name}_unfinished RENAME TO {name}"),
            )
            .await?;
        }
        sqlx::query("SELECT pg_advisory_unlock($1)")
            .bind(LOCK)
            .execute(&mut *admin)
            .await?;
        Ok(name)
    }

    async fn make(self, server: &str, admin: &mut PgConnection, name: &str) -> Result<()> {
        execute(admin, format!("CREATE DATABASE {name}")).await?;
        let mut url = url::Url::parse(server)?;
        url.set_path(name);
        let mut connection = PgConnection::connect(url.as_str()).await?;
        match self {
            Self::Source => tidemark_sample::schema(&mut connection).await?,
            Self::Target => {
                let mut watcher = PgConnection::connect(url.as_str()).await?;
                Migrations::new(&MIGRATOR)
                    .up(&mut connection, &mut watcher, &mut |_| {})
                    .await?;
                watcher.close().await?;
                // as deploy/analytics.sql does: before PostgreSQL 15 everybody may create objects there
                connection
                    .execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
                    .await?;
            }
        }
        Ok(connection.close().await?)
    }
}

/// Whether scripts/with-services has started the server: there the templates go with it.
#[expect(
    clippy::disallowed_methods,
    reason = "the servers of the tests are named by the environment"
)]
fn is_private(server: &str) -> bool {
    std::env::var("TIDEMARK_TEST_SERVICES_DIR").is_ok_and(|folder| {
        std::fs::read_to_string(Path::new(&folder).join("postgres/url")).is_ok_and(|url| url.trim() == server)
    })
}

/// Names this build: tests that were built again have other migrations, perhaps.
fn build() -> Result<u64> {
    let built = std::fs::metadata(std::env::current_exe()?)?;
    let mut hasher = DefaultHasher::new();
    (built.len(), built.modified()?).hash(&mut hasher);
    Ok(hasher.finish())
}

async fn exists(admin: &mut PgConnection, name: &str) -> Result<bool> {
    Ok(
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(admin)
            .await?,
    )
}

async fn execute(admin: &mut PgConnection, statement: String) -> Result<()> {
    admin.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}
