//! A test's own PostgreSQL, RabbitMQ or PgBouncer, which the test may stop, crash and start again.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/service");

/// A private server; stopped and removed when dropped.
pub struct Server {
    kind: &'static str,
    dir: PathBuf,
}

impl Server {
    pub async fn postgres() -> Result<Self> {
        Self::new("postgres", |_| Ok(())).await
    }

    /// One whose files can be limited to a size above that of its WAL segments: see [`Self::limit`].
    pub async fn postgres_with_small_segments() -> Result<Self> {
        Self::new("postgres", |dir| {
            Ok(std::fs::write(dir.join("wal-segment"), "1")?)
        })
        .await
    }

    /// One with settings of its own, as `name=value`, separated by spaces.
    pub async fn postgres_with(settings: &str) -> Result<Self> {
        Self::new("postgres", |dir| {
            Ok(std::fs::write(dir.join("settings"), settings)?)
        })
        .await
    }

    pub async fn rabbitmq() -> Result<Self> {
        Self::new("rabbitmq", |_| Ok(())).await
    }

    /// Another node of this RabbitMQ's cluster. It cannot outlive the first node's port mapper.
    pub async fn cluster_node(&self) -> Result<Self> {
        Self::new("rabbitmq", |dir| {
            Ok(std::fs::write(dir.join("cluster-of"), self.dir())?)
        })
        .await
    }

    /// A hot standby of this PostgreSQL.
    pub async fn standby(&self) -> Result<Self> {
        let url = self.url()?;
        Self::new("postgres", |dir| Ok(std::fs::write(dir.join("standby-of"), url)?)).await
    }

    /// A pooler in transaction mode for this PostgreSQL: for these users, with `pool_size` connections for each user
    /// and database.
    pub async fn pgbouncer(postgres: &str, users: &[&str], pool_size: u16) -> Result<Self> {
        Self::new("pgbouncer", |dir| {
            std::fs::write(dir.join("pooler-of"), postgres)?;
            std::fs::write(dir.join("pool-users"), users.join("\n"))?;
            Ok(std::fs::write(dir.join("pool-size"), pool_size.to_string())?)
        })
        .await
    }

    /// A server that only accepts encrypted connections. `write` writes the files of scripts/service into its folder
    /// `tls`.
    pub async fn encrypted(kind: &'static str, write: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        Self::new(kind, |dir| {
            let tls = dir.join("tls");
            std::fs::create_dir(&tls)?;
            write(&tls)
        })
        .await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the servers of the tests are named by the environment"
    )]
    async fn new(kind: &'static str, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let parent =
            std::env::var("TIDEMARK_TEST_SERVICES_DIR").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
        let server = Self {
            kind,
            dir: parent.join(format!("tm_{kind}_{:016x}", rand::random::<u64>())),
        };
        std::fs::create_dir_all(&server.dir)?;
        prepare(&server.dir)?;
        server.start().await?;
        Ok(server)
    }

    /// The server's URL, which never changes.
    pub fn url(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.dir.join("url"))?.trim().to_owned())
    }

    /// Starts the server. Returns when it accepts connections.
    pub async fn start(&self) -> Result<()> {
        self.service(&["start", self.kind, self.dir()]).await.map(drop)
    }

    /// Shuts the server down in order.
    pub async fn stop(&self) -> Result<()> {
        self.service(&["stop", self.dir()]).await.map(drop)
    }

    /// Ends the server at once.
    pub async fn crash(&self) -> Result<()> {
        self.service(&["crash", self.dir()]).await.map(drop)
    }

    /// Runs `rabbitmqctl` and returns its output.
    pub async fn ctl(&self, args: &[&str]) -> Result<String> {
        self.service(&[&["ctl", self.dir()], args].concat()).await
    }

    /// Limits a resource of this PostgreSQL and of its sessions: `fsize` (the size of files, which stands for a full
    /// disk) or `as` (address space, which stands for a lack of memory). The kernel refuses both in the same calls.
    /// `None` lifts the limit.
    pub async fn limit(&self, resource: &str, limit: Option<u64>) -> Result<()> {
        let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        self.service(&["limit", self.dir(), resource, &limit])
            .await
            .map(drop)
    }

    /// The address space of its postmaster in bytes: a session begins with a copy of it.
    pub fn address_space(&self) -> Result<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.postmaster()?))?;
        let pages: u64 = statm.split(' ').next().context("a number of pages")?.parse()?;
        Ok(pages * u64::try_from(rustix::param::page_size())?)
    }

    fn postmaster(&self) -> Result<i32> {
        let file = std::fs::read_to_string(self.path("data/postmaster.pid"))?;
        Ok(file.lines().next().context("a process id")?.parse()?)
    }

    /// A file in the server's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn dir(&self) -> &str {
        self.dir.to_str().expect("a folder's name is UTF-8")
    }

    async fn service(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(SERVICE)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .await
            .context("run scripts/service")?;
        ensure!(output.status.success(), "{args:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let crashed = std::process::Command::new(SERVICE)
            .args([Path::new("crash"), &self.dir])
            .stdin(Stdio::null())
            .status();
        if crashed.is_ok() {
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}
