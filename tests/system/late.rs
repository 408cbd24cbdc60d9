//! Writes that commit long after they were made. The messages change nothing on their conversation, so no digest
//! shows them, and they are older than the lookback: only the watermark decides whether they are found.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::stage::{Stage, on_stage};
use crate::traps::assert_sound;

/// A stage in step whose tenant has this lookback.
async fn in_step(stage: &Stage, seed: u64, lookback: &str) -> Result<()> {
    stage.sample(100, 1, seed).await?;
    sqlx::query("UPDATE tenants SET lookback = $1::text::interval")
        .bind(lookback)
        .execute(&stage.target)
        .await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    Ok(())
}

/// Begins a transaction that writes a message, `age` older than the source's clock. Returns that clock.
async fn begin_late_write(writer: &mut PgConnection, conversation: i32, age: &str) -> Result<DateTime<Utc>> {
    writer.execute("BEGIN").await?;
    Ok(sqlx::query_scalar(
        "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at) \
         SELECT 'late', account_id, inbox_id, id, 0, at, at \
         FROM conversations, LATERAL (SELECT (clock_timestamp() - $2::text::interval) AT TIME ZONE 'UTC' AS at) written \
         WHERE id = $1 RETURNING clock_timestamp()",
    )
    .bind(conversation)
    .bind(age)
    .fetch_one(writer)
    .await?)
}

async fn writer(stage: &Stage) -> Result<PgConnection> {
    Ok(PgConnection::connect(&stage.url("source")).await?)
}

fn watermark_end(run: &Value) -> Result<DateTime<Utc>> {
    Ok(run["watermark_end"].as_str().context("a watermark")?.parse()?)
}

/// Trap 2.
#[tokio::test]
async fn a_late_commit_arrives_however_many_syncs_passed_meanwhile() {
    for (age, lookback) in [
        // open for longer than the lookback
        ("0", "0"),
        // with a timestamp from before the transaction began
        ("50 seconds", "1 minute"),
    ] {
        for prepared in [false, true] {
            on_stage(|stage| async move {
                in_step(&stage, 103, lookback).await?;
                let mut late = writer(&stage).await?;
                let written = begin_late_write(&mut late, 7, age).await?;
                if prepared {
                    late.execute("PREPARE TRANSACTION 'late'").await?;
                }
                for _ in 0..3 {
                    let run = stage.sync_local(&["--tenant", "1"]).await?;
                    ensure!(
                        watermark_end(&run)? < written,
                        "the watermark passed an open write: {run:#}"
                    );
                }
                let commit = if prepared {
                    "COMMIT PREPARED 'late'"
                } else {
                    "COMMIT"
                };
                late.execute(commit).await?;
                let run = stage.sync_local(&["--tenant", "1"]).await?;
                ensure!(run["signals"]["messages"].as_i64() >= Some(1), "{run:#}");
                ensure!(
                    watermark_end(&run)? > written,
                    "the fence did not move on: {run:#}"
                );
                assert_sound(&stage, &run).await
            })
            .await;
        }
    }
}

/// Trap 2: there is always an open write.
#[tokio::test]
async fn the_watermark_advances_and_passes_nothing_while_some_write_is_always_open() {
    on_stage(|stage| async move {
        in_step(&stage, 107, "0").await?;
        let mut open = writer(&stage).await?;
        let mut next = writer(&stage).await?;
        begin_late_write(&mut open, 1, "0").await?;
        let mut reached: Option<DateTime<Utc>> = None;
        for conversation in 2..8 {
            let run = stage.sync_local(&["--tenant", "1"]).await?;
            let end = watermark_end(&run)?;
            // the first write was open when the first sample was taken
            ensure!(
                conversation == 2 || Some(end) > reached,
                "the watermark does not move from {end}: {run:#}"
            );
            reached = Some(end);
            begin_late_write(&mut next, conversation, "0").await?;
            open.execute("COMMIT").await?;
            std::mem::swap(&mut open, &mut next);
        }
        open.execute("COMMIT").await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        let late: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM conversations_analytics WHERE message_compiled @> '[{\"text\": \"late\"}]'",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(late == 7, "{late} of 7 late messages arrived: {run:#}");
        assert_sound(&stage, &run).await
    })
    .await;
}
