//! What operators do to runs and chunks while work is under way.

mod tenants;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

/// Runs a command that must succeed, and returns its JSON.
async fn done(stage: &Stage, args: &[&str]) -> Result<Value> {
    let answer = stage.tidemark(&[args, &["--json"]].concat()).await?;
    ensure!(answer.code == 0, "{args:?}: {answer:?}");
    Ok(answer.json())
}

fn run_id(run: &Value) -> String {
    run["run_id"].to_string()
}

/// Runs a command that must be refused as a usage error with this text.
async fn refused(stage: &Stage, args: &[&str], word: &str) -> Result<()> {
    let answer = stage.tidemark(args).await?;
    ensure!(
        answer.code == 64 && answer.stderr.contains(word) && answer.stdout.is_empty(),
        "{args:?}: {answer:?}"
    );
    Ok(())
}

async fn count(stage: &Stage, query: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(&stage.target).await?)
}

#[tokio::test]
async fn a_retry_of_a_request_that_nobody_can_read_says_so() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 70).await?;
        for (request, word) in [
            (r#"{"colour": "blue"}"#, "unknown field `colour`"),
            (r#"{"chunk_size": 0}"#, "chunk_size 0, which has to be 1 or more"),
            (r#"{"selection": {"kind": "moon"}}"#, "unknown variant `moon`"),
        ] {
            let run: i64 = sqlx::query_scalar(
                "INSERT INTO etl_control (tenant_id, type, status, triggered_by, request, finished_at, etl_version) \
                 VALUES (1, 'resync', 'failed', 'a hand', $1::jsonb, now(), '0') RETURNING id",
            )
            .bind(request)
            .fetch_one(&stage.target)
            .await?;
            let run = run.to_string();
            refused(&stage, &["run", "retry", &run], "ended before it had chunks, and the run's request").await?;
            refused(&stage, &["run", "retry", &run], word).await?;
        }
        Ok(())
    })
    .await;
}

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Cancels a run whose chunks are being loaded, and asserts that nothing of it is written.
async fn cancel_under_way(stage: &Stage) -> Result<String> {
    // loads wait for this lock, so chunks are certainly running
    let mut lock = stage.target.begin().await?;
    lock.execute("LOCK TABLE conversations_analytics IN EXCLUSIVE MODE")
        .await?;
    let run = run_id(&done(stage, &["sync", "--tenant", "1", "--full", "--chunk-size", "10"]).await?);
    stage.until(&format!("SELECT ({WAITING}) >= 1")).await?;

    let cancelled = done(stage, &["run", "cancel", &run, "--reason", "wrong day"]).await?;
    let begun = Instant::now();
    ensure!(cancelled["status"] == "cancelled", "{cancelled:#}");
    let error = cancelled["error"].as_str().unwrap_or_default();
    ensure!(error.ends_with("wrong day"), "{cancelled:#}");
    let open = count(
        stage,
        "SELECT count(*) FROM etl_chunk WHERE status <> 'cancelled'",
    )
    .await?;
    ensure!(open == 0, "{open} chunks are not cancelled");
    // the lock is still there: only a dropped load stops waiting for it
    stage.until(&format!("SELECT ({WAITING}) = 0")).await?;
    // a lease of 3 s is renewed every second; the rest is for a busy machine
    ensure!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    lock.rollback().await?;
    let rows = count(stage, "SELECT count(*) FROM conversations_analytics").await?;
    ensure!(rows == 0, "{rows} rows of a cancelled run");
    ensure!(count(stage, "SELECT count(*) FROM etl_watermark_audit").await? == 0);
    Ok(run)
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once_its_workers_drop_it_and_a_retry_finishes_it() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 71).await?;
        let up = stage.start(&["up", "--workers", "2"])?;
        stage.until_started(1).await?;
        let run = cancel_under_way(&stage).await?;

        let again = done(&stage, &["run", "retry", &run]).await?;
        ensure!(run_id(&again) == run, "{again:#}");
        let ended = done(&stage, &["run", "watch", &run]).await?;
        ensure!(
            ended["status"] == "success" && ended["records"]["inserted"] == 300,
            "{ended:#}"
        );
        ensure!(count(&stage, "SELECT count(*) FROM etl_watermark_audit").await? == 1);
        stage.assert_equal(&[1]).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_run_that_has_ended_or_does_not_exist_is_neither_cancelled_nor_retried() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 70).await?;
        let run = run_id(&done(&stage, &["sync", "--tenant", "1"]).await?);
        done(&stage, &["run", "cancel", &run]).await?;
        refused(&stage, &["run", "cancel", &run], "cancelled").await?;
        let run = run_id(&stage.sync_local(&["--tenant", "1"]).await?);
        refused(&stage, &["run", "retry", &run], "no dead or cancelled chunk").await?;
        refused(&stage, &["run", "cancel", &run], "success").await?;
        refused(&stage, &["run", "cancel", "99"], "there is no run 99").await
    })
    .await;
}

#[tokio::test]
async fn a_run_that_never_had_chunks_is_cancelled_and_asked_for_anew() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 72).await?;
        let first = run_id(&done(&stage, &["sync", "--tenant", "1"]).await?);
        let cancelled = done(&stage, &["run", "cancel", &first]).await?;
        ensure!(cancelled["status"] == "cancelled", "{cancelled:#}");
        // the cancelled run does not come back with the next tick
        ensure!(
            count(
                &stage,
                "SELECT count(*) FROM etl_watermark WHERE next_due_at > now() + interval '4 minutes'"
            )
            .await?
                == 1
        );
        let second = done(&stage, &["run", "retry", &first]).await?;
        ensure!(run_id(&second) != first && second["type"] == "full", "{second:#}");
        let local = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(local["run_id"] == second["run_id"], "{local:#}");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn dead_chunks_are_listed_and_retried_alone_or_with_their_run() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 73).await?;
        let mut fleet = stage.fleet(&["producer"])?;
        let run = run_id(&done(&stage, &["sync", "--tenant", "1", "--chunk-size", "20"]).await?);
        stage
            .until("SELECT count(*) = 3 FROM etl_chunk WHERE published_at IS NOT NULL")
            .await?;
        stage
            .source
            .execute("ALTER TABLE messages RENAME COLUMN content TO mislaid")
            .await?;
        fleet.add("worker --concurrency 1")?;
        fleet.add("finalizer")?;
        stage
            .until("SELECT bool_and(status = 'failed') FROM etl_control")
            .await?;
        stage
            .source
            .execute("ALTER TABLE messages RENAME COLUMN mislaid TO content")
            .await?;

        let dead = done(&stage, &["chunk", "list", "--status", "dead", "--tenant", "1"]).await?;
        ensure!(dead.as_array().unwrap().len() == 1, "{dead:#}");
        ensure!(
            dead[0]["error"]
                .as_str()
                .unwrap()
                .contains("column messages.content"),
            "{dead:#}"
        );
        let all = done(&stage, &["chunk", "list", "--run", &run]).await?;
        ensure!(all.as_array().unwrap().len() == 3, "{all:#}");
        refused(
            &stage,
            &["chunk", "list", "--status", "lost"],
            "pending, queued, running",
        )
        .await?;

        let chunk = format!("{run}/{}", dead[0]["seq"]);
        let reopened = stage.tidemark(&["chunk", "retry", &chunk, "--json"]).await?;
        ensure!(
            reopened.code == 0 && reopened.stderr.contains("2 others stay"),
            "{reopened:?}"
        );
        stage
            .until("SELECT bool_and(status = 'failed' AND chunks_done = 1) FROM etl_control")
            .await?;
        refused(&stage, &["chunk", "retry", &chunk], "neither dead nor cancelled").await?;
        refused(&stage, &["chunk", "retry", "7"], "such as 18/3").await?;

        done(&stage, &["run", "retry", &run]).await?;
        let ended = done(&stage, &["run", "watch", &run]).await?;
        ensure!(
            ended["status"] == "success" && ended["records"]["inserted"] == 60,
            "{ended:#}"
        );
        ensure!(count(&stage, "SELECT count(*) FROM etl_watermark_audit").await? == 1);
        stage.assert_equal(&[1]).await?;
        fleet.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_chunk_that_fails_keeps_its_place_until_the_failure_is_written() {
    on_stage(|stage| async move {
        stage.sample(150, 2, 78).await?;
        stage.sync_local(&["--tenant", "2"]).await?;
        stage
            .source
            .execute("UPDATE conversations SET updated_at = now() WHERE account_id = 2")
            .await?;
        let mut fleet = stage.fleet(&["producer"])?;
        done(&stage, &["sync", "--tenant", "1", "--chunk-size", "10"]).await?;
        done(&stage, &["sync", "--tenant", "2"]).await?;
        stage
            .until("SELECT count(DISTINCT lane) = 2 FROM etl_chunk WHERE published_at IS NOT NULL AND status = 'queued'")
            .await?;
        stage
            .source
            .execute("ALTER TABLE messages RENAME COLUMN content TO mislaid")
            .await?;
        // in this ledger, the update that makes a chunk dead waits
        stage
            .target
            .execute(
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     PERFORM pg_advisory_xact_lock(78); RETURN NEW; END $$; \
                 CREATE TRIGGER wait BEFORE UPDATE ON etl_chunk FOR EACH ROW WHEN (NEW.status = 'dead') \
                     EXECUTE FUNCTION wait()",
            )
            .await?;
        let mut gate = stage.target.begin().await?;
        gate.execute("SELECT pg_advisory_xact_lock(78)").await?;
        fleet.add("worker --concurrency 1")?;
        // one chunk has the place of the bulk lane, the other that of the live lane
        stage
            .until(
                "SELECT count(*) = 2 FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                 WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = 78 AND NOT l.granted",
            )
            .await?;
        let begun = "SELECT count(*) FROM etl_chunk WHERE started_at > (SELECT max(finished_at) FROM etl_control)";
        ensure!(count(&stage, begun).await? == 2);
        gate.commit().await?;
        stage
            .until("SELECT bool_and(status IN ('dead', 'cancelled')) FROM etl_chunk WHERE tenant_id = 1")
            .await?;
        ensure!(count(&stage, begun).await? == 2);
        fleet.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_retry_beside_a_later_run_is_refused_and_after_it_leaves_the_watermark() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 74).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute("UPDATE conversations SET priority = 3, updated_at = now() AT TIME ZONE 'UTC'")
            .await?;
        let producer = stage.start(&["producer"])?;
        let old = run_id(&done(&stage, &["sync", "--tenant", "1"]).await?);
        stage
            .until("SELECT count(*) = 1 FROM etl_chunk WHERE status = 'queued'")
            .await?;
        producer.stop().await?;
        done(&stage, &["run", "cancel", &old]).await?;

        done(&stage, &["sync", "--tenant", "1"]).await?;
        refused(&stage, &["run", "retry", &old], "another run of the kind open").await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let moved = count(&stage, "SELECT count(*) FROM etl_watermark_audit").await?;
        done(&stage, &["run", "retry", &old]).await?;
        let ended = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run_id(&ended) == old && ended["status"] == "success", "{ended:#}");
        ensure!(
            count(&stage, "SELECT count(*) FROM etl_watermark_audit").await? == moved,
            "a run moved a watermark that was elsewhere"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}
