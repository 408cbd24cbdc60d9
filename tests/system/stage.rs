//! A test's own databases, queue prefix and processes.

mod broker;
mod source;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
pub use rustix::process::Signal;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tidemark_ledger::MIGRATOR;
use tidemark_postgres::DbPool;
use tidemark_sample::{CreateOptions, create};
use tokio::process::{Child, Command};

use crate::sessions::Guests;

/// Bound of every wait: above anything that a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one test works on.
pub struct Stage {
    name: String,
    servers: Servers,
    guests: Guests,
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
    /// Those that all tests share: nobody may stop them.
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

/// A running `tidemark`; killed when dropped.
pub struct Process(Child);

/// The answer of a command that has ended.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// Stdout, which must be JSON; of several documents the last.
    pub fn json(&self) -> Value {
        self.documents()
            .pop()
            .unwrap_or_else(|| panic!("no JSON in {self:?}"))
    }

    /// The JSON documents of stdout, one after the other.
    pub fn documents(&self) -> Vec<Value> {
        serde_json::Deserializer::from_str(&self.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Runs a test on a stage with an empty Chatwoot schema as its source, and clears up whatever happens.
pub async fn on_stage<F: Future<Output = Result<()>>>(test: impl FnOnce(std::sync::Arc<Stage>) -> F) {
    on_servers(Servers::shared(), test).await;
}

/// The same on servers of the test's own.
pub async fn on_servers<F: Future<Output = Result<()>>>(
    servers: Servers,
    test: impl FnOnce(std::sync::Arc<Stage>) -> F,
) {
    // a source of the test's own may be away when it is asked
    let watched = servers.source == Servers::shared().source;
    let stage = std::sync::Arc::new(Stage::new(servers).await.expect("a stage can be made"));
    let test = Box::pin(test(std::sync::Arc::clone(&stage)));
    let watching = async {
        if watched {
            stage.guests.watch(&stage, test).await
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
        for side in ["source", "target"] {
            let mut admin = PgConnection::connect(servers.of(side))
                .await
                .context("connect to the test server")?;
            sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}_{side}")))
                .execute(&mut admin)
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
            guests: Guests::default(),
        };
        MIGRATOR.run(&stage.target).await?;
        let login = format!(
            "CREATE ROLE {name} LOGIN PASSWORD '{name}' IN ROLE etl_service",
            name = stage.name
        );
        sqlx::query(AssertSqlSafe(login)).execute(&stage.target).await?;
        tidemark_sample::schema(&mut *stage.source.acquire().await?).await?;
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
        let drop = format!("DROP ROLE IF EXISTS {}", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
        self.delete_queues().await
    }

    /// A connection to the source's server, of a superuser and to neither side's database.
    pub async fn admin(&self) -> Result<PgConnection> {
        PgConnection::connect(&self.servers.source)
            .await
            .context("connect to the test server")
    }

    /// Ledger and target as the program's own functions take them.
    pub fn db(&self) -> DbPool {
        DbPool::direct(self.target.clone())
    }

    /// Name of one side's database.
    pub fn database(&self, side: &str) -> String {
        format!("{}_{side}", self.name)
    }

    /// The login of the processes on the target's server.
    pub fn login(&self) -> &str {
        &self.name
    }

    /// URL of one side's database: the source as its owner, the target as the processes' login, which is nobody special.
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

    /// URL of one side's database as a superuser, who owns what is in it.
    pub fn owner_url(&self, side: &str) -> String {
        let mut url = url::Url::parse(self.servers.of(side)).expect("the test server's URL is valid");
        url.set_path(&format!("/{}_{side}", self.name));
        url.to_string()
    }

    /// Replaces the empty source by a seeded sample, registers its tenants and returns their ids.
    pub async fn sample(&self, conversations: u64, tenants: u16, seed: u64) -> Result<Vec<i32>> {
        let mut admin = PgConnection::connect(&self.servers.source).await?;
        let drop = format!("DROP DATABASE {}_source WITH (FORCE)", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
        let options = CreateOptions {
            conversations,
            tenants,
            seed,
            ..CreateOptions::tiny()
        };
        let report = create(&self.url("source"), &options).await?;
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

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let target = if args.first() == Some(&"migrate") {
            self.owner_url("target")
        } else {
            self.url("target")
        };
        command
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            // no tidemark.toml of whoever runs the tests
            .current_dir(std::env::temp_dir())
            .env("TIDEMARK_DATABASE_URL", target)
            .env("TIDEMARK_SOURCE_URL", self.url("source"))
            .env("TIDEMARK_AMQP_URL", &self.servers.amqp)
            .env("TIDEMARK_AMQP_PREFIX", &self.name)
            // a killed worker costs one lease
            .env("TIDEMARK_WORKER_LEASE", "3s")
            .env("TIDEMARK_PRODUCER_TICK", "100ms");
        command
    }

    /// Runs a command to its end.
    pub async fn tidemark(&self, args: &[&str]) -> Result<Answer> {
        self.tidemark_with(args, &[]).await
    }

    /// The same with other settings.
    pub async fn tidemark_with(&self, args: &[&str], settings: &[(&str, &str)]) -> Result<Answer> {
        let mut command = self.command(args);
        command.envs(settings.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.guests.count(command.spawn()?);
        Self::answer(args, child).await
    }

    /// Runs a command to its end while nobody reads what it prints.
    pub async fn tidemark_unread(&self, args: &[&str]) -> Result<Answer> {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.guests.count(command.spawn()?);
        drop(child.stdout.take());
        Self::answer(args, child).await
    }

    /// Runs a command to its end with this as its standard input.
    pub async fn tidemark_fed(&self, args: &[&str], input: &str) -> Result<Answer> {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.guests.count(command.spawn()?);
        let mut stdin = child.stdin.take().context("a pipe")?;
        tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await?;
        drop(stdin);
        Self::answer(args, child).await
    }

    async fn answer(args: &[&str], child: Child) -> Result<Answer> {
        let output: Output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .with_context(|| format!("{args:?} hangs"))??;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Starts a process that runs until it is stopped.
    pub fn start(&self, args: &[&str]) -> Result<Process> {
        self.start_with(args, &[])
    }

    /// The same with other settings.
    pub fn start_with(&self, args: &[&str], settings: &[(&str, &str)]) -> Result<Process> {
        let mut command = self.command(args);
        command.envs(settings.iter().copied());
        Ok(Process(self.guests.count(command.stdout(Stdio::null()).spawn()?)))
    }

    /// The same, with all that it says appended to a file.
    pub fn start_into(
        &self,
        log: &std::fs::File,
        args: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Process> {
        let mut command = self.command(args);
        command.envs(settings.iter().copied());
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(Process(self.guests.count(command.spawn()?)))
    }

    /// Syncs a tenant in one process and returns the run.
    pub async fn sync_local(&self, args: &[&str]) -> Result<Value> {
        let answer = self
            .tidemark(&[&["sync", "--local", "--json"], args].concat())
            .await?;
        ensure!(answer.code == 0, "{answer:?}");
        Ok(answer.json())
    }

    /// Asks for a full sync of tenant 1 in chunks of this size; returns the run.
    pub async fn ask_full(&self, chunk_size: &str) -> Result<String> {
        let args = [
            "sync",
            "--tenant",
            "1",
            "--full",
            "--json",
            "--chunk-size",
            chunk_size,
        ];
        let asked = self.tidemark(&args).await?;
        ensure!(asked.code == 0, "{asked:?}");
        Ok(asked.json()["run_id"].to_string())
    }

    /// Asserts that source and target are equal for these tenants, column by column.
    pub async fn assert_equal(&self, tenants: &[i32]) -> Result<()> {
        for tenant in tenants {
            let answer = self
                .tidemark(&["verify", "--deep", "--tenant", &tenant.to_string(), "--json"])
                .await?;
            let is_equal = answer.code == 0 && answer.json()["pending"] == 0;
            ensure!(is_equal, "tenant {tenant} differs: {answer:?}");
        }
        Ok(())
    }

    /// Asserts that the digests of both sides prove the same, with nothing left open; `settings` say how the source is read.
    pub async fn assert_proven(&self, tenants: &[i32], settings: &[(&str, &str)]) -> Result<()> {
        let answer = self
            .tidemark_with(&["verify", "--all", "--json"], settings)
            .await?;
        let found = answer.json();
        for tenant in tenants {
            let one = found
                .as_array()
                .and_then(|all| all.iter().find(|one| one["tenant_id"] == *tenant));
            let is_proven = one
                .is_some_and(|one| one["verdict"] == "equal" && one["pending"] == 0 && one["unproven"] == 0);
            ensure!(is_proven, "tenant {tenant} is not proven equal: {answer:?}");
        }
        Ok(())
    }

    /// Waits until a statement on the target returns true.
    pub async fn until(&self, statement: &str) -> Result<()> {
        Self::until_on(&self.target, statement).await
    }

    /// Waits until so many processes have looked at how tenants are kept apart: until then a lock on their rows stops them.
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
        tokio::time::timeout(PATIENCE, reached)
            .await
            .with_context(|| format!("never came true: {statement}"))?
    }
}

impl Process {
    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.0.kill().await?)
    }

    /// Sends a signal: SIGSTOP and SIGCONT freeze and thaw it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.0.id().context("it has ended already")?;
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).context("a process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// The exit code, when it has ended.
    pub fn exit_code(&mut self) -> Result<Option<i32>> {
        Ok(self.0.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// SIGTERM; returns the exit code.
    pub async fn terminate(self) -> Result<i32> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// Waits until it has ended by itself; returns the exit code.
    pub async fn ended(mut self) -> Result<i32> {
        let status = tokio::time::timeout(PATIENCE, self.0.wait())
            .await
            .context("it does not stop")??;
        Ok(status.code().unwrap_or(-1))
    }
}

/// The binary under test, built beside this one.
fn binary() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("tidemark");
    assert!(
        path.exists(),
        "{} is missing: run the tests with `make test`",
        path.display()
    );
    path
}
