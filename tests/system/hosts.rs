//! Several hosts in the URL of a database: failovers of the ledger and of a source, and URLs that are refused.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use sqlx::{Executor, PgPool};
use tidemark_ledger::connect::pool;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;

use crate::servers::Server;
use crate::stage::{Servers, Stage, on_servers, on_stage, poll, until_true};

/// `one`'s URL with the hosts of all, in this order.
fn with_hosts(one: &str, all: &[&Server], session: &str) -> Result<String> {
    let mut url = url::Url::parse(one)?;
    url.set_query(Some(&format!("target_session_attrs={session}")));
    let host = |server: &&Server| {
        let url = url::Url::parse(&server.url()?)?;
        Ok(format!(
            "{}:{}",
            url.host_str().context("a host")?,
            url.port().context("a port")?
        ))
    };
    let hosts: Vec<String> = all.iter().map(host).collect::<Result<_>>()?;
    let own = format!(
        "{}:{}",
        url.host_str().context("a host")?,
        url.port().context("a port")?
    );
    Ok(url.as_str().replacen(&own, &hosts.join(","), 1))
}

fn at(server: &Server, url: &str) -> Result<PgPool> {
    let mut there = url::Url::parse(&server.url()?)?;
    there.set_path(url::Url::parse(url)?.path());
    Ok(PgPool::connect_lazy(there.as_str())?)
}

/// A primary, and a standby that has every commit before it is acknowledged.
struct Pair {
    primary: Server,
    standby: Server,
}

impl Pair {
    async fn start() -> Result<Self> {
        let primary = Server::postgres().await?;
        let standby = primary.standby().await?;
        let admin = PgPool::connect(&primary.url()?).await?;
        // the standby was copied before and does not wait for another one
        admin
            .execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await?;
        admin.execute("SELECT pg_reload_conf()").await?;
        until_true(
            &admin,
            "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'",
        )
        .await?;
        admin.close().await;
        Ok(Self { primary, standby })
    }

    fn urls(&self) -> Result<Servers> {
        Ok(Servers {
            target: self.primary.url()?,
            ..Servers::shared()
        })
    }

    async fn promote(&self) -> Result<()> {
        let admin = PgPool::connect(&self.standby.url()?).await?;
        let promoted: bool = sqlx::query_scalar("SELECT pg_promote()")
            .fetch_one(&admin)
            .await?;
        ensure!(promoted);
        admin.close().await;
        Ok(())
    }

    /// The old primary alone, for the end of the test.
    async fn restore(&self) -> Result<()> {
        std::fs::write(self.primary.path("data/postgresql.auto.conf"), "")?;
        self.primary.start().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_on_with_the_promoted_standby_of_its_ledger_and_no_run_fails() {
    let pair = Pair::start().await.expect("a primary and its standby");
    on_servers(
        pair.urls().expect("they have URLs"),
        async |stage| -> Result<()> {
            stage.sample(600, 2, 57).await?;
            let url = with_hosts(
                &stage.url("target"),
                &[&pair.primary, &pair.standby],
                "read-write",
            )?;
            let settings = [
                ("TIDEMARK_DATABASE_URL", url.as_str()),
                ("TIDEMARK_WORKER_LEASE", "3s"),
                ("TIDEMARK_PRODUCER_REQUEUE_AFTER", "5s"),
            ];
            let mut fleet = stage.fleet_with(&["producer", "worker", "finalizer"], &settings)?;
            fleet.until_started().await?;
            let asked = stage
                .tidemark_with(
                    &["sync", "--all", "--full", "--chunk-size", "10", "--json"],
                    &settings,
                )
                .await?;
            ensure!(asked.code == 0, "{asked:?}");
            stage
                .until("SELECT count(*) > 5 FROM etl_chunk WHERE status = 'done'")
                .await?;
            pair.primary.crash().await?;
            pair.promote().await?;

            let promoted = at(&pair.standby, &stage.url("target"))?;
            until_true(
                &promoted,
                "SELECT bool_and(finished_at IS NOT NULL) FROM etl_control",
            )
            .await?;
            let ended: Vec<(String, i32)> =
                sqlx::query_as("SELECT status::text, chunks_dead FROM etl_control ORDER BY id")
                    .fetch_all(&promoted)
                    .await?;
            ensure!(ended.len() == 2, "{ended:?}");
            ensure!(
                ended
                    .iter()
                    .all(|(status, dead)| status == "success" && *dead == 0),
                "{ended:?}"
            );
            // a process and commands that start while the first host is away
            fleet.add("worker")?;
            until_true(&promoted, "SELECT count(*) = 4 FROM etl_process").await?;
            let again = stage
                .tidemark_with(&["sync", "--all", "--full", "--wait", "--json"], &settings)
                .await?;
            ensure!(again.code == 0, "{again:?}");
            let verified = stage
                .tidemark_with(&["verify", "--all", "--deep", "--json"], &settings)
                .await?;
            ensure!(verified.code == 0, "{verified:?}");
            fleet.stop().await?;
            promoted.close().await;
            pair.restore().await
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_leaves_a_server_that_refuses_writes_and_drops_its_connections() {
    let pair = Pair::start().await.expect("a primary and its standby");
    on_servers(
        pair.urls().expect("they have URLs"),
        async |stage| -> Result<()> {
            // the standby comes first, and is not what the ledger needs
            let url = with_hosts(
                &stage.url("target"),
                &[&pair.standby, &pair.primary],
                "read-write",
            )?;
            let db = pool(&ServerUrl::from(url), "worker", 3, DatabasePooler::None).await?;
            let port = |server: &Server| -> Result<i32> {
                Ok(i32::from(
                    url::Url::parse(&server.url()?)?.port().context("a port")?,
                ))
            };
            let used = async || -> Result<i32, sqlx::Error> {
                let mut tx = db.begin().await?;
                let port = sqlx::query_scalar("SELECT inet_server_port()")
                    .fetch_one(&mut *tx)
                    .await?;
                sqlx::query("CREATE TEMPORARY TABLE written ON COMMIT DROP AS SELECT 1")
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("SELECT pg_notify('tidemark_requests', '')")
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("UPDATE tenants SET name = name")
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(port)
            };
            ensure!(used().await? == port(&pair.primary)?);

            // a switchover that ends no session: the old server only refuses writes
            let old = PgPool::connect(&pair.primary.url()?).await?;
            old.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                .await?;
            old.execute("SELECT pg_reload_conf()").await?;
            pair.promote().await?;
            let moved_to = poll("a write at the promoted standby", async || Ok(used().await.ok())).await?;
            ensure!(moved_to == port(&pair.standby)?, "{moved_to}");
            // the connections to the old server are closed as they come up again
            let several = futures::future::join_all((0..3).map(|_| used())).await;
            ensure!(
                several
                    .iter()
                    .all(|one| matches!(one, Ok(port) if *port == moved_to)),
                "{several:?}"
            );
            until_true(
                &old,
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'tidemark worker'",
            )
            .await?;
            db.connections().close().await;
            old.close().await;
            pair.primary.crash().await?;
            pair.restore().await
        },
    )
    .await;
}

/// Syncs and returns the watermark.
async fn sync(stage: &Stage, url: &str) -> Result<DateTime<Utc>> {
    let answer = stage
        .tidemark_with(
            &["sync", "--local", "--tenant", "1", "--json"],
            &[("TIDEMARK_SOURCE_URL", url)],
        )
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json()["watermark_end"]
        .as_str()
        .context("a watermark")?
        .parse()?)
}

#[tokio::test]
async fn a_promoted_standby_goes_on_as_the_source_and_one_that_lost_transactions_is_refused() {
    let pair = Pair::start().await.expect("a primary and its standby");
    let servers = Servers {
        source: pair.primary.url().expect("it has a URL"),
        ..Servers::shared()
    };
    on_servers(servers, async |stage| -> Result<()> {
        stage.sample(60, 1, 61).await?;
        let url = with_hosts(&stage.url("source"), &[&pair.primary, &pair.standby], "primary")?;
        let first = sync(&stage, &url).await?;
        stage
            .source
            .execute(
                "UPDATE conversations SET updated_at = now() AT TIME ZONE 'UTC', priority = 3 WHERE id <= 5",
            )
            .await?;
        pair.primary.crash().await?;
        pair.promote().await?;
        // the first host is away; the standby has everything that was committed
        let second = sync(&stage, &url).await?;
        ensure!(second > first, "{second} is not after {first}");
        stage
            .until("SELECT bool_and(priority = 3) FROM conversations_analytics WHERE conversation_id <= 5")
            .await?;
        let from_hosts = [("TIDEMARK_SOURCE_URL", url.as_str())];
        let verified = stage
            .tidemark_with(&["verify", "--tenant", "1", "--json"], &from_hosts)
            .await?;
        ensure!(verified.code == 0, "{verified:?}");

        // the next standby is away while its primary goes on
        let next = pair.standby.standby().await?;
        next.stop().await?;
        let promoted = at(&pair.standby, &stage.url("source"))?;
        for _ in 0..3 {
            promoted
                .execute("UPDATE conversations SET priority = 2 WHERE id = 6")
                .await?;
        }
        sync(&stage, &url).await?;
        pair.standby.crash().await?;
        next.start().await?;
        let admin = PgPool::connect(&next.url()?).await?;
        let is_promoted: bool = sqlx::query_scalar("SELECT pg_promote()")
            .fetch_one(&admin)
            .await?;
        ensure!(is_promoted);
        admin.close().await;
        promoted.close().await;
        let url = with_hosts(&stage.url("source"), &[&pair.standby, &next], "primary")?;
        let lost = stage
            .tidemark_with(
                &["sync", "--local", "--tenant", "1"],
                &[("TIDEMARK_SOURCE_URL", url.as_str())],
            )
            .await?;
        let named = format!("{}{}", lost.stdout, lost.stderr);
        ensure!(lost.code == 1 && named.contains("went back in time"), "{lost:?}");
        pair.restore().await
    })
    .await;
}

#[tokio::test]
async fn hosts_that_cannot_be_meant_are_refused_and_a_host_that_is_away_is_named() {
    on_stage(async |stage| -> Result<()> {
        for (setting, url, said) in [
            (
                "TIDEMARK_DATABASE_URL",
                "postgres://u:hunter2@one,two/x?target_session_attrs=any",
                "write read-write or primary",
            ),
            (
                "TIDEMARK_DATABASE_URL",
                "postgres://u:hunter2@one,two/x?port=1,2,3",
                "3 ports for 2 hosts",
            ),
            (
                "TIDEMARK_SOURCE_URL",
                "postgres://u:hunter2@one,two/x?target_session_attrs=leader",
                "prefer-standby",
            ),
            ("TIDEMARK_SOURCE_URL", "postgres://u:hunter2@one,,two/x", "empty"),
        ] {
            let checked = stage
                .tidemark_with(&["config", "check"], &[(setting, url)])
                .await?;
            let text = format!("{}{}", checked.stdout, checked.stderr);
            ensure!(checked.code == 78 && text.contains(said), "{url}: {text}");
            ensure!(!text.contains("hunter2"), "{text}");
        }
        // nothing listens on the first port
        let url = stage.url("target").replacen('@', "@127.0.0.1:1,", 1);
        let checked = stage
            .tidemark_with(&["config", "check", "--json"], &[("TIDEMARK_DATABASE_URL", &url)])
            .await?;
        ensure!(checked.stdout.contains("127.0.0.1:1,"), "{checked:?}");
        let status = stage
            .tidemark_with(&["status"], &[("TIDEMARK_DATABASE_URL", &url)])
            .await?;
        ensure!(status.code == 0, "{status:?}");
        let (url, _) = url.split_once("127.0.0.1:1,").context("two hosts")?;
        let nowhere = format!("{url}127.0.0.1:1,127.0.0.1:2/x");
        let status = stage
            .tidemark_with(&["status"], &[("TIDEMARK_DATABASE_URL", &nowhere)])
            .await?;
        let said = status.code == 69
            && ["127.0.0.1:1:", "127.0.0.1:2:"]
                .iter()
                .all(|host| status.stderr.contains(host));
        ensure!(said, "{status:?}");
        Ok(())
    })
    .await;
}
