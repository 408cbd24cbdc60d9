//! Resyncs beside all other work, with the watermark unchanged; and the dry run.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

use crate::stage::{Stage, on_stage};

/// Makes every row of the target wrong, so that each row of a run counts as updated.
async fn spoil(stage: &Stage) -> Result<()> {
    stage
        .target
        .execute("UPDATE conversations_analytics SET status = 9, row_hash = decode(repeat('00', 16), 'hex')")
        .await?;
    Ok(())
}

async fn count(stage: &Stage, condition: &str) -> Result<i64> {
    let query = format!("SELECT count(*) FROM conversations WHERE {condition}");
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&stage.source)
        .await?)
}

async fn resync(stage: &Stage, part: &[&str]) -> Result<Value> {
    let answer = stage
        .tidemark(
            &[
                &[
                    "resync", "--tenant", "1", "--wait", "--json", "--reason", "a test",
                ],
                part,
            ]
            .concat(),
        )
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json())
}

#[tokio::test]
async fn every_selector_takes_its_part_in_the_bulk_lane_and_leaves_the_watermark() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 41).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let marked = "SELECT watermark::text FROM etl_watermark WHERE tenant_id = 1";
        let before: String = sqlx::query_scalar(marked).fetch_one(&stage.target).await?;
        let inbox: i32 = sqlx::query_scalar("SELECT inbox_id FROM conversations GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
            .fetch_one(&stage.source)
            .await?;
        let (from, to): (String, String) = sqlx::query_as(
            "SELECT to_char(min(created_at) + (max(created_at) - min(created_at)) / 3, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
                    to_char(min(created_at) + (max(created_at) - min(created_at)) / 2, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
             FROM conversations WHERE isfinite(created_at)",
        )
        .fetch_one(&stage.source)
        .await?;
        let within = |column: &str| format!("{column} BETWEEN '{from}' AND '{to}'");
        let in_time: Vec<String> = [
            "created_at",
            "updated_at",
            "last_activity_at",
            "waiting_since",
            "first_reply_created_at",
            "contact_last_seen_at",
            "agent_last_seen_at",
            "assignee_last_seen_at",
        ]
        .map(within)
        .to_vec();
        let up = stage.start(&["up"])?;

        stage.source.execute("DELETE FROM conversations WHERE id = 17").await?;
        let inbox_text = inbox.to_string();
        for (part, expected) in [
            (vec!["--ids", "17,5,3,5,999999"], 2),
            (vec!["--from", &from, "--to", &to], count(&stage, &in_time.join(" OR ")).await?),
            (vec!["--inbox", &inbox_text], count(&stage, &format!("inbox_id = {inbox}")).await?),
            (vec!["--all-rows", "--chunk-size", "50"], count(&stage, "true").await?),
        ] {
            spoil(&stage).await?;
            let run = resync(&stage, &part).await?;
            ensure!(expected > 0 && run["records"]["updated"] == expected, "{part:?} {expected} {run:#}");
            ensure!(run["records"]["extracted"] == expected, "{part:?} {run:#}");
            ensure!(run["type"] == "resync" && run["status"] == "success", "{run:#}");
            ensure!(run["watermark_start"].is_null() && run["watermark_end"].is_null(), "{run:#}");
            ensure!(run["records"]["deleted"] == i32::from(part[0] == "--ids"), "{part:?} {run:#}");
        }
        let after: String = sqlx::query_scalar(marked).fetch_one(&stage.target).await?;
        ensure!(before == after, "the watermark went from {before} to {after}");
        stage
            .until("SELECT bool_and(c.lane = 'bulk' AND r.reason = 'a test' AND r.triggered_by LIKE 'cli:%') \
                    FROM etl_control r JOIN etl_chunk c ON c.run_id = r.id WHERE r.type = 'resync'")
            .await?;
        up.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_part_that_makes_no_sense_is_a_usage_error_and_no_run() {
    on_stage(|stage| async move {
        stage.sample(50, 2, 1).await?;
        let foreign: i32 =
            sqlx::query_scalar("SELECT inbox_id FROM inbox_tenant_mapping WHERE tenant_id = 2 LIMIT 1")
                .fetch_one(&stage.target)
                .await?;
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00+01:00");
        for (part, word) in [
            ([].as_slice(), "--ids"),
            (&["--ids", "1", "--all-rows"], "--all-rows"),
            (&["--ids", "0"], "--ids"),
            (&["--from", early], "--to"),
            (&["--to", late], "--from"),
            (&["--from", late, "--to", early], "not before"),
            (&["--from", "2026-01-01 00:00", "--to", late], "--from"),
            (&["--inbox", &foreign.to_string()], "not tenant 1's"),
            (&["--all-rows", "--chunk-size", "0"], "--chunk-size"),
        ] {
            let answer = stage
                .tidemark(&[&["resync", "--tenant", "1"], part].concat())
                .await?;
            ensure!(
                answer.code == 64 && answer.stderr.contains(word),
                "{part:?} {answer:?}"
            );
        }
        stage.until("SELECT count(*) = 0 FROM etl_control").await
    })
    .await;
}

#[tokio::test]
async fn resyncs_run_beside_an_incremental_and_the_same_request_finds_the_open_one() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 43).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute(
                "UPDATE conversations SET priority = 3, updated_at = now() AT TIME ZONE 'UTC' WHERE id <= 9",
            )
            .await?;
        let mut fleet = stage.fleet(&["producer"])?;
        let asked = stage.tidemark(&["sync", "--tenant", "1", "--json"]).await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE type = 'incremental' AND status = 'running'")
            .await?;
        let mut answers = Vec::new();
        for part in [
            ["--ids", "4,2"].as_slice(),
            &["--ids", "2,4", "--chunk-size", "1"],
            &["--ids", "2"],
            &["--all-rows"],
            &["--all-rows"],
        ] {
            let args = [&["resync", "--tenant", "1", "--json"], part].concat();
            answers.push(stage.tidemark(&args).await?);
        }
        let runs: Vec<String> = answers
            .iter()
            .map(|answer| answer.json()["run_id"].to_string())
            .collect();
        ensure!(
            runs[0] == runs[1] && runs[3] == runs[4] && runs[0] != runs[2] && runs[0] != runs[3],
            "{runs:?}"
        );
        ensure!(
            answers[1].stderr.contains("open")
                && answers[4].stderr.contains("open")
                && !answers[2].stderr.contains("open"),
            "{answers:?}"
        );
        stage
            .until("SELECT count(*) = 4 FROM etl_control WHERE status = 'running' AND finished_at IS NULL")
            .await?;

        fleet.add("worker")?;
        fleet.add("finalizer")?;
        stage
            .until("SELECT bool_and(status = 'success') FROM etl_control")
            .await?;
        // a run that has ended is not open: the same request is a new run
        let again = resync(&stage, &["--ids", "2,4"]).await?;
        ensure!(
            !runs.contains(&again["run_id"].to_string()) && again["records"]["unchanged"] == 2,
            "{again:#}"
        );
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn many_conversations_gone_at_once_stop_a_resync_too() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 2).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id <= 60")
            .await?;
        let gone: Vec<String> = (1..=60).map(|id: i32| id.to_string()).collect();
        let gone = gone.join(",");
        let up = stage.start(&["up"])?;
        for part in [["--all-rows"].as_slice(), &["--ids", &gone]] {
            let refused = stage
                .tidemark(&[&["resync", "--tenant", "1", "--wait", "--json"], part].concat())
                .await?;
            ensure!(
                refused.code == 1
                    && refused
                        .stdout
                        .contains("tidemark resync --tenant 1 … --allow-mass-delete"),
                "{refused:?}"
            );
        }
        stage
            .until("SELECT count(source_deleted_at) = 0 FROM conversations_analytics")
            .await?;
        let allowed = resync(&stage, &["--ids", &gone, "--allow-mass-delete"]).await?;
        ensure!(
            allowed["records"]["deleted"] == 60 && allowed["records"]["extracted"] == 0,
            "{allowed:#}"
        );
        up.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// A digest of everything in the ledger and the target.
async fn contents(stage: &Stage) -> Result<String> {
    Ok(sqlx::query_scalar(
        "SELECT md5(string_agg(table_to_xml(oid, true, false, '')::text, '' ORDER BY relname)) \
         FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    )
    .fetch_one(&stage.target)
    .await?)
}

/// `plan` of tenant 1, which must write nothing.
async fn plan(stage: &Stage, args: &[&str]) -> Result<Value> {
    let before = contents(stage).await?;
    let answer = stage
        .tidemark(&[&["plan", "--tenant", "1", "--json"], args].concat())
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    ensure!(before == contents(stage).await?, "{args:?} has written something");
    Ok(answer.json())
}

#[tokio::test]
async fn a_dry_run_shows_what_a_sync_then_does_and_writes_nothing() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 47).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute(
                "UPDATE conversations SET priority = 2, updated_at = now() AT TIME ZONE 'UTC' WHERE id BETWEEN 11 AND 17; \
                 UPDATE inboxes SET name = 'Another', updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT inbox_id FROM conversations WHERE id = 11); ANALYZE",
            )
            .await?;
        let planned = plan(&stage, &[]).await?;
        ensure!(planned["type"] == "incremental" && planned["keys"] == 7 && planned["chunks"] == 1, "{planned:#}");
        ensure!(planned["signals"]["conversations"] == 7 && planned["renamed"] == 1, "{planned:#}");
        ensure!(planned["watermark_end"].as_str() > planned["watermark_start"].as_str(), "{planned:#}");
        ensure!(planned["cost"]["messages"].as_i64() > Some(7), "{planned:#}");
        let text = stage.tidemark(&["plan", "--tenant", "1"]).await?;
        ensure!(text.code == 0 && text.stdout.contains("rewritten by a backfill"), "{text:?}");

        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run["records"]["extracted"] == planned["keys"], "{run:#}");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_of_a_full_run_takes_everything_and_one_beside_a_writer_names_the_fence() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 48).await?;
        let first = plan(&stage, &[]).await?;
        ensure!(
            first["type"] == "full" && first["keys"] == 60 && first["watermark_end"].is_string(),
            "{first:#}"
        );
        stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            plan(&stage, &["--full"]).await?["keys"] == 60,
            "a full run takes everything"
        );
        let held_by = async || -> Result<String> {
            let planned = plan(&stage, &[]).await?;
            Ok(planned["watermark_held_by"]
                .as_str()
                .unwrap_or_default()
                .to_owned())
        };
        let free = held_by().await?;
        ensure!(["fence", "safety_lag"].contains(&free.as_str()), "{free}");

        let mut writer = stage.source.begin().await?;
        writer
            .execute("UPDATE conversations SET priority = 1 WHERE id = 40")
            .await?;
        ensure!(held_by().await? == "fence");
        writer.rollback().await?;
        Ok(())
    })
    .await;
}
