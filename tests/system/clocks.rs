//! Wrong clocks, and sessions in other time zones.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Executor};
use tokio::process::Command;

use crate::columns::{assert_same, reference, target};
use crate::stage::{Stage, on_stage};
use crate::traps::assert_sound;

/// A library to preload, which shifts a process's clock by so many seconds. Removed when dropped.
struct Clock(PathBuf);

impl Clock {
    /// Needs `cc`, which is also needed to link this test.
    async fn off_by(seconds: i64) -> Result<Self> {
        let clock = Self(std::env::temp_dir().join(format!("clock-{:016x}.so", rand::random::<u64>())));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&clock.0)
            .arg(format!("-DSECONDS_OFF={seconds}"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/system/clock.c"))
            .status()
            .await
            .context("run cc")?;
        ensure!(built.success(), "the clock is not built");
        Ok(clock)
    }

    fn preloaded(&self) -> Result<[(&str, &str); 2]> {
        Ok([
            ("LD_PRELOAD", self.0.to_str().context("a path")?),
            ("RUST_LOG", "info"),
        ])
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("the clock's library can be removed");
    }
}

async fn now(stage: &Stage) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar("SELECT now()")
        .fetch_one(&stage.source)
        .await?)
}

/// Trap 16: by the worker's clock, a lease or a watermark would end at once, or never.
#[tokio::test]
async fn workers_whose_clocks_are_ten_minutes_off_do_as_all_others() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 137).await?;
        let (ahead, behind) = (Clock::off_by(600).await?, Clock::off_by(-600).await?);
        let mut fleet = stage.fleet(&["producer", "finalizer"])?;
        for clock in [&ahead, &behind] {
            fleet.take_in(stage.start_with(&["worker"], &clock.preloaded()?)?);
        }
        for change in [
            "",
            "UPDATE conversations SET priority = 2, updated_at = now() AT TIME ZONE 'UTC' WHERE id <= 100",
        ] {
            stage.source.execute(AssertSqlSafe(change)).await?;
            let synced = stage
                .tidemark(&["sync", "--tenant", "1", "--wait", "--json", "--chunk-size", "10"])
                .await?;
            ensure!(synced.code == 0, "{synced:?}");
            assert_sound(&stage, &synced.json()).await?;
        }
        stage
            .until("SELECT bool_and(lost_count = 0 AND failure_count = 0 AND attempt = 1) FROM etl_chunk")
            .await?;
        let instances: i64 = sqlx::query_scalar("SELECT count(DISTINCT worker_id) FROM etl_chunk")
            .fetch_one(&stage.target)
            .await?;
        ensure!(instances == 2, "{instances} workers took chunks");
        fleet.stop().await
    })
    .await;
}

/// Trap 16: with all roles in one process, neither plans nor watermarks follow its clock.
#[tokio::test]
async fn a_process_whose_clock_is_off_syncs_by_the_clocks_of_the_databases() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 139).await?;
        for seconds in [600, -600] {
            let clock = Clock::off_by(seconds).await?;
            let before = now(&stage).await?;
            let synced = stage
                .tidemark_with(
                    &["sync", "--local", "--tenant", "1", "--json"],
                    &clock.preloaded()?,
                )
                .await?;
            ensure!(synced.code == 0, "{synced:?}");
            let logged = synced
                .stderr
                .split_whitespace()
                .find_map(logged_at)
                .context("a line of log with its time")?;
            let off = logged - before - TimeDelta::seconds(seconds);
            ensure!(
                off.abs() < TimeDelta::seconds(120),
                "the clock is not {seconds} s off: {synced:?}"
            );
            let end: DateTime<Utc> = synced.json()["watermark_end"]
                .as_str()
                .context("a watermark")?
                .parse()?;
            ensure!(before <= end && end <= now(&stage).await?, "{before} {end}");
            assert_sound(&stage, &synced.json()).await?;
        }
        Ok(())
    })
    .await;
}

/// The time in a word of a coloured log line.
fn logged_at(word: &str) -> Option<DateTime<Utc>> {
    let start = word.find("20")?;
    word.get(start..start + 27)?.parse().ok()
}

/// Trap 16.
#[tokio::test]
async fn the_time_zones_of_both_databases_decide_nothing() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 149).await?;
        for (side, pool) in [("source", &stage.source), ("target", &stage.target)] {
            let name = stage.database(side);
            let alter = format!(
                "ALTER DATABASE {name} SET TimeZone = 'Asia/Kolkata'; ALTER DATABASE {name} SET DateStyle = 'German, DMY'; \
                 ALTER DATABASE {name} SET IntervalStyle = 'sql_standard'"
            );
            pool.execute(AssertSqlSafe(alter)).await?;
        }
        stage
            .source
            .execute("UPDATE conversations SET created_at = '2024-02-29 23:59:59.999999' WHERE id = 1")
            .await?;
        for full in [false, true] {
            let args = ["--tenant", "1", "--full"];
            let run = stage.sync_local(&args[..if full { 3 } else { 2 }]).await?;
            assert_sound(&stage, &run).await?;
        }
        for sample in tidemark_sample::describe(&stage.url("source")).await? {
            let expected = reference(&stage, 1, &sample.timezone, &sample.inbox_ids).await?;
            assert_same(&expected, &target(&stage, 1).await?)?;
        }
        stage
            .until(
                "SELECT conversation_created_at = '2024-02-29 23:59:59.999999+00' \
                 FROM conversations_analytics WHERE conversation_id = 1",
            )
            .await
    })
    .await;
}
