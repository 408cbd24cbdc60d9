//! Watching a run, live and for programs.

use anyhow::ensure;
use serde_json::Value;

use crate::proxy::Proxy;
use crate::stage::{Signal, on_stage};

/// Somebody has looked how far a run is.
const WATCHED: &str = "SELECT count(*) > 0 FROM pg_stat_activity \
    WHERE application_name = 'tidemark cli' AND datname = current_database() AND query LIKE '-- The progress of runs%'";

#[tokio::test]
async fn watching_tells_in_lines_of_json_how_far_a_run_is_and_ends_as_it_does() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 81).await?;
        let run = stage.ask_full("10").await?;
        let args = ["run", "watch", &run, "--json", "--every", "50ms"];
        let traced = [("TIDEMARK_TRACE_URL", "http://jaeger/{trace_id}")];
        let watching = stage.tidemark_with(&args, &traced);
        let working = async {
            // the first line is of a run that nobody has planned
            stage.until(WATCHED).await?;
            stage.start(&["up"])
        };
        let (watched, up) = tokio::join!(watching, working);
        let (watched, up) = (watched?, up?);
        ensure!(watched.code == 0, "{watched:?}");
        ensure!(
            watched.stdout.lines().count() == watched.documents().len(),
            "an object a line: {watched:?}"
        );
        let lines = watched.documents();
        ensure!(
            lines[0]["status"] == "requested" && lines[0]["progress"]["keys_total"] == 0,
            "{:#}",
            lines[0]
        );
        let last = &lines[lines.len() - 1];
        ensure!(
            last["status"] == "success" && last["chunks"]["done"] == 40,
            "{last:#}"
        );
        ensure!(
            last["progress"]["keys_ended"] == 400 && last["progress"]["chunks"]["done"] == 40,
            "{last:#}"
        );
        ensure!(
            last["trace_url"]
                .as_str()
                .is_some_and(|url| url.starts_with("http://jaeger/")),
            "{last:#}"
        );
        ensure!(
            last["progress"]["slowest_done"]["took_ms"].as_i64() > Some(0),
            "{last:#}"
        );
        let between: Vec<&Value> = lines.iter().filter(|line| line["status"] == "running").collect();
        ensure!(between.len() >= 2, "{} lines of {}", between.len(), lines.len());
        let ended: Vec<i64> = between
            .iter()
            .filter_map(|line| line["progress"]["keys_ended"].as_i64())
            .collect();
        ensure!(ended.is_sorted(), "{ended:?}");
        let paced = between.iter().any(|line| {
            line["progress"]["pace"]["rows_per_second"].as_f64() > Some(0.0)
                && line["progress"]["pace"]["eta_ms"].as_i64() > Some(0)
        });
        ensure!(paced, "{:#}", between[between.len() - 1]);
        let source = &between[between.len() - 1]["progress"]["source"];
        ensure!(
            source["name"] == "main" && source["max_in_flight"] == 32,
            "{source:#}"
        );

        // in words, once more, of a run that has ended
        let words = stage.tidemark(&["run", "watch", &run]).await?;
        ensure!(
            words.code == 0 && words.stdout.contains("40 of 40 done"),
            "{words:?}"
        );
        let unknown = stage.tidemark(&["run", "watch", "99"]).await?;
        ensure!(unknown.code == 64, "{unknown:?}");
        up.kill().await
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
async fn who_no_longer_waits_leaves_the_run_alone() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 83).await?;
        let run = stage.ask_full("10").await?;
        for args in [["run", "watch", &run].as_slice(), &["sync", "--tenant", "1", "--wait"]] {
            let watching = stage.start(args)?;
            stage.until(WATCHED).await?;
            watching.signal(Signal::INT)?;
            ensure!(watching.ended().await? == 130, "{args:?}");
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
