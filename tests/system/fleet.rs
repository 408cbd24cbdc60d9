//! Syncs through RabbitMQ, with a process for every role.

use anyhow::{Result, ensure};
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

async fn traffic(stage: &Stage, changes: u64, seed: u64) -> Result<()> {
    let options = tidemark_sample::TrafficOptions {
        rate_per_second: 0.0,
        count: Some(changes),
        seed,
        ..tidemark_sample::TrafficOptions::default()
    };
    tidemark_sample::traffic(
        &stage.url("source"),
        &options,
        tokio_util::sync::CancellationToken::new(),
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn one_process_with_all_roles_syncs_every_tenant_and_then_only_what_changed() {
    on_stage(|stage| async move {
        let tenants = stage.sample(400, 3, 31).await?;
        let up = stage.start(&["up", "--workers", "3"])?;
        let first = stage
            .tidemark(&["sync", "--all", "--wait", "--json", "--chunk-size", "40"])
            .await?;
        ensure!(first.code == 0, "{first:?}");
        let inserted: i64 = first
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["records"]["inserted"].as_i64().unwrap())
            .sum();
        let expected: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations")
            .fetch_one(&stage.source)
            .await?;
        ensure!(inserted == expected, "{inserted} of {expected}");
        stage.assert_equal(&tenants).await?;

        let idle = stage
            .tidemark(&["sync", "--tenant", "1", "--wait", "--json"])
            .await?;
        ensure!(
            idle.code == 0 && idle.json()["records"]["inserted"] == 0,
            "{idle:?}"
        );
        ensure!(idle.json()["records"]["updated"] == 0, "{idle:?}");

        traffic(&stage, 200, 9).await?;
        let second = stage.tidemark(&["sync", "--all", "--wait", "--json"]).await?;
        ensure!(second.code == 0, "{second:?}");
        stage.assert_equal(&tenants).await?;
        up.stop().await?;
        stage.until("SELECT count(*) = 0 FROM etl_process").await
    })
    .await;
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_full_sync_costs_a_lease_and_no_row() {
    on_stage(|stage| async move {
        stage.sample(600, 1, 13).await?;
        let mut fleet = stage.fleet(&["producer", "finalizer"])?;
        let victim = stage.start(&["worker", "--concurrency", "2"])?;
        let asked = stage
            .tidemark(&["sync", "--tenant", "1", "--json", "--chunk-size", "10"])
            .await?;
        ensure!(asked.code == 0, "{asked:?}");
        let run = asked.json()["run_id"].to_string();
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'done') >= 3 FROM etl_chunk")
            .await?;
        // a row lock on the tenant keeps running chunks from completing, so the kill certainly hits them
        let mut lock = stage.target.begin().await?;
        lock.execute("UPDATE tenants SET updated_at = now() WHERE id = 1")
            .await?;
        stage
            .until("SELECT count(*) >= 1 FROM etl_chunk WHERE status = 'running' AND lease_until > now()")
            .await?;
        victim.kill().await?;
        lock.commit().await?;

        fleet.add("worker --concurrency 2")?;
        let ended = stage.tidemark(&["run", "watch", &run, "--json"]).await?;
        ensure!(
            ended.code == 0 && ended.json()["status"] == "success",
            "{ended:?}"
        );
        ensure!(
            ended.json()["chunks"]["done"] == ended.json()["chunks"]["total"],
            "{ended:?}"
        );
        ensure!(
            ended.json()["records"]["inserted"] == 600,
            "rows were counted twice or not at all: {ended:?}"
        );
        stage
            .until("SELECT bool_or(lost_count > 0) FROM etl_chunk")
            .await?;
        stage.assert_equal(&[1]).await?;
        fleet.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_purged_queue_costs_delay_and_no_row() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 17).await?;
        let producer = stage.start(&["producer"])?;
        let asked = stage
            .tidemark(&["sync", "--tenant", "1", "--json", "--chunk-size", "20"])
            .await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT count(*) = 8 FROM etl_chunk WHERE published_at IS NOT NULL")
            .await?;
        ensure!(stage.purge("chunks.bulk").await? == 8, "nothing was in the queue");
        producer.stop().await?;

        let up = stage.start_with(&["up"], &[("TIDEMARK_PRODUCER_REQUEUE_AFTER", "1s")])?;
        let ended = stage
            .tidemark(&["run", "watch", &asked.json()["run_id"].to_string(), "--json"])
            .await?;
        ensure!(ended.code == 0, "{ended:?}");
        stage.assert_equal(&[1]).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn the_scheduler_syncs_a_due_tenant_and_writes_no_run_when_nothing_changed() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 19).await?;
        stage.target.execute("UPDATE tenants SET sync_interval = interval '300 milliseconds'").await?;
        stage.target.execute("UPDATE etl_watermark SET next_due_at = now()").await?;
        let up = stage.start(&["up"])?;
        stage.until("SELECT count(*) = 1 FROM etl_control WHERE status = 'success' AND triggered_by = 'scheduler'").await?;
        // the idle moves of the watermark that follow are one audit row, which is updated
        stage.until("SELECT count(*) = 1 AND bool_and(moved_at > now() - interval '1 minute') \
                     FROM etl_watermark_audit WHERE actor = 'scheduler' AND reason = 'nothing changed'").await?;
        stage.until("SELECT new > old + interval '1 second' FROM etl_watermark_audit WHERE actor = 'scheduler'").await?;
        up.stop().await?;
        let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control").fetch_one(&stage.target).await?;
        ensure!(runs == 1, "{runs} runs for nothing");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_second_request_finds_the_open_run() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 5).await?;
        let first = stage.tidemark(&["sync", "--tenant", "1", "--json"]).await?;
        let second = stage
            .tidemark(&["sync", "--tenant", "1", "--full", "--json"])
            .await?;
        ensure!(first.code == 0 && second.code == 0, "{first:?} {second:?}");
        ensure!(
            first.json()["run_id"] == second.json()["run_id"],
            "{first:?} {second:?}"
        );
        ensure!(second.stderr.contains("open"), "it does not say so: {second:?}");
        ensure!(first.json()["status"] == "requested", "{first:?}");
        // a local sync executes the open run
        let local = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            local["run_id"] == first.json()["run_id"] && local["status"] == "success",
            "{local:#}"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_run_needs_no_polling_while_notices_arrive() {
    on_stage(|stage| async move {
        let tenants = stage.sample(300, 1, 41).await?;
        let set = ["tenant", "set", "--tenant", "1", "--max-in-flight", "2"];
        ensure!(stage.tidemark(&set).await?.code == 0, "the tenant has no limit");
        let never = [("TIDEMARK_PRODUCER_TICK", "1day")];
        let fleet = stage.fleet_with(&["producer", "finalizer", "worker"], &never)?;
        fleet.until_started().await?;
        // more chunks than there is room for at once
        let synced = stage
            .tidemark(&["sync", "--tenant", "1", "--wait", "--json", "--chunk-size", "30"])
            .await?;
        let run = synced.json();
        ensure!(
            synced.code == 0 && run["chunks"]["total"].as_i64() >= Some(10),
            "{synced:?}"
        );
        stage.assert_equal(&tenants).await?;
        fleet.stop().await
    })
    .await;
}
