//! Servers that are away for a while: a fleet waits for them and gives up nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor};

use crate::proxy::Proxy;
use crate::servers::Server;
use crate::stage::{Servers, Stage, on_servers, on_stage};

/// Waits until a run ends, which must be with success.
async fn ends_well(stage: &Stage, run: &str) -> Result<()> {
    stage.end_back_offs().await?;
    let ended = stage.tidemark(&["run", "watch", run, "--json"]).await?;
    ensure!(ended.code == 0, "{ended:?}");
    ensure!(ended.json()["chunks"]["dead"] == 0, "{ended:?}");
    stage.assert_equal(&[1]).await
}

#[tokio::test]
async fn a_source_that_is_away_for_longer_than_any_number_of_attempts_kills_no_chunk() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 71).await?;
        let wire = Proxy::before(&stage.url("source")).await?;
        let url = wire.url(&stage.url("source"))?;
        let through = [("TIDEMARK_SOURCE_URL", url.as_str())];
        let up = stage.start_with(&["up"], &through)?;
        let run = stage.ask_full("10").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'done') >= 3 FROM etl_chunk")
            .await?;
        wire.refuse(true);
        wire.cut();
        stage.until_attempted_often().await?;
        wire.refuse(false);
        ends_well(&stage, &run).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_asked_for_while_the_source_is_away_is_planned_when_it_is_back() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 73).await?;
        let wire = Proxy::before(&stage.url("source")).await?;
        wire.refuse(true);
        let url = wire.url(&stage.url("source"))?;
        let up = stage.start_with(&["up"], &[("TIDEMARK_SOURCE_URL", url.as_str())])?;
        stage
            .target
            .execute("UPDATE tenants SET sync_interval = interval '300 milliseconds'")
            .await?;
        let run = stage.ask_full("10").await?;
        stage
            .until("SELECT bool_or(error_message LIKE '%source `main`%') FROM etl_control")
            .await?;
        wire.refuse(false);
        ends_well(&stage, &run).await?;
        // the schedule does not count it as a failure of the tenant either
        wire.refuse(true);
        wire.cut();
        stage
            .target
            .execute("UPDATE etl_watermark SET next_due_at = now()")
            .await?;
        stage
            .until("SELECT bool_and(next_due_at > now()) FROM etl_watermark")
            .await?;
        wire.refuse(false);
        stage
            .target
            .execute("UPDATE etl_watermark SET next_due_at = now(), checked_at = NULL")
            .await?;
        stage
            .until("SELECT bool_and(checked_at IS NOT NULL) FROM etl_watermark")
            .await?;
        let failed: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE status = 'failed'")
            .fetch_one(&stage.target)
            .await?;
        ensure!(failed == 0, "{failed} runs failed because the source was away");
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_ledger_that_is_away_for_longer_than_a_lease_blames_no_chunk() {
    let ledger = Server::postgres().await.expect("a server can be started");
    let servers = Servers {
        target: ledger.url().expect("it has a URL"),
        ..Servers::shared()
    };
    let ledger = &ledger;
    on_servers(servers, |stage| async move {
        stage.sample(300, 1, 79).await?;
        // one lost lease is enough to kill a chunk
        let strict = [("TIDEMARK_PRODUCER_MAX_LOST", "1")];
        let mut fleet = stage.fleet_with(&["producer", "worker", "worker", "finalizer"], &strict)?;
        // running chunks wait here in the middle of their extraction
        let holder = stage.block_readers("messages").await?;
        let run = stage.ask_full("20").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'running') >= 2 FROM etl_chunk")
            .await?;
        ledger.stop().await?;
        // The outage itself must be longer than the lease of 3 s. There is no state to wait for: the ledger is away.
        tokio::time::sleep(Duration::from_secs(5)).await;
        fleet.add("worker")?;
        ledger.start().await?;
        holder.close().await?;
        ends_well(&stage, &run).await?;
        stage
            .until("SELECT max(lost_count) = 0 AND max(failure_count) <= 1 FROM etl_chunk")
            .await?;
        fleet.stop().await
    })
    .await;
}

/// Trap 11.
#[tokio::test]
async fn a_broker_that_is_away_at_the_start_then_in_the_middle_and_comes_back_with_nothing_costs_only_delay()
{
    let broker = Server::rabbitmq().await.expect("a server can be started");
    let servers = Servers {
        amqp: broker.url().expect("it has a URL"),
        ..Servers::shared()
    };
    let broker = &broker;
    on_servers(servers, |stage| async move {
        stage.sample(400, 1, 83).await?;
        broker.ctl(&["stop_app"]).await?;
        let quick = [("TIDEMARK_PRODUCER_REQUEUE_AFTER", "2s")];
        let fleet = stage.fleet_with(&["producer", "worker", "worker", "finalizer"], &quick)?;
        let run = stage.ask_full("20").await?;
        // the run is planned, and its chunks wait for a broker
        stage.until("SELECT count(*) > 0 FROM etl_chunk").await?;
        broker.ctl(&["start_app"]).await?;
        stage.until("SELECT count(*) FILTER (WHERE status = 'done') >= 2 FROM etl_chunk").await?;
        ends_well(&stage, &run).await?;

        // the queues hold messages, and no worker is free for them
        let holder = stage.block_readers("messages").await?;
        let run = stage.ask_full("20").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'running') >= 2 AND count(*) FILTER (WHERE published_at IS NOT NULL) > 4 \
                    FROM etl_chunk WHERE run_id = (SELECT max(id) FROM etl_control)")
            .await?;
        for verb in ["stop_app", "reset", "start_app"] {
            broker.ctl(&[verb]).await?;
        }
        holder.close().await?;
        ends_well(&stage, &run).await?;
        stage.until_consumed("chunks.live", 2).await?;
        stage.until_consumed("chunks.bulk", 2).await?;
        stage.until_consumed("events", 1).await?;

        // the broker closes every connection, as an administrator would
        broker.ctl(&["close_all_connections", "maintenance"]).await?;
        let run = stage.ask_full("20").await?;
        ends_well(&stage, &run).await?;
        stage.until_consumed("chunks.bulk", 2).await?;
        fleet.stop().await
    })
    .await;
}

/// Trap 14.
#[tokio::test]
async fn a_broker_behind_a_dead_wire_is_given_up_by_its_heartbeat_and_found_again() {
    let shared = Servers::shared();
    let wire = Proxy::before(&shared.amqp).await.expect("a proxy can be made");
    let url = format!("{}?heartbeat=1", wire.url(&shared.amqp).expect("it has a URL"));
    let wire = &wire;
    on_stage(|stage| async move {
        stage.sample(300, 1, 89).await?;
        let settings = [
            ("TIDEMARK_AMQP_URL", url.as_str()),
            ("TIDEMARK_PRODUCER_REQUEUE_AFTER", "2s"),
        ];
        let fleet = stage.fleet_with(&["producer", "worker", "worker", "finalizer"], &settings)?;
        stage.until_consumed("chunks.bulk", 2).await?;
        let run = stage.ask_full("10").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'done') >= 3 FROM etl_chunk")
            .await?;
        wire.strand();
        ends_well(&stage, &run).await?;
        stage.until_consumed("chunks.bulk", 2).await?;
        stage.until_consumed("events", 1).await?;

        // deleting a queue cancels its consumers, and only they create it again
        stage.delete_queue("chunks.bulk").await?;
        stage.until_consumed("chunks.bulk", 2).await?;
        let run = stage.ask_full("10").await?;
        ends_well(&stage, &run).await?;
        fleet.stop().await
    })
    .await;
}
