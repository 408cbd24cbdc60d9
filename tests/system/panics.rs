//! A panic ends its process with exit code 1 and names the task.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::Executor;
use tidemark_broker::{MemoryQueue, Outgoing, Queue};
use tidemark_runtime::config::{Settings, WorkerSettings};
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::job::{Job, Lane, TraceContext};
use tidemark_source::Sources;
use tidemark_worker::consume::Worker;

use crate::stage::{Stage, on_stage};

/// Stores a chunk size that the ledger's constraint normally prevents. The plan of changes panics on it.
async fn break_chunk_size(stage: &Stage) -> Result<()> {
    stage.sync_local(&["--tenant", "1"]).await?;
    stage
        .source
        .execute("UPDATE conversations SET status = 1 - status, updated_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE status < 2")
        .await?;
    stage
        .target
        .execute("UPDATE etl_watermark SET next_due_at = now(); ALTER TABLE tenants DROP CONSTRAINT tenants_chunk_size_range; UPDATE tenants SET chunk_size = -1")
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_loop_of_a_local_sync_ends_it_with_1_and_names_the_task() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 130).await?;
        break_chunk_size(&stage).await?;
        let ended = stage.tidemark(&["sync", "--local", "--tenant", "1"]).await?;
        ensure!(
            ended.code == 1 && ended.stderr.contains("task `requests` panicked"),
            "{ended:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_a_loop_of_a_process_ends_it_with_1_and_names_the_task() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 131).await?;
        break_chunk_size(&stage).await?;
        let ended = stage.tidemark(&["up"]).await?;
        ensure!(
            ended.code == 1 && ended.stderr.contains("task `scheduler` panicked"),
            "{ended:?}"
        );
        Ok(())
    })
    .await;
}

/// A lease without length, which no settings allow, makes the renewal panic.
#[tokio::test]
async fn a_panic_in_the_renewal_of_a_lease_fails_the_attempt_and_stops_the_worker() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 132).await?;
        let producer = stage.start(&["producer"])?;
        let asked = stage.tidemark(&["sync", "--tenant", "1", "--json"]).await?;
        let run = asked.json()["run_id"].as_i64().context("a run")?;
        stage
            .until(
                "SELECT EXISTS (SELECT FROM etl_chunk WHERE status = 'queued' AND published_at IS NOT NULL)",
            )
            .await?;
        producer.stop().await?;

        let url = stage.url("source");
        let settings =
            Settings::load_with(None, |name| (name == "TIDEMARK_SOURCE_URL").then(|| url.clone()))?;
        let queue = Arc::new(MemoryQueue::new());
        let seq: i32 = sqlx::query_scalar("SELECT min(seq) FROM etl_chunk")
            .fetch_one(&stage.target)
            .await?;
        let job = Job::new(
            ChunkId {
                run_id: RunId(run),
                seq,
            },
            TenantId(1),
            0,
        );
        queue
            .publish_jobs(&[Outgoing {
                lane: Lane::Bulk,
                job,
                context: TraceContext::default(),
            }])
            .await?;
        let lifecycle = Lifecycle::new();
        let worker = Worker::new(
            stage.db(),
            queue,
            Arc::new(Sources::new(&settings, "worker")?),
            "panics".to_owned(),
            WorkerSettings {
                lease: Duration::ZERO,
                ..WorkerSettings::default()
            },
            None,
            lifecycle.clone(),
        );
        lifecycle.spawn("worker", worker.run());
        lifecycle.finished(Duration::from_secs(30)).await;

        let failure = lifecycle
            .failure()
            .context("the worker does not stop")?
            .to_string();
        ensure!(failure.contains(&format!("chunk {run}/{seq}")), "{failure}");
        let (failures, error): (i32, String) =
            sqlx::query_as("SELECT failure_count, error FROM etl_chunk WHERE attempt = 1")
                .fetch_one(&stage.target)
                .await?;
        ensure!(failures == 1 && error.contains("panicked"), "{failures}: {error}");
        Ok(())
    })
    .await;
}
