//! A hot standby as the source, while its primary is written to.
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Executor, PgPool};
use tidemark_sample::{CreateOptions, TrafficOptions, create, traffic};
use tokio_util::sync::CancellationToken;

use crate::servers::Server;
use crate::stage::{Stage, on_stage, until_true};

/// A primary with a sample, and its standby.
struct Pair {
    primary: Server,
    standby: Server,
}

impl Pair {
    async fn start() -> Result<Self> {
        let primary = Server::postgres().await?;
        let options = CreateOptions {
            conversations: 200,
            tenants: 1,
            seed: 113,
            ..CreateOptions::tiny()
        };
        create(&chatwoot(&primary)?, &options).await?;
        let standby = primary.standby().await?;
        Ok(Self { primary, standby })
    }

    /// Waits until the standby shows all commits of the primary.
    async fn caught_up(&self, primary: &PgPool, standby: &PgPool) -> Result<()> {
        let written: String = sqlx::query_scalar("SELECT pg_current_wal_lsn()::text")
            .fetch_one(primary)
            .await?;
        until_true(
            standby,
            &format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"),
        )
        .await
    }
}

fn chatwoot(server: &Server) -> Result<String> {
    let mut url = url::Url::parse(&server.url()?)?;
    url.set_path("/chatwoot");
    Ok(url.to_string())
}

/// Syncs from the standby and returns the watermark. It must be behind the replay, which is read after it.
async fn sync(stage: &Stage, url: &str, standby: &PgPool) -> Result<DateTime<Utc>> {
    let answer = stage
        .tidemark_with(
            &["sync", "--local", "--tenant", "1", "--json"],
            &[("TIDEMARK_SOURCE_URL", url)],
        )
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    let run: Value = answer.json();
    let end: DateTime<Utc> = run["watermark_end"].as_str().context("a watermark")?.parse()?;
    let replayed: DateTime<Utc> = sqlx::query_scalar("SELECT pg_last_xact_replay_timestamp()")
        .fetch_one(standby)
        .await?;
    ensure!(
        replayed - end >= chrono::TimeDelta::seconds(10),
        "{end} is not behind {replayed}: {run:#}"
    );
    Ok(end)
}

#[tokio::test]
async fn a_standby_is_followed_and_the_watermark_stays_behind_its_replay() {
    on_stage(|stage| async move {
        let pair = Pair::start().await?;
        let (on_primary, on_standby) = (chatwoot(&pair.primary)?, chatwoot(&pair.standby)?);
        let (primary, standby) = (PgPool::connect_lazy(&on_primary)?, PgPool::connect_lazy(&on_standby)?);
        let from_standby = [("TIDEMARK_SOURCE_URL", on_standby.as_str())];
        for sample in tidemark_sample::describe(&on_primary).await? {
            stage.tenant(sample.account_id, &sample.timezone, &sample.inbox_ids).await?;
        }
        // a standby that has replayed nothing since its start does not know its primary's time
        primary.execute("UPDATE conversations SET priority = 2 WHERE id = 1").await?;
        pair.caught_up(&primary, &standby).await?;
        let first = sync(&stage, &on_standby, &standby).await?;

        // live writes go on beside the syncs
        let stopped = CancellationToken::new();
        let options = TrafficOptions {
            rate_per_second: 50.0,
            count: None,
            seed: 127,
            ..TrafficOptions::default()
        };
        let syncs = async {
            let mut reached = first;
            for _ in 0..3 {
                let end = sync(&stage, &on_standby, &standby).await?;
                ensure!(end >= reached, "the watermark went back from {reached} to {end}");
                reached = end;
            }
            stopped.cancel();
            Ok(reached)
        };
        let (written, reached) = tokio::join!(traffic(&on_primary, &options, stopped.clone()), syncs);
        written?;
        let reached: DateTime<Utc> = reached?;

        // while the replay is paused the watermark does not move, however late it is at the primary
        pair.caught_up(&primary, &standby).await?;
        standby.execute("SELECT pg_wal_replay_pause()").await?;
        primary
            .execute("UPDATE conversations SET updated_at = now() AT TIME ZONE 'UTC', priority = 3 WHERE id BETWEEN 11 AND 20")
            .await?;
        let held = sync(&stage, &on_standby, &standby).await?;
        let same = sync(&stage, &on_standby, &standby).await?;
        ensure!(reached <= held && held == same, "{reached} {held} {same}");
        standby.execute("SELECT pg_wal_replay_resume()").await?;
        pair.caught_up(&primary, &standby).await?;
        ensure!(sync(&stage, &on_standby, &standby).await? > held, "the watermark stays");
        stage
            .until("SELECT bool_and(priority = 3) FROM conversations_analytics WHERE conversation_id BETWEEN 11 AND 20 \
                    AND source_deleted_at IS NULL")
            .await?;
        let verified = stage.tidemark_with(&["verify", "--tenant", "1", "--json"], &from_standby).await?;
        ensure!(verified.code == 0, "{verified:?}");
        primary.close().await;
        standby.close().await;
        Ok(())
    })
    .await;
}
