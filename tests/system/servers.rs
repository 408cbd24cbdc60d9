//! A test's own PostgreSQL, RabbitMQ or PgBouncer, which it may stop, crash and start again.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/service");

/// A private server; taken down and removed when dropped.
pub struct Server {
    kind: &'static str,
    dir: PathBuf,
}

impl Server {
    pub async fn postgres() -> Result<Self> {
        Self::new("postgres", &[]).await
    }

    pub async fn rabbitmq() -> Result<Self> {
        Self::new("rabbitmq", &[]).await
    }

    /// A further node of this RabbitMQ's cluster. It does not outlive the first one's port mapper.
    pub async fn cluster_node(&self) -> Result<Self> {
        Self::new("rabbitmq", &[("cluster-of", self.dir())]).await
    }

    /// A pooler in transaction mode before this PostgreSQL, with so many connections to each of its databases.
    pub async fn pgbouncer(postgres: &str, pool_size: u16) -> Result<Self> {
        let size = pool_size.to_string();
        Self::new("pgbouncer", &[("pooler-of", postgres), ("pool-size", &size)]).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the servers of the tests are named by the environment"
    )]
    async fn new(kind: &'static str, told: &[(&str, &str)]) -> Result<Self> {
        let parent =
            std::env::var("TIDEMARK_TEST_SERVICES_DIR").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
        let server = Self {
            kind,
            dir: parent.join(format!("tm_{kind}_{:016x}", rand::random::<u64>())),
        };
        for (file, text) in told {
            std::fs::create_dir_all(&server.dir)?;
            std::fs::write(server.dir.join(file), text)?;
        }
        server.start().await?;
        Ok(server)
    }

    /// The server's URL; it stays the same for the server's life.
    pub fn url(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.dir.join("url"))?.trim().to_owned())
    }

    /// Starts it, and returns when it takes connections.
    pub async fn start(&self) -> Result<()> {
        self.service(&["start", self.kind, self.dir()]).await.map(drop)
    }

    /// Shuts it down in order.
    pub async fn stop(&self) -> Result<()> {
        self.service(&["stop", self.dir()]).await.map(drop)
    }

    /// Ends it at once.
    pub async fn crash(&self) -> Result<()> {
        self.service(&["crash", self.dir()]).await.map(drop)
    }

    /// `rabbitmqctl`, and what it prints.
    pub async fn ctl(&self, args: &[&str]) -> Result<String> {
        self.service(&[&["ctl", self.dir()], args].concat()).await
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
