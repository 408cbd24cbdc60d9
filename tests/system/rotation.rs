//! Passwords that change under a running fleet, in the files that its URLs come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Executor};

use crate::http::{address_of, get, until};
use crate::secrets::{PasswordServers, password, with_password};
use crate::stage::{Stage, on_servers};

/// Mounted as Kubernetes mounts a Secret: each file is a link through `..data`, and one rename replaces all of them.
struct Mounted {
    dir: PathBuf,
}

impl Mounted {
    fn new(name: &str) -> Result<Self> {
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir)?;
        for file in ["database", "source", "amqp"] {
            std::os::unix::fs::symlink(Path::new("..data").join(file), dir.join(file))?;
        }
        Ok(Self { dir })
    }

    fn replace(&self, version: &str, urls: [&str; 3]) -> Result<()> {
        std::fs::create_dir(self.dir.join(version))?;
        for (file, url) in ["database", "source", "amqp"].into_iter().zip(urls) {
            std::fs::write(self.dir.join(version).join(file), format!("{url}\n"))?;
        }
        std::os::unix::fs::symlink(version, self.dir.join("..data_tmp"))?;
        Ok(std::fs::rename(
            self.dir.join("..data_tmp"),
            self.dir.join("..data"),
        )?)
    }

    fn path(&self, file: &str) -> Result<String> {
        Ok(self.dir.join(file).to_str().context("a UTF-8 path")?.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

struct Rotation<'a> {
    stage: &'a Stage,
    servers: &'a PasswordServers,
    reader: String,
}

impl Rotation<'_> {
    /// Gives all three logins other passwords and ends their sessions. Returns the URLs.
    async fn rotate(&self, version: &str) -> Result<[String; 3]> {
        let new = password(version);
        let quoted = new.replace('\'', "''");
        for login in [self.stage.login(), &self.reader] {
            self.stage
                .target
                .execute(AssertSqlSafe(format!("ALTER ROLE {login} PASSWORD '{quoted}'")))
                .await?;
        }
        self.servers
            .rabbitmq
            .ctl(&["change_password", "fleet", &new])
            .await?;
        sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY($1)")
            .bind([self.stage.login(), &self.reader])
            .execute(&self.stage.target)
            .await?;
        self.servers
            .rabbitmq
            .ctl(&["close_all_connections", "the password has changed"])
            .await?;
        Ok([
            with_password(&self.stage.url("target"), self.stage.login(), &new)?,
            with_password(&self.stage.url("source"), &self.reader, &new)?,
            with_password(self.stage.amqp_url(), "fleet", &new)?,
        ])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_passwords_are_read_from_their_files_and_no_run_fails() {
    let servers = PasswordServers::start()
        .await
        .expect("two servers that ask for passwords");
    let urls = servers.urls().expect("they have URLs");
    on_servers(urls, async |stage| -> Result<()> {
        stage.sample(300, 2, 29).await?;
        let reader = format!("{}_reader", stage.login());
        stage
            .source
            .execute(AssertSqlSafe(format!(
                "CREATE ROLE {reader} LOGIN IN ROLE pg_read_all_stats; \
                 GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}"
            )))
            .await?;
        let rotation = Rotation {
            stage: &stage,
            servers: &servers,
            reader: reader.clone(),
        };
        let mounted = Mounted::new(stage.login())?;
        let first = rotation.rotate("first").await?;
        mounted.replace("first", first.each_ref().map(String::as_str))?;
        let files = [mounted.path("database")?, mounted.path("source")?, mounted.path("amqp")?];
        let settings = [
            ("TIDEMARK_DATABASE_URL_FILE", files[0].as_str()),
            ("TIDEMARK_SOURCE_URL_FILE", files[1].as_str()),
            ("TIDEMARK_AMQP_URL_FILE", files[2].as_str()),
            ("TIDEMARK_WORKER_LEASE", "3s"),
            ("TIDEMARK_PRODUCER_REQUEUE_AFTER", "5s"),
            ("TIDEMARK_PRODUCER_FENCE_INTERVAL", "1s"),
            ("TIDEMARK_HTTP_LISTEN", "127.0.0.1:0"),
        ];
        let fleet = stage.fleet_with(&["producer", "worker", "finalizer"], &settings)?;
        fleet.until_started().await?;
        let worker = address_of(&stage, "worker").await?;
        let asked = stage
            .tidemark_with(&["sync", "--all", "--full", "--chunk-size", "5", "--json"], &settings)
            .await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT count(*) > 5 FROM etl_chunk WHERE status = 'done'")
            .await?;

        // the old passwords are dead before the files are replaced, and every session is ended
        let second = rotation.rotate("second").await?;
        let refusing = until(&worker, "/readyz", |answer| {
            answer.status == 503
                && answer.body.contains("the server refuses user or password")
                && answer.body.contains("the broker refuses user, password or virtual host")
        })
        .await?;
        ensure!(get(&worker, "/livez", "*/*").await?.status == 200, "{refusing:?}");
        // what starts now is told what to correct
        let status = stage.tidemark_with(&["status"], &settings).await?;
        ensure!(status.code == 78 && status.stderr.contains("check user, password"), "{status:?}");
        // the files as they are in the moment of rewriting
        for file in ["database", "source", "amqp"] {
            std::fs::write(mounted.dir.join("first").join(file), "")?;
        }
        until(&worker, "/readyz", |answer| answer.body.contains("\"not reachable\"")).await?;
        mounted.replace("second", second.each_ref().map(String::as_str))?;
        stage
            .until("SELECT bool_and(finished_at IS NOT NULL) FROM etl_control")
            .await?;

        // only the source's password dies, and the ledger has the words of it
        let third = rotation.rotate("third").await?;
        mounted.replace("mixed", [&third[0], &second[1], &third[2]])?;
        stage
            .until(&format!(
                "SELECT count(*) = 1 FROM etl_source_watch WHERE error LIKE '%refuses user or password (28P01)%{}%read again%'",
                files[1]
            ))
            .await?;
        let asked = stage.tidemark_with(&["sync", "--all", "--full", "--json"], &settings).await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT count(*) > 0 FROM etl_control WHERE finished_at IS NULL AND error_message LIKE '%refuses user or password%'")
            .await?;
        mounted.replace("third", third.each_ref().map(String::as_str))?;
        stage
            .until("SELECT bool_and(finished_at IS NOT NULL) FROM etl_control")
            .await?;
        let ended: Vec<(String, i32)> =
            sqlx::query_as("SELECT status::text, chunks_dead FROM etl_control ORDER BY id")
                .fetch_all(&stage.target)
                .await?;
        ensure!(
            ended.len() == 4 && ended.iter().all(|(status, dead)| status == "success" && *dead == 0),
            "{ended:?}"
        );
        // the processes of the beginning are still there
        fleet.stop().await
    })
    .await;
}
