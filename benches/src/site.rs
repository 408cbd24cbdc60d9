//! Databases of a benchmark, and the program working on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::{Child, Command};

/// Servers, program and settings of one run of the benchmarks.
pub struct Bench {
    program: PathBuf,
    server: String,
    amqp_url: String,
    name: String,
    pub rounds: usize,
    /// Sources by their numbers of conversations and tenants; each is created once.
    sources: BTreeMap<(u64, u16), String>,
    made: Vec<String>,
    has_login: bool,
}

/// One source and one target.
#[derive(Debug, Clone)]
pub struct Site {
    program: PathBuf,
    pub source: String,
    /// The owner's connection.
    pub target: String,
    env: Vec<(&'static str, String)>,
}

impl Bench {
    pub async fn new(
        program: &Path,
        server: &SecretString,
        amqp_url: &SecretString,
        rounds: usize,
    ) -> Result<Self> {
        let program = program.canonicalize().context("find the program")?;
        Ok(Self {
            program,
            server: server.expose_secret().to_owned(),
            amqp_url: amqp_url.expose_secret().to_owned(),
            name: format!("tidemark_bench_{}", std::process::id()),
            rounds,
            sources: BTreeMap::new(),
            made: Vec::new(),
            has_login: false,
        })
    }

    fn url(&self, database: &str) -> Result<String> {
        let mut url: url::Url = self.server.parse()?;
        url.set_path(database);
        Ok(url.to_string())
    }

    async fn on_server(&self, statements: &[&str]) -> Result<()> {
        let mut server = PgConnection::connect(&self.server).await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(*statement))
                .execute(&mut server)
                .await?;
        }
        Ok(())
    }

    /// The server's version and settings.
    pub async fn server_facts(&self) -> Result<Vec<(String, String)>> {
        let mut server = PgConnection::connect(&self.server).await?;
        let facts = sqlx::query_as(
            "SELECT 'PostgreSQL', split_part(current_setting('server_version'), ' ', 1) UNION ALL \
             SELECT 'its settings', string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name) \
             FROM pg_settings WHERE name IN ('shared_buffers', 'work_mem', 'fsync', 'full_page_writes', \
                 'synchronous_commit', 'max_wal_size', 'checkpoint_timeout', 'autovacuum')",
        );
        Ok(facts.fetch_all(&mut server).await?)
    }

    /// A sample of so many conversations. The largest of its eight tenants has about 37 % of them.
    pub async fn source(&mut self, conversations: u64) -> Result<String> {
        self.source_of(conversations, 8).await
    }

    /// A sample of so many conversations and tenants.
    pub async fn source_of(&mut self, conversations: u64, tenants: u16) -> Result<String> {
        if let Some(url) = self.sources.get(&(conversations, tenants)) {
            return Ok(url.clone());
        }
        let database = format!("{}_source_{conversations}_{tenants}", self.name);
        let url = self.url(&database)?;
        self.made.push(database);
        eprintln!("making a sample of {conversations} conversations");
        let (count, tenants_text) = (conversations.to_string(), tenants.to_string());
        let site = self.site(&url, String::new())?;
        site.run(&[
            "sample",
            "create",
            "--url",
            &url,
            "--tenants",
            &tenants_text,
            "--conversations",
            &count,
        ])
        .await?;
        let mut source = PgConnection::connect(&url).await?;
        execute(&mut source, &["VACUUM (ANALYZE)", "CHECKPOINT"]).await?;
        self.sources.insert((conversations, tenants), url.clone());
        Ok(url)
    }

    /// An empty, migrated target for a source, with the source's largest tenant.
    pub async fn fresh(&mut self, source: &str) -> Result<Site> {
        let site = self.empty(source).await?;
        site.run(&[
            "tenant",
            "add",
            "--id",
            "1",
            "--name",
            "One",
            "--account-id",
            "1",
            "--sync-interval",
            "24h",
        ])
        .await?;
        site.run(&["inbox", "discover", "--tenant", "1"]).await?;
        Ok(site)
    }

    /// The same without a tenant.
    pub async fn empty(&mut self, source: &str) -> Result<Site> {
        let database = format!("{}_target", self.name);
        let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
        let create = format!("CREATE DATABASE {database}");
        self.on_server(&[&drop, &create, "CHECKPOINT"]).await?;
        if !self.made.contains(&database) {
            self.made.push(database.clone());
        }
        let site = self.site(source, self.url(&database)?)?;
        site.with("TIDEMARK_DATABASE_URL", &site.target)
            .run(&["migrate"])
            .await?;
        if !self.has_login {
            let login = format!(
                "CREATE ROLE {0} LOGIN PASSWORD '{0}' IN ROLE etl_service",
                self.name
            );
            self.on_server(&[&login]).await?;
            self.has_login = true;
        }
        Ok(site)
    }

    /// The URL with the processes' login, which has no more rights than they need.
    fn as_login(&self, url: &str) -> Result<String> {
        let mut url: url::Url = url.parse()?;
        let named = url
            .set_username(&self.name)
            .and_then(|()| url.set_password(Some(&self.name)));
        named.ok().context("the URL can have a user")?;
        Ok(url.to_string())
    }

    fn site(&self, source: &str, target: String) -> Result<Site> {
        let login = if target.is_empty() {
            String::new()
        } else {
            self.as_login(&target)?
        };
        let env = vec![
            ("TIDEMARK_SOURCE_URL", source.to_owned()),
            ("TIDEMARK_DATABASE_URL", login),
            ("TIDEMARK_AMQP_URL", self.amqp_url.clone()),
            ("TIDEMARK_AMQP_PREFIX", self.name.clone()),
            ("TIDEMARK_HTTP_LISTEN", "off".to_owned()),
            ("RUST_LOG", "error".to_owned()),
        ];
        Ok(Site {
            program: self.program.clone(),
            source: source.to_owned(),
            target,
            env,
        })
    }

    /// Drops everything that was created.
    pub async fn clear(&mut self) -> Result<()> {
        for database in std::mem::take(&mut self.made) {
            self.on_server(&[&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")])
                .await?;
        }
        self.on_server(&[&format!("DROP ROLE IF EXISTS {}", self.name)])
            .await
    }
}

impl Site {
    /// The same with one more setting.
    #[must_use]
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut site = self.clone();
        site.env.retain(|(there, _)| *there != name);
        site.env.push((name, value.to_owned()));
        site
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end and returns its stdout.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(arguments)
            .output()
            .await
            .context("start the program")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`tidemark {}` failed: {stderr}",
            arguments.join(" ")
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Syncs tenant 1. Measures the whole command and the run in it.
    pub async fn sync(&self, arguments: &[&str]) -> Result<Synced> {
        let arguments = [&["sync", "--tenant", "1", "--json"], arguments].concat();
        let begun = Instant::now();
        let answer = self.run(&arguments).await?;
        let command = begun.elapsed().as_secs_f64();
        let report: Value = serde_json::from_str(&answer).context("read the run's report")?;
        ensure!(
            report["status"] == "success",
            "the run ended as {}",
            report["status"]
        );
        let millis = report["duration_ms"].as_f64().context("the run has a duration")?;
        Ok(Synced {
            command,
            run: millis / 1000.0,
            records: report["records"].clone(),
        })
    }

    /// Starts a process of the fleet, which is killed when dropped.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("start the program")
    }

    pub async fn on_source(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.source).await?)
    }

    pub async fn on_target(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.target).await?)
    }

    /// Waits until a statement on the target returns true.
    pub async fn until(&self, statement: &str) -> Result<()> {
        let mut target = self.on_target().await?;
        let deadline = Instant::now() + Duration::from_secs(600);
        while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(statement))
            .fetch_one(&mut target)
            .await?
        {
            ensure!(
                Instant::now() < deadline,
                "not true within ten minutes: {statement}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// The times of a sync in seconds, and its counts.
#[derive(Debug)]
pub struct Synced {
    pub command: f64,
    pub run: f64,
    pub records: Value,
}

/// Executes statements one by one: several at once would be a transaction, in which some statements cannot run.
pub async fn execute(connection: &mut PgConnection, statements: &[&'static str]) -> Result<()> {
    for statement in statements {
        sqlx::raw_sql(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Runs statements and `\\copy` commands with psql, one after the other in one session. Returns the seconds that they
/// took.
pub async fn psql(url: &str, steps: &[String]) -> Result<f64> {
    let begun = Instant::now();
    let output = Command::new("psql")
        .args(["-qXAt", "-v", "ON_ERROR_STOP=1", url])
        .args(steps.iter().flat_map(|step| ["-c", step]))
        .stdin(Stdio::null())
        .output()
        .await
        .context("start psql")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "psql failed: {stderr}");
    Ok(begun.elapsed().as_secs_f64())
}

/// Sends SIGTERM to a process and waits for its end.
pub async fn stop(mut child: Child) -> Result<()> {
    if let Some(pid) = child
        .id()
        .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?))
    {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    child.wait().await?;
    Ok(())
}

/// The peak memory of a process so far, in MB of a million bytes.
pub fn peak_memory(child: &Child) -> Result<f64> {
    let pid = child.id().context("the process is running")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("the kernel reports a process's peak memory")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}
