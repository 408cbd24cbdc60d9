//! Processes that are stopped, frozen and killed while they work.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{Connection, Executor};

use crate::proxy::Proxy;
use crate::stage::{Servers, Signal, Stage, on_stage};

async fn ask(stage: &Stage, tenant: &str, chunk_size: &str) -> Result<String> {
    let asked = stage
        .tidemark(&["sync", "--tenant", tenant, "--json", "--chunk-size", chunk_size])
        .await?;
    ensure!(asked.code == 0, "{asked:?}");
    Ok(asked.json()["run_id"].to_string())
}

async fn ends(stage: &Stage, run: &str, status: &str) -> Result<Value> {
    let ended = stage.tidemark(&["run", "watch", run, "--json"]).await?;
    ensure!(ended.json()["status"] == status, "{ended:?}");
    Ok(ended.json())
}

/// Trap 9.
#[tokio::test]
async fn a_frozen_worker_that_wakes_up_after_its_lease_writes_nothing() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 91).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.source.execute("UPDATE conversations SET priority = 1, updated_at = now() AT TIME ZONE 'UTC'").await?;
        let mut fleet = stage.fleet(&["producer", "finalizer"])?;
        let frozen = stage.start(&["worker"])?;
        stage.until_started(3).await?;
        // a row lock on the tenant stops the worker between its extraction and its merge
        let mut lock = stage.target.begin().await?;
        lock.execute("UPDATE tenants SET updated_at = now() WHERE id = 1").await?;
        let run = ask(&stage, "1", "100").await?;
        stage
            .until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                                   AND application_name LIKE 'tidemark worker%')")
            .await?;
        frozen.signal(Signal::STOP)?;
        lock.commit().await?;
        stage.source.execute("UPDATE conversations SET priority = 2, updated_at = now() AT TIME ZONE 'UTC'").await?;
        fleet.add("worker")?;
        let ended = ends(&stage, &run, "success").await?;
        ensure!(ended["records"]["updated"] == 50, "{ended:#}");
        frozen.signal(Signal::CONT)?;
        frozen.stop().await?;
        let newest: bool = sqlx::query_scalar("SELECT bool_and(priority = 2) FROM conversations_analytics")
            .fetch_one(&stage.target)
            .await?;
        ensure!(newest, "the frozen worker's older rows are there");
        let after = ends(&stage, &run, "success").await?;
        ensure!(after["records"] == ended["records"], "{ended:#} {after:#}");
        stage.assert_equal(&[1]).await?;
        fleet.stop().await
    })
    .await;
}

/// Trap 14.
#[tokio::test]
async fn a_worker_leaves_within_its_grace_period_and_takes_its_statements_off_a_locked_source() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 93).await?;
        let mut fleet = stage.fleet(&["producer", "finalizer"])?;
        let run = ask(&stage, "1", "10").await?;
        stage.until("SELECT count(*) = 5 FROM etl_chunk").await?;
        let holder = stage.block_readers("messages").await?;
        for (grace, hurried) in [("1s", false), ("10min", true)] {
            let worker = stage.start_with(&["worker"], &[("TIDEMARK_WORKER_SHUTDOWN_GRACE", grace)])?;
            stage
                .until_source(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                                    AND application_name LIKE 'tidemark run%' AND wait_event_type = 'Lock')",
                )
                .await?;
            let begun = Instant::now();
            worker.signal(Signal::TERM)?;
            if hurried {
                // pending signals of one kind count as one signal, so the first must have been handled
                stage
                    .until("SELECT count(*) = 0 FROM etl_process WHERE role = 'worker'")
                    .await?;
                worker.signal(Signal::TERM)?;
            }
            worker.finish().await?;
            // the source's statements would wait 10 s for the lock
            ensure!(
                begun.elapsed() < Duration::from_secs(8),
                "it took {:?}",
                begun.elapsed()
            );
            // a server that is busy ends a cancelled statement a moment later
            loop {
                let left: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND application_name LIKE 'tidemark run%' AND state <> 'idle'",
                )
                .fetch_one(&stage.source)
                .await?;
                if left == 0 {
                    break;
                }
                ensure!(
                    begun.elapsed() < Duration::from_secs(8),
                    "{left} statements go on at the source"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            stage
                .until("SELECT count(*) FILTER (WHERE status = 'running') = 0 FROM etl_chunk")
                .await?;
        }
        holder.close().await?;
        fleet.add("worker")?;
        ends(&stage, &run, "success").await?;
        stage
            .until("SELECT max(lost_count) = 0 AND max(failure_count) = 0 FROM etl_chunk")
            .await?;
        stage.assert_equal(&[1]).await?;
        fleet.stop().await
    })
    .await;
}

/// Trap 18.
#[tokio::test]
async fn workers_come_and_go_during_a_run_and_no_row_is_lost_or_counted_twice() {
    on_stage(|stage| async move {
        stage.sample(600, 1, 95).await?;
        let mut fleet = stage.fleet(&["producer", "finalizer"])?;
        let run = ask(&stage, "1", "5").await?;
        let mut worker = stage.start(&["worker"])?;
        for round in 1..=10 {
            let progress = format!(
                "SELECT count(*) FILTER (WHERE status = 'done') >= {} FROM etl_chunk",
                round * 8
            );
            stage.until(&progress).await?;
            let next = stage.start(&["worker"])?;
            let leaving = std::mem::replace(&mut worker, next);
            if round % 2 == 0 {
                leaving.kill().await?;
            } else {
                leaving.stop().await?;
            }
        }
        let ended = ends(&stage, &run, "success").await?;
        ensure!(
            ended["records"]["inserted"] == 600 && ended["records"]["extracted"] == 600,
            "{ended:#}"
        );
        stage.assert_equal(&[1]).await?;
        fleet.take_in(worker);
        fleet.stop().await
    })
    .await;
}

/// Trap 11.
#[tokio::test]
async fn a_chunk_that_kills_its_worker_every_time_ends_dead_and_the_fleet_goes_on() {
    on_stage(|stage| async move {
        stage.sample(200, 2, 97).await?;
        let settings = [
            ("TIDEMARK_WORKER_LEASE", "1s"),
            ("TIDEMARK_PRODUCER_MAX_LOST", "3"),
        ];
        let mut fleet = stage.fleet_with(&["producer", "finalizer"], &settings)?;
        // every worker that takes the chunk waits for this lock, and is killed there
        let mut lock = stage.target.begin().await?;
        lock.execute("UPDATE tenants SET updated_at = now() WHERE id = 1")
            .await?;
        let run = ask(&stage, "1", "10000").await?;
        for attempt in 1..=3 {
            let victim = stage.start_with(&["worker"], &settings)?;
            let taken = format!("SELECT bool_or(status = 'running' AND attempt = {attempt}) FROM etl_chunk");
            stage.until(&taken).await?;
            victim.kill().await?;
        }
        stage
            .until("SELECT bool_and(status = 'dead' AND lost_count = 3) FROM etl_chunk")
            .await?;
        let ended = ends(&stage, &run, "failed").await?;
        ensure!(
            ended["error"]
                .as_str()
                .is_some_and(|error| error.contains("vanished 3 times")),
            "{ended:#}"
        );
        lock.rollback().await?;
        fleet.add("worker")?;
        let other = ask(&stage, "2", "10").await?;
        ends(&stage, &other, "success").await?;
        stage.assert_equal(&[2]).await?;
        fleet.stop().await
    })
    .await;
}

/// Trap 11.
#[tokio::test]
async fn a_producer_killed_between_planning_and_publishing_leaves_nothing_behind() {
    let shared = Servers::shared();
    let wire = Proxy::before(&shared.amqp).await.expect("a proxy can be made");
    let url = wire.url(&shared.amqp).expect("it has a URL");
    // nothing arrives at the broker in time
    wire.delay(Duration::from_secs(3600));
    on_stage(|stage| async move {
        stage.sample(100, 1, 99).await?;
        let victim = stage.start_with(&["producer"], &[("TIDEMARK_AMQP_URL", url.as_str())])?;
        let run = ask(&stage, "1", "10").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'queued' AND published_at IS NULL) > 0 FROM etl_chunk")
            .await?;
        victim.kill().await?;
        let up = stage.start(&["up"])?;
        let ended = ends(&stage, &run, "success").await?;
        ensure!(ended["records"]["inserted"] == 100, "{ended:#}");
        stage.assert_equal(&[1]).await?;
        up.stop().await
    })
    .await;
}
