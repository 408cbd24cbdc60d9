//! What `tidemark prune` deletes, and what it must keep.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

/// Inserts runs that ended so many days ago, each with one done chunk.
async fn old_runs(stage: &Stage, count: i32, status: &str, days: i32) -> Result<()> {
    sqlx::query(
        "WITH run AS (INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, finished_at) \
                      SELECT 1, 'resync', $2::etl_run_status, 'test', now(), now() - make_interval(days => $3) \
                      FROM generate_series(1, $1) RETURNING id, status, finished_at) \
         INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, finished_at) \
         SELECT id, 1, 1, 'bulk', '{\"kind\":\"keys\",\"ids\":[1]}', 1, \
                CASE status WHEN 'failed' THEN 'dead' ELSE 'done' END::etl_chunk_status, finished_at FROM run",
    )
    .bind(count)
    .bind(status)
    .bind(days)
    .execute(&stage.target)
    .await?;
    Ok(())
}

async fn prune(stage: &Stage, args: &[&str]) -> Result<Value> {
    let answer = stage.tidemark(&[&["prune", "--json"], args].concat()).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json())
}

async fn count(stage: &Stage, what: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(what).fetch_one(&stage.target).await?)
}

#[tokio::test]
async fn runs_go_by_age_and_how_they_ended_and_a_tenants_newest_stay() {
    on_stage(|stage| async move {
        stage.sample(30, 1, 5).await?;
        let first = stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .target
            .execute("UPDATE etl_control SET finished_at = now() - interval '2 years'")
            .await?;
        old_runs(&stage, 30, "success", 15).await?;
        old_runs(&stage, 3, "failed", 15).await?;
        old_runs(&stage, 2, "failed", 91).await?;
        old_runs(&stage, 20, "success", 15).await?;

        let dry = prune(&stage, &["--dry-run"]).await?;
        ensure!(count(&stage, "SELECT count(*) FROM etl_control").await? == 56);
        let pruned = prune(&stage, &[]).await?;
        ensure!(dry == pruned, "{dry:#} {pruned:#}");
        ensure!(pruned["runs"] == 32 && pruned["chunks"] == 32, "{pruned:#}");
        // the newest 20, the failed runs of 15 days ago, and the run that set the watermark
        ensure!(count(&stage, "SELECT count(*) FROM etl_control").await? == 24);
        let id = first["run_id"].as_i64().unwrap();
        let kept: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM etl_control WHERE id = $1)")
            .bind(id)
            .fetch_one(&stage.target)
            .await?;
        ensure!(kept, "run {id} has gone");
        ensure!(count(&stage, "SELECT count(*) FROM etl_chunk c WHERE NOT EXISTS (SELECT FROM etl_control WHERE id = c.run_id)").await? == 0);
        let again = prune(&stage, &[]).await?;
        ensure!(again["runs"] == 0 && again["chunks"] == 0, "{again:#}");
        let later = prune(&stage, &["--keep-failed", "10days"]).await?;
        ensure!(later["runs"] == 3, "{later:#}");

        stage.sync_local(&["--tenant", "1"]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn what_is_open_or_unresolved_stays_however_old_it_is() {
    on_stage(|stage| async move {
        stage.sample(30, 1, 6).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        // a cancelled run whose last chunk is still running, and a run that is not yet planned
        old_runs(&stage, 1, "cancelled", 400).await?;
        stage
            .target
            .execute(
                "UPDATE etl_chunk SET status = 'running', finished_at = NULL, lease_until = now() \
                 WHERE run_id = (SELECT max(id) FROM etl_control)",
            )
            .await?;
        stage
            .target
            .execute("INSERT INTO etl_control (tenant_id, type, triggered_by, requested_at) VALUES (1, 'full', 'test', now() - interval '400 days')")
            .await?;
        stage
            .target
            .execute(
                "INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, error, resolved_at) \
                 VALUES (1, 1, 1, 1, 'source', 'old and open', NULL), \
                        (1, 2, 1, 1, 'source', 'old and resolved', now() - interval '91 days'), \
                        (1, 3, 1, 1, 'source', 'just resolved', now())",
            )
            .await?;
        old_runs(&stage, 25, "success", 15).await?;
        let pruned = prune(&stage, &[]).await?;
        ensure!(pruned["runs"] == 5 && pruned["rejects"] == 1, "{pruned:#}");
        ensure!(count(&stage, "SELECT count(*) FROM etl_control WHERE finished_at IS NULL OR status = 'cancelled'").await? == 2);
        ensure!(count(&stage, "SELECT count(*) FROM etl_rejected_row").await? == 2);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn moves_of_watermarks_go_after_a_year_but_for_each_tenants_last() {
    on_stage(|stage| async move {
        stage.sample(30, 2, 7).await?;
        stage.sync_local(&["--all"]).await?;
        stage
            .target
            .execute(
                "INSERT INTO etl_watermark_audit (tenant_id, moved_at, old, new, actor, reason) \
                 SELECT 1 + i % 2, now() - interval '400 days', now(), now(), 'test', 'old' FROM generate_series(1, 25) i",
            )
            .await?;
        let before = count(&stage, "SELECT count(*) FROM etl_watermark_audit").await?;
        let dry = prune(&stage, &["--dry-run"]).await?;
        let pruned = prune(&stage, &[]).await?;
        ensure!(dry == pruned && pruned["moves"] == 23, "{dry:#} {pruned:#}");
        ensure!(count(&stage, "SELECT count(*) FROM etl_watermark_audit").await? == before - 23);
        let refused = stage.tidemark(&["prune", "--keep-success", "1h"]).await?;
        ensure!(refused.code == 64 && refused.stderr.contains("from 1day to"), "{refused:?}");
        Ok(())
    })
    .await;
}
