//! Watching a run, live and for programs.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::proxy::Proxy;
use crate::stage::{Signal, Stage, on_stage};

/// True once `run watch` has read how far a run is.
const WATCHED: &str = "SELECT count(*) > 0 FROM pg_stat_activity \
    WHERE application_name = 'tidemark cli' AND datname = current_database() AND query LIKE '-- The progress of runs%'";

/// The lines of JSON from before the plan of a run of 400 conversations in 40 chunks until its end.
async fn watched_lines(stage: &Stage) -> Result<Vec<Value>> {
    stage.sample(400, 1, 81).await?;
    let run = stage.ask_full("10").await?;
    let args = ["run", "watch", &run, "--json", "--every", "50ms"];
    let traced = [("TIDEMARK_TRACE_URL", "http://jaeger/{trace_id}")];
    let watching = stage.tidemark_with(&args, &traced);
    let working = async {
        // the first line is printed before the run is planned
        stage.until(WATCHED).await?;
        stage.start(&["up"])
    };
    let (watched, up) = tokio::join!(watching, working);
    let watched = watched?;
    up?.kill().await?;
    ensure!(watched.code == 0, "{watched:?}");
    let lines = watched.documents();
    ensure!(
        watched.stdout.lines().count() == lines.len(),
        "not one object a line: {watched:?}"
    );
    Ok(lines)
}

fn assert_success_line(last: &Value) -> Result<()> {
    let progress = &last["progress"];
    ensure!(
        last["status"] == "success" && last["chunks"]["done"] == 40,
        "{last:#}"
    );
    ensure!(
        progress["keys_ended"] == 400 && progress["chunks"]["done"] == 40,
        "{last:#}"
    );
    ensure!(progress["slowest_done"]["took_ms"].as_i64() > Some(0), "{last:#}");
    let trace_url = last["trace_url"].as_str().unwrap_or_default();
    ensure!(trace_url.starts_with("http://jaeger/"), "{last:#}");
    Ok(())
}

/// While the run goes on, progress only grows, and pace and source are shown.
fn assert_running_lines(lines: &[&Value]) -> Result<()> {
    ensure!(lines.len() >= 2, "{} lines of a running run", lines.len());
    let ended: Vec<i64> = lines
        .iter()
        .filter_map(|line| line["progress"]["keys_ended"].as_i64())
        .collect();
    ensure!(ended.is_sorted(), "{ended:?}");
    let last = lines[lines.len() - 1];
    let paced = lines.iter().any(|line| {
        let pace = &line["progress"]["pace"];
        pace["rows_per_second"].as_f64() > Some(0.0) && pace["eta_ms"].as_i64() > Some(0)
    });
    ensure!(paced, "no line has a pace: {last:#}");
    let source = &last["progress"]["source"];
    ensure!(
        source["name"] == "main" && source["max_in_flight"] == 32,
        "{source:#}"
    );
    Ok(())
}

#[tokio::test]
async fn watching_prints_progress_as_json_lines_and_exits_as_the_run_ends() {
    on_stage(|stage| async move {
        let lines = watched_lines(&stage).await?;
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        ensure!(
            first["status"] == "requested" && first["progress"]["keys_total"] == 0,
            "{first:#}"
        );
        let running: Vec<&Value> = lines.iter().filter(|line| line["status"] == "running").collect();
        assert_running_lines(&running)?;
        assert_success_line(last)
    })
    .await;
}

#[tokio::test]
async fn a_run_that_has_ended_is_described_in_words_and_an_unknown_one_is_a_usage_error() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 84).await?;
        let run = stage.sync_local(&["--tenant", "1", "--chunk-size", "10"]).await?;
        let words = stage
            .tidemark(&["run", "watch", &run["run_id"].to_string()])
            .await?;
        ensure!(
            words.code == 0 && words.stdout.contains("4 of 4 done"),
            "{words:?}"
        );
        let unknown = stage.tidemark(&["run", "watch", "99"]).await?;
        ensure!(unknown.code == 64, "{unknown:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_ledger_that_is_away_for_a_while_is_waited_for() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 82).await?;
        let run = stage.ask_full("20").await?;
        let wire = Proxy::before(&stage.url("target")).await?;
        let url = wire.url(&stage.url("target"))?;
        let args = ["run", "watch", &run, "--json", "--every", "20ms"];
        let through = [("TIDEMARK_DATABASE_URL", url.as_str())];
        let watching = stage.tidemark_with(&args, &through);
        let working = async {
            stage.until(WATCHED).await?;
            wire.refuse(true);
            wire.cut();
            wire.until_refused(3).await?;
            wire.refuse(false);
            stage.start(&["up"])
        };
        let (watched, up) = tokio::join!(watching, working);
        let (watched, up) = (watched?, up?);
        ensure!(
            watched.code == 0 && watched.json()["status"] == "success",
            "{watched:?}"
        );
        ensure!(
            watched.stderr.contains("ledger is away") && watched.stderr.contains("ledger is back"),
            "{watched:?}"
        );
        up.kill().await
    })
    .await;
}

#[tokio::test]
async fn interrupting_a_watch_leaves_the_run_alone() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 83).await?;
        let run = stage.ask_full("10").await?;
        for args in [["run", "watch", &run].as_slice(), &["sync", "--tenant", "1", "--wait"]] {
            let watching = stage.start(args)?;
            stage.until(WATCHED).await?;
            watching.signal(Signal::INT)?;
            ensure!(watching.wait().await? == 130, "{args:?}");
            stage
                .until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'tidemark cli' AND datname = current_database()")
                .await?;
        }
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE status = 'requested'")
            .await
    })
    .await;
}
