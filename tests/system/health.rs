//! What processes report about their health, and whether it is true.

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor};
use tokio::net::TcpListener;

use crate::http::{Gate, address_of, get, until};
use crate::stage::{Stage, on_stage};

/// The tests' broker behind a gate that can be closed.
async fn gated_broker(stage: &Stage) -> Result<(Gate, String)> {
    let mut url = url::Url::parse(stage.amqp_url())?;
    let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
    let gate = Gate::to(&format!("{host}:{}", url.port().unwrap_or(5672))).await?;
    url.set_ip_host(gate.address.ip()).expect("amqp has a host");
    url.set_port(Some(gate.address.port())).expect("amqp has a port");
    Ok((gate, url.to_string()))
}

#[tokio::test]
async fn a_worker_without_a_broker_is_alive_and_not_ready() {
    on_stage(|stage| async move {
        let (_closed, amqp_url) = gated_broker(&stage).await?;
        let worker = stage.start_with(&["worker"], &[("TIDEMARK_AMQP_URL", &amqp_url)])?;
        let address = address_of(&stage, "worker").await?;

        let without = until(&address, "/readyz", |_| true).await?;
        ensure!(
            without.status == 503 && without.check("chunks.live") == Some(false),
            "{without:?}"
        );
        ensure!(without.check("database") == Some(true), "{without:?}");
        ensure!(
            get(&address, "/livez", "*/*").await?.status == 200,
            "its loops turn"
        );
        ensure!(
            get(&address, "/startupz", "*/*").await?.status == 200,
            "it has started"
        );
        worker.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_worker_is_ready_only_while_it_is_subscribed_to_both_lanes() {
    on_stage(|stage| async move {
        let (mut gate, amqp_url) = gated_broker(&stage).await?;
        let worker = stage.start_with(&["worker"], &[("TIDEMARK_AMQP_URL", &amqp_url)])?;
        let address = address_of(&stage, "worker").await?;
        until(&address, "/readyz", |response| response.status == 503).await?;

        gate.open().await?;
        let with = until(&address, "/readyz", |response| response.status == 200).await?;
        ensure!(
            with.check("chunks.live") == Some(true) && with.check("chunks.bulk") == Some(true),
            "{with:?}"
        );

        gate.close().await;
        until(&address, "/readyz", |response| response.status == 503).await?;
        gate.open().await?;
        until(&address, "/readyz", |response| response.status == 200).await?;
        worker.stop().await
    })
    .await;
}

#[tokio::test]
async fn the_health_command_ends_with_what_the_process_answers() {
    on_stage(|stage| async move {
        let (mut gate, amqp_url) = gated_broker(&stage).await?;
        let worker = stage.start_with(&["worker"], &[("TIDEMARK_AMQP_URL", &amqp_url)])?;
        let address = address_of(&stage, "worker").await?;
        let url = format!("http://{address}/readyz");
        until(&address, "/readyz", |response| response.status == 503).await?;
        ensure!(
            stage.tidemark(&["health", &url]).await?.code == 1,
            "it is not ready"
        );

        gate.open().await?;
        until(&address, "/readyz", |response| response.status == 200).await?;
        let asked = stage.tidemark(&["health", &url]).await?;
        ensure!(asked.code == 0 && asked.json()["ok"] == true, "{asked:?}");

        worker.stop().await?;
        let gone = stage.tidemark(&["health", &url]).await?;
        ensure!(gone.code == 1, "nothing listens any more: {gone:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_producer_without_a_broker_is_ready_and_status_says_what_its_chunks_wait_for() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 3).await?;
        let (_closed, amqp_url) = gated_broker(&stage).await?;
        let producer = stage.start_with(&["producer"], &[("TIDEMARK_AMQP_URL", &amqp_url)])?;
        let address = address_of(&stage, "producer").await?;
        let ready = until(&address, "/readyz", |_| true).await?;
        ensure!(ready.status == 200, "{ready:?}");

        let asked = stage.tidemark(&["sync", "--tenant", "1"]).await?;
        ensure!(asked.code == 0, "{asked:?}");
        let failing = until(&address, "/readyz", |response| {
            response.check("publisher") == Some(false)
        })
        .await?;
        ensure!(failing.status == 200, "it plans all the same: {failing:?}");

        let held = async |by: &str| -> Result<()> {
            let status = stage.tidemark(&["status", "--json"]).await?.json();
            ensure!(status["tenants"][0]["held_by"] == by, "{status:#}");
            Ok(())
        };
        held("no worker").await?;
        let run = stage.tidemark(&["run", "show", "1", "--json"]).await?.json();
        ensure!(
            run["held_by"] == "no worker" && run["finished_at"].is_null(),
            "{run:#}"
        );
        let worker = stage.start_with(&["worker"], &[("TIDEMARK_AMQP_URL", &amqp_url)])?;
        stage
            .until("SELECT count(*) = 2 FROM etl_process WHERE doing = 'no broker'")
            .await?;
        held("no broker").await?;
        let text = stage.tidemark(&["status"]).await?.stdout;
        ensure!(text.contains("no broker") && text.contains(&address), "{text}");
        stage
            .target
            .execute("UPDATE tenants SET paused_at = now(), pause_reason = 'moving house'")
            .await?;
        held("paused: moving house").await?;
        for process in [producer, worker] {
            process.kill().await?;
        }
        held("paused: moving house").await
    })
    .await;
}

#[tokio::test]
async fn a_finalizer_on_a_database_of_another_version_is_not_ready() {
    on_stage(|stage| async move {
        let finalizer = stage.start(&["finalizer"])?;
        let address = address_of(&stage, "finalizer").await?;
        until(&address, "/readyz", |response| response.status == 200).await?;
        stage
            .target
            .execute(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99990101000000, 'of a newer build', true, '', 0)",
            )
            .await?;
        let newer = get(&address, "/readyz", "*/*").await?;
        ensure!(
            newer.status == 503 && newer.check("database") == Some(false),
            "{newer:?}"
        );
        ensure!(
            get(&address, "/livez", "*/*").await?.status == 200,
            "its loops turn all the same"
        );
        finalizer.kill().await
    })
    .await;
}

#[tokio::test]
async fn an_address_that_was_asked_for_and_is_taken_ends_the_process_with_what_to_do() {
    on_stage(|stage| async move {
        let taken = TcpListener::bind("127.0.0.1:0").await?;
        let address = taken.local_addr()?.to_string();
        let refused = stage
            .tidemark_with(&["finalizer"], &[("TIDEMARK_HTTP_LISTEN", &address)])
            .await?;
        ensure!(refused.code == 78, "{refused:?}");
        ensure!(
            refused.stderr.contains(&address) && refused.stderr.contains("http_listen"),
            "{refused:?}"
        );

        let quiet = stage.start_with(&["finalizer"], &[("TIDEMARK_HTTP_LISTEN", "off")])?;
        stage
            .until("SELECT count(*) = 1 FROM etl_process WHERE http_address IS NULL")
            .await?;
        quiet.kill().await
    })
    .await;
}

/// A supervisor must not stop a producer while it plans slowly.
#[tokio::test]
async fn a_producer_is_alive_while_a_plan_takes_long() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 3).await?;
        let holder = stage.block_readers("conversations").await?;
        stage
            .target
            .execute("UPDATE etl_watermark SET next_due_at = now()")
            .await?;
        let producer = stage.start(&["producer"])?;
        let address = address_of(&stage, "producer").await?;
        let plan_waits = "SELECT count(*) = 1 FROM pg_stat_activity \
                          WHERE datname = current_database() AND wait_event = 'advisory'";
        stage.until_source(plan_waits).await?;
        let waits_long = format!("{plan_waits} AND query_start < clock_timestamp() - interval '3 seconds'");
        stage.until_source(&waits_long).await?;
        // the loop goes round meanwhile
        let ago = |response: &crate::http::Response| -> Option<u64> {
            let report = response.json();
            let checks = report["checks"].as_array()?;
            let schedule = checks.iter().find(|check| check["name"] == "loop scheduler")?;
            let words: Vec<&str> = schedule["detail"].as_str()?.split(' ').collect();
            words.iter().find_map(|word| word.parse().ok())
        };
        let beaten = until(&address, "/livez", |response| {
            ago(response).is_some_and(|ago| ago <= 1)
        })
        .await?;
        ensure!(beaten.status == 200, "{beaten:?}");
        let waits: bool = sqlx::query_scalar(plan_waits).fetch_one(&stage.source).await?;
        ensure!(waits, "the plan has ended");
        holder.close().await?;
        producer.stop().await
    })
    .await;
}
