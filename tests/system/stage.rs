//! A test's own databases, queue prefix and processes.

mod broker;
mod command;
mod fleet;
mod process;
mod source;
mod template;
mod wait;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use tidemark_postgres::DbPool;
use tidemark_sample::{CreateOptions, create, fill};
use tidemark_shared::chatwoot::NEWEST_KNOWN;

pub use self::command::{Answer, binary};
pub use self::fleet::Fleet;
pub use self::process::{Process, Signal};
use self::template::Template;
pub use self::wait::{WAIT_LIMIT, poll, until_true};
use crate::sessions::SourceSessions;

/// The databases, queues and processes of one test.
pub struct Stage {
    name: String,
    servers: Servers,
    sessions: SourceSessions,
    /// A program of another release, whose commands and processes are started.
    program: Mutex<Option<PathBuf>>,
    /// The source, as its owner.
    pub source: PgPool,
    /// Ledger and target, as a superuser who sees every tenant.
    pub target: PgPool,
}

/// URLs of the servers of one stage.
#[derive(Debug, Clone)]
pub struct Servers {
    pub source: String,
    pub target: String,
    pub amqp: String,
}

impl Servers {
    /// The servers that all tests share: no test may stop them.
    pub fn shared() -> Self {
        let postgres = server("TIDEMARK_TEST_DATABASE_URL");
        Self {
            source: postgres.clone(),
            target: postgres,
            amqp: server("TIDEMARK_TEST_AMQP_URL"),
        }
    }

    fn of(&self, side: &str) -> &str {
        if side == "source" {
            &self.source
        } else {
            &self.target
        }
    }
}

/// Runs a test on a stage with an empty Chatwoot schema as its source, and cleans up afterwards in any case.
pub async fn on_stage<F: Future<Output = Result<()>>>(test: impl FnOnce(std::sync::Arc<Stage>) -> F) {
    on_servers(Servers::shared(), test).await;
}

/// The same on servers of the test's own.
pub async fn on_servers<F: Future<Output = Result<()>>>(
    servers: Servers,
    test: impl FnOnce(std::sync::Arc<Stage>) -> F,
) {
    // a test's own source may be away when its sessions are checked
    let watched = servers.source == Servers::shared().source;
    let stage = std::sync::Arc::new(Stage::new(servers).await.expect("a stage can be made"));
    let test = Box::pin(test(std::sync::Arc::clone(&stage)));
    let watching = async {
        if watched {
            let admin = stage.admin().await?;
            let source = stage.database("source");
            stage.sessions.watch(admin, &source, test).await
        } else {
            test.await
        }
    };
    let outcome = AssertUnwindSafe(watching).catch_unwind().await;
    let cleared = stage.clear().await;
    match outcome {
        Ok(Ok(())) => cleared.expect("the stage can be cleared"),
        Ok(Err(error)) => panic!("{error:?}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the servers of the tests are named by the environment"
)]
fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with `make test`"))
}

impl Stage {
    async fn new(servers: Servers) -> Result<Self> {
        let name = format!("tm_{:016x}", rand::random::<u64>());
        for (side, template) in [("source", Template::Source), ("target", Template::Target)] {
            template
                .create(servers.of(side), &format!("{name}_{side}"))
                .await?;
        }
        let pool = |side: &str| -> Result<PgPool> {
            let options: PgConnectOptions = servers.of(side).parse()?;
            let options = options
                .database(&format!("{name}_{side}"))
                .options([("TimeZone", "UTC")]);
            Ok(PgPoolOptions::new().max_connections(4).connect_lazy_with(options))
        };
        let stage = Self {
            source: pool("source")?,
            target: pool("target")?,
            servers,
            name,
            sessions: SourceSessions::default(),
            program: Mutex::default(),
        };
        let login = format!(
            "CREATE ROLE {name} LOGIN PASSWORD '{name}' IN ROLE etl_service, console_service",
            name = stage.name
        );
        sqlx::query(AssertSqlSafe(login)).execute(&stage.target).await?;
        Ok(stage)
    }

    async fn clear(&self) -> Result<()> {
        self.source.close().await;
        self.target.close().await;
        for side in ["source", "target"] {
            let mut admin = PgConnection::connect(self.servers.of(side)).await?;
            let drop = format!("DROP DATABASE IF EXISTS {}_{side} WITH (FORCE)", self.name);
            sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
        }
        let mut admin = PgConnection::connect(&self.servers.target).await?;
        let drop = format!("DROP ROLE IF EXISTS {0}, {0}_pages", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
        self.delete_queues().await
    }

    /// A superuser's connection to the source's server, to neither side's database.
    pub async fn admin(&self) -> Result<PgConnection> {
        PgConnection::connect(&self.servers.source)
            .await
            .context("connect to the test server")
    }

    /// Ledger and target, as the program's own functions take them.
    pub fn db(&self) -> DbPool {
        DbPool::direct(self.target.clone())
    }

    /// The name of one side's database.
    pub fn database(&self, side: &str) -> String {
        format!("{}_{side}", self.name)
    }

    /// The login of the processes on the target's server.
    pub fn login(&self) -> &str {
        &self.name
    }

    /// URL of one side's database: the source as its owner, the target as the processes' login, without special
    /// rights.
    pub fn url(&self, side: &str) -> String {
        let mut url = url::Url::parse(&self.owner_url(side)).expect("the test server's URL is valid");
        if side == "target" {
            let named = url
                .set_username(&self.name)
                .and_then(|()| url.set_password(Some(&self.name)));
            named.expect("a server's URL takes a user");
        }
        url.to_string()
    }

    /// URL of the target for tenants' pages: of a login that is a member of `authenticated_users` alone, which this makes.
    pub async fn pages_url(&self) -> Result<String> {
        let login = format!("{}_pages", self.name);
        let role = format!("CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE authenticated_users");
        self.target.execute(AssertSqlSafe(role)).await?;
        Ok(self.pages_login())
    }

    /// [`Self::pages_url`] of the login that was made.
    pub fn pages_login(&self) -> String {
        let login = format!("{}_pages", self.name);
        let mut url = url::Url::parse(&self.owner_url("target")).expect("the test server's URL is valid");
        let named = url
            .set_username(&login)
            .and_then(|()| url.set_password(Some(&login)));
        named.expect("a server's URL takes a user");
        url.to_string()
    }

    /// URL of one side's database as a superuser and owner.
    pub fn owner_url(&self, side: &str) -> String {
        let mut url = url::Url::parse(self.servers.of(side)).expect("the test server's URL is valid");
        url.set_path(&format!("/{}_{side}", self.name));
        url.to_string()
    }

    /// Fills the empty source with a seeded sample, registers its tenants and returns their ids.
    pub async fn sample(&self, conversations: u64, tenants: u16, seed: u64) -> Result<Vec<i32>> {
        let options = CreateOptions {
            conversations,
            tenants,
            seed,
            ..CreateOptions::tiny()
        };
        self.sample_with(options).await
    }

    /// The same with other options.
    pub async fn sample_with(&self, options: CreateOptions) -> Result<Vec<i32>> {
        let source = self.url("source");
        let report = if options.chatwoot == NEWEST_KNOWN {
            fill(&source, &options).await?
        } else {
            let mut admin = self.admin().await?;
            let drop = format!("DROP DATABASE {}_source WITH (FORCE)", self.name);
            sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
            create(&source, &options).await?
        };
        let mut ids = Vec::new();
        for tenant in &report.tenants {
            self.tenant(tenant.account_id, &tenant.timezone, &tenant.inbox_ids)
                .await?;
            ids.push(tenant.account_id);
        }
        Ok(ids)
    }

    /// Registers a tenant with its inboxes, as an operator would.
    pub async fn tenant(&self, id: i32, timezone: &str, inboxes: &[i32]) -> Result<()> {
        let id = id.to_string();
        let added = self
            .tidemark(&[
                "tenant",
                "add",
                "--id",
                &id,
                "--name",
                &format!("Tenant {id}"),
                "--timezone",
                timezone,
            ])
            .await?;
        ensure!(added.code == 0, "{added:?}");
        let list: Vec<String> = inboxes.iter().map(ToString::to_string).collect();
        let mapped = self
            .tidemark(&["inbox", "map", "--tenant", &id, "--inbox", &list.join(",")])
            .await?;
        ensure!(mapped.code == 0, "{mapped:?}");
        Ok(())
    }
}
