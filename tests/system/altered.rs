//! A target that somebody has altered: planning names the column, and no run waits for ever.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

async fn sync_and_alter(stage: &Stage, seed: u64) -> Result<()> {
    stage.sample(50, 1, seed).await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    let altered = "DROP VIEW conversations_analytics_live, messages_live, reporting_events_live CASCADE; \
                   ALTER TABLE conversations_analytics ALTER COLUMN conversation_id TYPE numeric";
    stage.target.execute(altered).await?;
    Ok(())
}

const COLUMN: &str = "column conversation_id of conversations_analytics has the type numeric and not bigint";
const REMEDY: &str = "ALTER TABLE conversations_analytics ALTER COLUMN conversation_id TYPE bigint";

#[tokio::test]
async fn a_requested_run_that_cannot_read_an_altered_target_fails_and_names_the_column() {
    on_stage(|stage| async move {
        sync_and_alter(&stage, 140).await?;
        let ended = stage
            .tidemark(&["sync", "--local", "--tenant", "1", "--json"])
            .await?;
        ensure!(ended.code == 1, "{ended:?}");
        let run = ended.json();
        let error = run["error"].as_str().unwrap_or_default();
        ensure!(
            run["status"] == "failed" && error.contains(COLUMN) && error.contains(REMEDY),
            "{run:#}"
        );

        let plan = stage.tidemark(&["plan", "--tenant", "1"]).await?;
        ensure!(plan.code == 78 && plan.stderr.contains(COLUMN), "{plan:?}");

        stage.target.execute(REMEDY).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_scheduled_run_that_cannot_read_an_altered_target_fails_and_names_the_column() {
    on_stage(|stage| async move {
        sync_and_alter(&stage, 141).await?;
        stage
            .target
            .execute("UPDATE etl_watermark SET next_due_at = now()")
            .await?;
        let producer = stage.start(&["producer"])?;
        stage
            .until("SELECT EXISTS (SELECT FROM etl_control WHERE status = 'failed')")
            .await?;
        let error: String =
            sqlx::query_scalar("SELECT error_message FROM etl_control WHERE status = 'failed'")
                .fetch_one(&stage.target)
                .await?;
        ensure!(error.contains(COLUMN) && error.contains(REMEDY), "{error}");

        // the status shows the cause of the failures
        let status = stage.tidemark(&["status"]).await?;
        ensure!(
            status
                .stdout
                .contains("1 in a row: the target cannot be read: column conversation_id"),
            "{status:?}"
        );
        let status: Value = stage.tidemark(&["status", "--json"]).await?.json();
        ensure!(status.to_string().contains("has the type numeric"), "{status:#}");
        producer.stop().await
    })
    .await;
}
