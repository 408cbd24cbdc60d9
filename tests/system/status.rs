//! The output of `tidemark status`.

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor};

use crate::stage::on_stage;

#[tokio::test(flavor = "multi_thread")]
async fn status_names_the_session_that_holds_the_fence() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(20, 1, 7).await?;
        let mut writer = sqlx::PgConnection::connect(&stage.url("source")).await?;
        writer.execute("SET application_name = 'a slow import'").await?;
        writer.execute("BEGIN").await?;
        writer
            .execute("UPDATE contacts SET name = name WHERE id = 1")
            .await?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut writer)
            .await?;

        let producer = stage.start_with(&["producer"], &[("TIDEMARK_PRODUCER_FENCE_INTERVAL", "100ms")])?;
        stage
            .until("SELECT count(*) = 1 FROM etl_source_watch WHERE holder->>'application' = 'a slow import'")
            .await?;
        let status = stage.tidemark(&["status", "--json"]).await?.json();
        let source = &status["sources"][0];
        ensure!(
            source["source"] == "main" && source["holder"]["pid"] == pid,
            "{source:#}"
        );
        ensure!(
            source["fence_at"].is_null(),
            "open before every sample: {source:#}"
        );
        ensure!(source["holder"]["state"] == "idle in transaction", "{source:#}");
        let text = stage.tidemark(&["status"]).await?.stdout;
        ensure!(text.contains(&format!("pid {pid}")), "{text}");

        writer.execute("COMMIT").await?;
        stage
            .until("SELECT count(*) = 1 FROM etl_source_watch WHERE fence_at = looked_at AND error IS NULL")
            .await?;
        producer.kill().await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_why_a_source_cannot_be_read() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(20, 1, 7).await?;
        let producer = stage.start_with(&["producer"], &[("TIDEMARK_PRODUCER_FENCE_INTERVAL", "100ms")])?;
        stage
            .until("SELECT count(*) = 1 FROM etl_source_watch WHERE fence_at IS NOT NULL")
            .await?;
        // as if the source were restored from an old backup
        stage
            .target
            .execute("UPDATE etl_source SET highest_xmax = highest_xmax + 1000000000")
            .await?;
        stage
            .until("SELECT count(*) = 1 FROM etl_source_watch WHERE error LIKE '%went back in time%' AND failing_since IS NOT NULL")
            .await?;
        let text = stage.tidemark(&["status"]).await?.stdout;
        ensure!(text.contains("restored or swapped"), "{text}");
        producer.kill().await
    })
    .await;
}

#[tokio::test]
async fn status_says_how_far_behind_each_tenant_is_and_which_has_no_inboxes() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(40, 1, 7).await?;
        let added = stage
            .tidemark(&["tenant", "add", "--id", "2", "--name", "Without inboxes"])
            .await?;
        ensure!(added.code == 0, "{added:?}");
        let tenants = async || -> Result<serde_json::Value> {
            Ok(stage.tidemark(&["status", "--json"]).await?.json()["tenants"].take())
        };
        let before = tenants().await?;
        ensure!(
            before[0]["behind_ms"].is_null() && before[0]["held_by"] == "no producer",
            "{before:#}"
        );
        ensure!(
            before[1]["held_by"] == "no inboxes" && before[1]["inboxes"] == 0,
            "{before:#}"
        );

        let run = stage.sync_local(&["--tenant", "1"]).await?;
        let producer = stage.start(&["producer"])?;
        stage
            .until("SELECT count(*) = 1 FROM etl_process WHERE role = 'producer'")
            .await?;
        let synced = tenants().await?;
        ensure!(
            synced[0]["held_by"].is_null() && synced[0]["late"] == false,
            "{synced:#}"
        );
        ensure!(
            synced[0]["behind_ms"]
                .as_i64()
                .is_some_and(|behind| behind < 300_000),
            "{synced:#}"
        );
        ensure!(synced[0]["last_run"]["run_id"] == run["run_id"], "{synced:#}");
        ensure!(synced[0]["last_run"]["finished_at"].is_string(), "{synced:#}");

        producer.kill().await
    })
    .await;
}

#[tokio::test]
async fn status_calls_a_tenant_late_after_three_intervals_and_a_minute() {
    on_stage(async |stage| -> Result<()> {
        stage.sample(20, 1, 7).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        // the interval is five minutes
        stage
            .target
            .execute(
                "UPDATE etl_watermark SET watermark = watermark - interval '17 minutes' WHERE tenant_id = 1",
            )
            .await?;
        let status = stage.tidemark(&["status", "--json"]).await?.json();
        ensure!(status["tenants"][0]["late"] == true, "{status:#}");
        let text = stage.tidemark(&["status"]).await?.stdout;
        ensure!(text.contains("17m") && text.contains(", late"), "{text}");
        Ok(())
    })
    .await;
}
