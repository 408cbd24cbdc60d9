//! Syncs in one process: the rows that arrive, the counts, and the watermark.

use anyhow::{Result, ensure};
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

async fn source_count(stage: &Stage, tenant: i32) -> Result<i64> {
    Ok(
        sqlx::query_scalar("SELECT count(*) FROM conversations WHERE account_id = $1")
            .bind(tenant)
            .fetch_one(&stage.source)
            .await?,
    )
}

async fn watermark(stage: &Stage, tenant: i32) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
    Ok(
        sqlx::query_scalar("SELECT watermark FROM etl_watermark WHERE tenant_id = $1")
            .bind(tenant)
            .fetch_one(&stage.target)
            .await?,
    )
}

async fn source_clock(stage: &Stage) -> Result<chrono::DateTime<chrono::Utc>> {
    Ok(sqlx::query_scalar("SELECT now()")
        .fetch_one(&stage.source)
        .await?)
}

#[tokio::test]
async fn the_first_sync_brings_everything() {
    on_stage(|stage| async move {
        let tenants = stage.sample(400, 3, 7).await?;
        let expected = source_count(&stage, tenants[0]).await?;
        let before = source_clock(&stage).await?;

        let run = stage.sync_local(&["--tenant", "1", "--chunk-size", "37"]).await?;
        ensure!(run["status"] == "success" && run["type"] == "full", "{run:#}");
        ensure!(
            run["records"]["extracted"] == expected && run["records"]["inserted"] == expected,
            "{run:#}"
        );
        ensure!(
            run["chunks"]["total"] == (expected + 36) / 37 && run["chunks"]["dead"] == 0,
            "{run:#}"
        );
        ensure!(
            run["watermark_start"].is_null() && run["trace_id"].is_string(),
            "{run:#}"
        );
        let now = source_clock(&stage).await?;
        let reached = watermark(&stage, 1).await?.expect("a watermark");
        ensure!(before <= reached && reached <= now, "{before} {reached} {now}");
        stage.assert_equal(&tenants[..1]).await
    })
    .await;
}

#[tokio::test]
async fn a_second_sync_changes_nothing() {
    on_stage(|stage| async move {
        let tenants = stage.sample(200, 3, 7).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let reached = watermark(&stage, 1).await?;

        let second = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            second["status"] == "success" && second["type"] == "incremental",
            "{second:#}"
        );
        ensure!(
            second["records"]["inserted"] == 0 && second["records"]["updated"] == 0,
            "{second:#}"
        );
        ensure!(
            watermark(&stage, 1).await? > reached,
            "the watermark did not advance"
        );
        ensure!(
            watermark(&stage, 2).await?.is_none(),
            "another tenant's watermark moved"
        );
        stage.assert_equal(&tenants[..1]).await
    })
    .await;
}

#[tokio::test]
async fn an_incremental_sync_takes_every_kind_of_change() {
    on_stage(|stage| async move {
        let tenants = stage.sample(300, 2, 3).await?;
        stage.sync_local(&["--all"]).await?;
        let options = tidemark_sample::TrafficOptions {
            rate_per_second: 0.0,
            count: Some(400),
            seed: 5,
            ..tidemark_sample::TrafficOptions::default()
        };
        tidemark_sample::traffic(
            &stage.url("source"),
            &options,
            tokio_util::sync::CancellationToken::new(),
        )
        .await?;
        let runs = stage.sync_local(&["--all"]).await?;
        let sum = |field: &str| {
            runs.as_array()
                .unwrap()
                .iter()
                .map(|run| run["records"][field].as_i64().unwrap())
                .sum::<i64>()
        };
        ensure!(
            sum("inserted") > 0 && sum("updated") > 0 && sum("deleted") > 0,
            "{runs:#}"
        );
        ensure!(
            sum("extracted")
                == sum("inserted") + sum("updated") + sum("unchanged") + sum("stale") + sum("rejected"),
            "{runs:#}"
        );
        stage.assert_equal(&tenants).await
    })
    .await;
}

/// Trap 12.
#[tokio::test]
async fn a_conversation_that_vanishes_is_marked_deleted_and_comes_back() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 11).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.source.execute("CREATE TABLE kept AS SELECT * FROM conversations WHERE id = 17").await?;
        stage.source.execute("DELETE FROM conversations WHERE id = 17").await?;
        let gone = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(gone["records"]["deleted"] == 1 && gone["signals"]["membership"] == 1, "{gone:#}");
        stage.until("SELECT source_deleted_at IS NOT NULL FROM conversations_analytics WHERE conversation_id = 17").await?;

        stage.source.execute("INSERT INTO conversations SELECT * FROM kept").await?;
        let back = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(back["records"]["updated"] == 1 && back["records"]["deleted"] == 0, "{back:#}");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn many_conversations_gone_at_once_stop_the_run_until_it_is_allowed() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 2).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id <= 60")
            .await?;
        for args in [["--tenant", "1"].as_slice(), &["--tenant", "1", "--full"]] {
            let refused = stage
                .tidemark(&[&["sync", "--local", "--json"], args].concat())
                .await?;
            ensure!(
                refused.code == 1 && refused.json()["status"] == "failed",
                "{refused:?}"
            );
            ensure!(
                refused.json()["error"]
                    .as_str()
                    .unwrap()
                    .contains("--allow-mass-delete"),
                "{refused:?}"
            );
        }
        stage
            .until("SELECT count(source_deleted_at) = 0 FROM conversations_analytics")
            .await?;
        let allowed = stage
            .sync_local(&["--tenant", "1", "--allow-mass-delete"])
            .await?;
        ensure!(allowed["records"]["deleted"] == 60, "{allowed:#}");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn rows_committed_after_the_plan_are_not_passed_by_the_watermark() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 4).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let mut writer = stage.source.begin().await?;
        let written: chrono::DateTime<chrono::Utc> = sqlx::query_scalar(
            "UPDATE conversations SET updated_at = clock_timestamp() AT TIME ZONE 'UTC', priority = 3 WHERE id = 5 \
             RETURNING updated_at AT TIME ZONE 'UTC'",
        )
        .fetch_one(&mut *writer)
        .await?;
        // syncs go on while the transaction is open; the watermark must not pass its write
        for _ in 0..2 {
            stage.sync_local(&["--tenant", "1"]).await?;
            ensure!(watermark(&stage, 1).await?.unwrap() < written, "the watermark passed an open write");
        }
        writer.commit().await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(watermark(&stage, 1).await?.unwrap() > written, "the fence did not move on");
        stage.until("SELECT priority = 3 FROM conversations_analytics WHERE conversation_id = 5").await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_local_sync_goes_on_with_a_run_that_another_process_has_planned() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 5).await?;
        let producer = stage.start(&["producer"])?;
        let run = stage.ask_full("20").await?;
        stage
            .until("SELECT count(*) = 3 FROM etl_chunk WHERE published_at IS NOT NULL")
            .await?;
        producer.stop().await?;
        // no polling: work that is already there has to be found at once
        let args = [
            "sync",
            "--tenant",
            "1",
            "--full",
            "--chunk-size",
            "20",
            "--local",
            "--json",
        ];
        let local = stage
            .tidemark_with(&args, &[("TIDEMARK_PRODUCER_TICK", "1day")])
            .await?;
        ensure!(local.code == 0, "{local:?}");
        let local = local.json();
        let went_on = local["run_id"].to_string();
        ensure!(went_on == run && local["records"]["inserted"] == 60, "{local:#}");
        stage.assert_equal(&[1]).await
    })
    .await;
}
