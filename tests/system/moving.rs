//! Rows that move or vanish while the chunks of a run are read.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::Executor;

use crate::stage::{Stage, on_stage};
use crate::traps::assert_sound;

/// Ids of 1,000 conversations in one tenant's chunks of 100, by what happens to them.
const VANISH_EARLY: &str = "id <= 40";
const CHANGE: &str = "id BETWEEN 251 AND 400";
const VANISH_LATE: &str = "id BETWEEN 901 AND 910";

/// Runs a full sync whose only worker stops between chunks 3 and 4 while the source changes.
async fn full_run_interrupted(stage: &Stage) -> Result<Value> {
    stage
        .target
        .execute("CREATE VIEW open_chunk AS SELECT * FROM etl_chunk WHERE run_id = (SELECT max(id) FROM etl_control)")
        .await?;
    let mut fleet = stage.fleet(&["producer", "finalizer"])?;
    let asked = stage
        .tidemark(&["sync", "--tenant", "1", "--full", "--json", "--chunk-size", "100"])
        .await?;
    ensure!(asked.code == 0, "{asked:?}");
    stage
        .until("SELECT count(*) = 8 FROM open_chunk WHERE published_at IS NOT NULL")
        .await?;
    // the worker that claims the chunk waits for this lock
    let mut lock = stage.target.begin().await?;
    lock.execute("SELECT FROM open_chunk WHERE seq = 4 FOR UPDATE")
        .await?;
    fleet.add("worker --concurrency 1")?;
    stage
        .until(
            "SELECT (SELECT array_agg(seq ORDER BY seq) = '{1,2,3}' FROM open_chunk WHERE status = 'done') \
                AND EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                            AND wait_event_type = 'Lock' AND query LIKE '-- Claims a chunk%')",
        )
        .await?;
    for change in [
        format!("DELETE FROM conversations WHERE {VANISH_EARLY} OR {VANISH_LATE}"),
        format!(
            "UPDATE conversations SET priority = 3, updated_at = now() AT TIME ZONE 'UTC' WHERE {CHANGE}"
        ),
    ] {
        stage.source.execute(sqlx::AssertSqlSafe(change)).await?;
    }
    lock.rollback().await?;
    let ended = stage
        .tidemark(&["run", "watch", &asked.json()["run_id"].to_string(), "--json"])
        .await?;
    ensure!(ended.code == 0, "{ended:?}");
    fleet.stop().await?;
    Ok(ended.json())
}

/// Trap 3.
#[tokio::test]
async fn rows_that_move_or_vanish_while_chunks_are_read_cost_no_other_row() {
    on_stage(|stage| async move {
        stage.sample(1_000, 1, 97).await?;
        // a different value marks the rows that were read after the change
        stage.source.execute("UPDATE conversations SET priority = 1").await?;
        let full = full_run_interrupted(&stage).await?;
        ensure!(full["chunks"]["done"] == 10, "{full:#}");
        ensure!(full["records"]["inserted"] == 990 && full["records"]["extracted"] == 990, "{full:#}");
        // ranges read before the changes have the old rows, the others the new ones
        stage
            .until(
                "SELECT count(*) = 990 AND count(source_deleted_at) = 0 \
                    AND bool_and(conversation_id NOT BETWEEN 901 AND 910) \
                    AND bool_and((priority = 3) = (conversation_id BETWEEN 301 AND 400)) FROM conversations_analytics",
            )
            .await?;

        // the watermark is that of the plan, so the next run takes the changes since then
        let next = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(next["records"]["deleted"] == 40, "{next:#}");
        ensure!(next["records"]["updated"].as_i64() >= Some(50), "{next:#}");
        stage
            .until(
                "SELECT array_agg(conversation_id::integer ORDER BY conversation_id) FILTER (WHERE source_deleted_at IS NOT NULL) \
                      = ARRAY(SELECT generate_series(1, 40)) FROM conversations_analytics",
            )
            .await?;
        assert_sound(&stage, &next).await
    })
    .await;
}

/// Trap 3: the run has not yet read the range of the vanished rows.
#[tokio::test]
async fn a_full_run_marks_what_vanished_before_its_range_was_read() {
    on_stage(|stage| async move {
        stage.sample(1_000, 1, 101).await?;
        stage
            .sync_local(&["--tenant", "1", "--chunk-size", "100"])
            .await?;
        let full = full_run_interrupted(&stage).await?;
        ensure!(full["records"]["deleted"] == 10, "{full:#}");
        let next = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(next["records"]["deleted"] == 40, "{next:#}");
        assert_sound(&stage, &next).await
    })
    .await;
}
