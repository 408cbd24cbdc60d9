//! The program of the release before this one, beside this one: `make upgrade-check` builds it and names it in
//! `TIDEMARK_TEST_PREVIOUS`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sqlx::AssertSqlSafe;

use crate::stage::{Stage, on_stage};

const TENANT: &[i32] = &[1];

#[expect(
    clippy::disallowed_methods,
    reason = "the verb names the program by the environment"
)]
fn previous() -> Result<PathBuf> {
    let path = std::env::var("TIDEMARK_TEST_PREVIOUS").context("run this by `make upgrade-check`")?;
    Ok(path.into())
}

/// A run with many chunks of which some are done.
async fn begin_a_run(stage: &Stage) -> Result<String> {
    let run = stage.ask_full("5").await?;
    stage
        .until(&format!(
            "SELECT count(*) > 5 FROM etl_chunk WHERE run_id = {run} AND status = 'done'"
        ))
        .await?;
    Ok(run)
}

async fn is_open(stage: &Stage, run: &str) -> Result<bool> {
    let open = format!("SELECT finished_at IS NULL FROM etl_control WHERE id = {run}");
    Ok(sqlx::query_scalar(AssertSqlSafe(open))
        .fetch_one(&stage.target)
        .await?)
}

async fn until_succeeded(stage: &Stage, run: &str) -> Result<()> {
    stage
        .until(&format!(
            "SELECT finished_at IS NOT NULL FROM etl_control WHERE id = {run}"
        ))
        .await?;
    let ended = format!("SELECT status::text FROM etl_control WHERE id = {run}");
    let status: String = sqlx::query_scalar(AssertSqlSafe(ended))
        .fetch_one(&stage.target)
        .await?;
    ensure!(status == "success", "run {run} ended as {status}");
    Ok(())
}

/// Changes many rows at the source, as time would.
async fn change(stage: &Stage) -> Result<()> {
    sqlx::query("UPDATE conversations SET status = (status + 1) % 4, updated_at = now() WHERE id % 3 = 0")
        .execute(&stage.source)
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_upgrade_and_a_rollback_with_a_run_open_lose_nothing() {
    on_stage(|stage| async move {
        const FLEET: [&str; 3] = ["producer", "worker --concurrency 1", "finalizer"];
        let previous = previous()?;
        let down = stage.tidemark(&["migrate", "--down-to", "0"]).await?;
        ensure!(down.code == 0, "{down:?}");
        stage.use_program(Some(previous.clone()));
        let made = stage.tidemark(&["migrate"]).await?;
        ensure!(made.code == 0, "{made:?}");
        let theirs: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&stage.target)
            .await?;
        stage.sample(3_000, 1, 231).await?;
        let old = stage.fleet(&FLEET)?;
        let run = begin_a_run(&stage).await?;

        // the upgrade, under the fleet of the release before
        stage.use_program(None);
        let migrated = stage.tidemark(&["migrate"]).await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        ensure!(
            is_open(&stage, &run).await?,
            "the run ended too early to show anything"
        );
        let new = stage.fleet(&FLEET)?;
        stage
            .until("SELECT count(*) FILTER (WHERE migration IS NULL) = 3 AND count(*) = 6 FROM etl_process")
            .await?;
        change(&stage).await?;
        until_succeeded(&stage, &run).await?;
        old.stop().await?;
        change(&stage).await?;
        let synced = stage.tidemark(&["sync", "--tenant", "1", "--wait"]).await?;
        ensure!(synced.code == 0, "{synced:?}");
        stage.assert_equal(TENANT).await?;

        // the rollback, with a run open
        let run = begin_a_run(&stage).await?;
        new.stop().await?;
        ensure!(
            is_open(&stage, &run).await?,
            "the run ended too early to show anything"
        );
        stage.use_program(Some(previous.clone()));
        let starts = stage.tidemark(&["status"]).await?;
        if starts.code != 0 {
            // a release that wants exactly its own migrations
            ensure!(
                starts.code == 78 && starts.stderr.contains("newer tidemark"),
                "{starts:?}"
            );
            stage.use_program(None);
            let down = stage
                .tidemark(&["migrate", "--down-to", &theirs.to_string()])
                .await?;
            ensure!(down.code == 0, "{down:?}");
            stage.use_program(Some(previous));
        }
        let old = stage.fleet(&FLEET)?;
        change(&stage).await?;
        until_succeeded(&stage, &run).await?;
        let synced = stage.tidemark(&["sync", "--tenant", "1", "--wait"]).await?;
        ensure!(synced.code == 0, "{synced:?}");
        old.stop().await?;
        stage.assert_equal(TENANT).await?;

        // and forward again
        stage.use_program(None);
        let migrated = stage.tidemark(&["migrate"]).await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        change(&stage).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.assert_equal(TENANT).await
    })
    .await;
}
