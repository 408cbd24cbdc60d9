//! Log lines of a run.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::Value;

use crate::stage::on_stage;

#[tokio::test]
async fn every_line_inside_a_run_says_which_run_chunk_and_trace_it_is_about() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 88).await?;
        let settings = [
            ("TIDEMARK_LOG_FORMAT", "json"),
            (
                "RUST_LOG",
                "tidemark_producer=info,tidemark_worker=info,tidemark_finalizer=info",
            ),
        ];
        let synced = stage
            .tidemark_with(
                &["sync", "--tenant", "1", "--local", "--json", "--chunk-size", "10"],
                &settings,
            )
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        let run = synced.json();
        let id = run["run_id"].to_string();
        // the output of commands is no log
        let lines: Vec<Value> = synced
            .stderr
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let of = |message: &str| -> Vec<&Value> {
            lines.iter().filter(|line| line["message"] == message).collect()
        };
        ensure!(of("chunk loaded").len() == 4, "{lines:#?}");
        ensure!(
            of("run planned").len() == 1 && of("run finished").len() == 1,
            "{lines:#?}"
        );
        for line in &lines {
            ensure!(line["trace_id"] == run["trace_id"], "{line:#}");
            ensure!(line["run.id"] == *id && line["tenant.id"] == "1", "{line:#}");
            ensure!(
                line["timestamp"].is_string() && line["level"] == "INFO",
                "{line:#}"
            );
        }
        let chunks: BTreeSet<Option<i64>> = of("chunk loaded")
            .iter()
            .map(|line| line["chunk.seq"].as_i64())
            .collect();
        ensure!(chunks == (1..=4).map(Some).collect(), "{chunks:?}");
        ensure!(
            of("chunk loaded").iter().all(|line| line["attempt"] == 1),
            "{lines:#?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn text_logs_say_the_same_without_the_fields_for_exporters() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 90).await?;
        let settings = [
            ("TIDEMARK_LOG_FORMAT", "pretty"),
            (
                "RUST_LOG",
                "tidemark_producer=info,tidemark_worker=info,tidemark_finalizer=info",
            ),
        ];
        let synced = stage
            .tidemark_with(
                &["sync", "--tenant", "1", "--local", "--json", "--chunk-size", "20"],
                &settings,
            )
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        let run = synced.json();
        let trace = format!("trace_id={}", run["trace_id"].as_str().unwrap());
        let loaded: Vec<&str> = synced
            .stderr
            .lines()
            .filter(|line| line.contains("INFO chunk loaded"))
            .collect();
        ensure!(loaded.len() == 2, "{}", synced.stderr);
        let run_id = format!("run.id={}", run["run_id"]);
        for line in loaded {
            for known in [
                &trace,
                &run_id,
                "tenant.id=1",
                "attempt=1",
                "chunk.seq=",
                "extracted=20",
            ] {
                ensure!(line.contains(known), "{line} has no {known}");
            }
            ensure!(!line.contains("otel."), "{line}");
        }
        Ok(())
    })
    .await;
}
