//! What the processes export, received by a collector: one run is one trace, and nothing in it is anybody's business.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use sqlx::Executor;
use tokio::net::TcpListener;

use crate::collector::{Collector, Span};
use crate::stage::{Stage, on_stage};

/// What is special in an URL, and must be found nowhere.
const PASSWORD: &str = "p%40ss%2Fw%3Frd%25s3cret";
const PASSWORD_AS_TYPED: &str = "p@ss/w?rd%s3cret";

/// URLs whose password must stay where it is; the test servers ask for none.
fn with_password(stage: &Stage, side: &str) -> Result<String> {
    let mut url: url::Url = stage.url(side).parse()?;
    ensure!(
        url.set_password(Some(PASSWORD)).is_ok() && url.as_str().contains(PASSWORD),
        "a URL takes a password"
    );
    Ok(url.into())
}

fn one<'a>(spans: &'a [Span], name: &str) -> Result<&'a Span> {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found
        .next()
        .with_context(|| format!("no span {name} in {spans:#?}"))?;
    ensure!(found.next().is_none(), "two spans {name} in {spans:#?}");
    Ok(span)
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// A run's trace is the tree that docs/observability.md draws.
fn assert_tree(spans: &[Span], run: &str, chunks: usize) -> Result<()> {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let root = one(spans, "run")?;
    ensure!(
        root.parent.is_empty() && root.service == "tidemark-cli",
        "{root:#?}"
    );
    ensure!(root.says("run.id") == run, "{root:#?}");
    for span in spans.iter().filter(|span| !span.parent.is_empty()) {
        let parent = by_id
            .get(span.parent.as_str())
            .with_context(|| format!("nobody exported the parent of {span:#?}"))?;
        let (name, service) = match span.name.as_str() {
            "plan" | "finalize" => (
                "run",
                if span.name == "plan" {
                    "producer"
                } else {
                    "finalizer"
                },
            ),
            "dispatch" => ("plan", "producer"),
            "rescue" => ("plan", "finalizer"),
            "chunk" => ("dispatch", "worker"),
            "transform" => ("extract", "worker"),
            "claim" | "extract" | "stage" | "load" | "event" => ("chunk", "worker"),
            other => anyhow::bail!("an unknown span {other}"),
        };
        ensure!(parent.name == name, "{span:#?} below {parent:#?}");
        ensure!(span.service == format!("tidemark-{service}"), "{span:#?}");
        let ids = ["run.id", "chunk.seq"];
        if ids.iter().any(|id| !span.says(id).is_empty()) {
            ensure!(
                span.says("run.id") == run && span.says("tenant.id") == root.says("tenant.id"),
                "{span:#?}"
            );
        }
        if span.name == "chunk" {
            ensure!(
                span.says("chunk.seq") == parent.says("chunk.seq"),
                "{span:#?} {parent:#?}"
            );
        }
    }
    let dispatched: BTreeSet<&str> = named(spans, "dispatch")
        .iter()
        .map(|span| span.says("chunk.seq"))
        .collect();
    ensure!(dispatched.len() == chunks, "{dispatched:?} of {chunks}");
    one(spans, "plan")?;
    ensure!(one(spans, "finalize")?.says("run.status") == "success");
    Ok(())
}

fn assert_conventions(spans: &[Span], stage: &Stage) -> Result<()> {
    for span in spans {
        let (kind, operation) = match span.name.as_str() {
            "dispatch" | "event" => (SpanKind::Producer, "send"),
            "chunk" => (SpanKind::Consumer, "process"),
            "claim" | "extract" | "stage" | "load" => (SpanKind::Client, ""),
            _ => (SpanKind::Internal, ""),
        };
        ensure!(span.kind == kind, "{span:#?}");
        ensure!(span.says("messaging.operation.type") == operation, "{span:#?}");
        if !operation.is_empty() {
            let prefix = stage.database("source").replace("_source", "");
            ensure!(span.says("messaging.system") == "rabbitmq", "{span:#?}");
            ensure!(
                span.says("messaging.destination.name")
                    .starts_with(&format!("{prefix}.jobs:")),
                "{span:#?}"
            );
        }
        if kind == SpanKind::Client {
            let side = if span.name == "extract" {
                "source"
            } else {
                "target"
            };
            ensure!(span.says("db.system.name") == "postgresql", "{span:#?}");
            ensure!(span.says("db.namespace") == stage.database(side), "{span:#?}");
        }
    }
    Ok(())
}

async fn assert_nothing_private(stage: &Stage, exported: &str) -> Result<()> {
    let texts: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT content FROM messages WHERE length(content) > 15")
            .fetch_all(&stage.source)
            .await?;
    ensure!(!texts.is_empty(), "there is no message");
    for secret in texts
        .iter()
        .map(String::as_str)
        .chain([PASSWORD, PASSWORD_AS_TYPED, "s3cret"])
    {
        ensure!(!exported.contains(secret), "`{secret}` was exported");
    }
    Ok(())
}

#[tokio::test]
async fn a_run_is_one_trace_with_its_retried_chunk_and_that_of_a_killed_worker() {
    on_stage(|stage| async move {
        stage.sample(300, 3, 83).await?;
        let collector = Collector::grpc().await?;
        let (target, source) = (
            with_password(&stage, "target")?,
            with_password(&stage, "source")?,
        );
        let settings = [
            ("TIDEMARK_DATABASE_URL", target.as_str()),
            ("TIDEMARK_SOURCE_URL", source.as_str()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ];
        let producer = stage.start_with(&["producer"], &settings)?;
        let finalizer = stage.start_with(&["finalizer"], &settings)?;
        // killed, it leaves behind no half of a tree
        let silent = [&settings[..], &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]].concat();
        let doomed = stage.start_with(&["worker", "--concurrency", "1"], &silent)?;
        // row locks on the mapping hold the chunk in hand: the kill hits it for certain
        let mut lock = stage.target.begin().await?;
        lock.execute("UPDATE tenants SET updated_at = now()").await?;
        let asked = stage
            .tidemark_with(&["sync", "--all", "--json", "--chunk-size", "20"], &settings)
            .await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT EXISTS (SELECT FROM etl_chunk WHERE status = 'running')")
            .await?;
        doomed.kill().await?;
        lock.commit().await?;
        stage
            .target
            .execute(
                "CREATE SEQUENCE luck; \
                 CREATE FUNCTION try_luck() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
                     IF current_setting('app.current_tenant_id')::int < 100 AND nextval('public.luck') = 1 THEN RAISE EXCEPTION 'no luck' USING ERRCODE = 'XX000'; END IF; \
                     RETURN NULL; END $$; \
                 CREATE TRIGGER luck AFTER INSERT ON conversations_analytics FOR EACH STATEMENT EXECUTE FUNCTION try_luck()",
            )
            .await?;
        let workers = [
            stage.start_with(&["worker"], &settings)?,
            stage.start_with(&["worker"], &settings)?,
        ];
        let runs = asked.json().as_array().cloned().unwrap_or_default();
        ensure!(runs.len() == 3, "{asked:?}");
        for run in &runs {
            let ended = stage
                .tidemark_with(&["run", "watch", &run["run_id"].to_string(), "--json"], &settings)
                .await?;
            ensure!(ended.code == 0, "{ended:?}");
        }
        for process in [producer, finalizer].into_iter().chain(workers) {
            ensure!(process.terminate().await? == 0, "it does not stop cleanly");
        }

        let all = collector.spans();
        for run in &runs {
            let id = run["run_id"].to_string();
            let trace = run["trace_id"].as_str().context("a trace")?;
            let spans: Vec<Span> = all.iter().filter(|span| span.trace == trace).cloned().collect();
            let elsewhere = all.iter().find(|span| span.says("run.id") == id && span.trace != trace);
            ensure!(elsewhere.is_none(), "{elsewhere:#?} is not in {trace}");
            let chunks: i32 = sqlx::query_scalar("SELECT chunks_total FROM etl_control WHERE id = $1::bigint")
                .bind(id.parse::<i64>()?)
                .fetch_one(&stage.target)
                .await?;
            assert_tree(&spans, &id, usize::try_from(chunks)?)?;
            assert_conventions(&spans, &stage)?;
        }
        let instances: BTreeSet<&str> = all
            .iter()
            .filter(|span| span.service == "tidemark-worker")
            .map(|span| span.instance.as_str())
            .collect();
        ensure!(instances.len() == 2, "{instances:?}");

        let lost: Vec<(i64, i32)> =
            sqlx::query_as("SELECT run_id, seq FROM etl_chunk WHERE lost_count > 0")
                .fetch_all(&stage.target)
                .await?;
        let again: Vec<(i64, i32)> =
            sqlx::query_as("SELECT run_id, seq FROM etl_chunk WHERE failure_count > 0")
                .fetch_all(&stage.target)
                .await?;
        ensure!(lost.len() == 1 && again.len() == 1, "{lost:?} {again:?}");
        let about = |name: &str, (run, seq): (i64, i32)| -> Vec<&Span> {
            let mut spans = named(&all, name);
            spans.retain(|span| span.says("run.id") == run.to_string() && span.says("chunk.seq") == seq.to_string());
            spans
        };
        for chunk in lost {
            ensure!(about("rescue", chunk).len() == 1, "{chunk:?} is not rescued in its trace");
            ensure!(about("dispatch", chunk).len() >= 2, "{chunk:?}");
            ensure!(about("chunk", chunk).iter().any(|span| span.says("attempt") == "2"), "{chunk:?}");
        }
        let attempts = about("chunk", again[0]);
        let failed = attempts.iter().find(|span| span.failed).context("a failed attempt")?;
        ensure!(failed.says("error.type") == "XX000" && failed.says("outcome") == "retry", "{failed:#?}");
        ensure!(failed.events.iter().any(|event| event == "exception"), "{failed:#?}");
        let load = all.iter().find(|span| span.name == "load" && span.parent == failed.id);
        ensure!(load.is_some_and(|load| load.failed), "{load:#?}");
        ensure!(attempts.iter().any(|span| span.says("outcome") == "done"), "{attempts:#?}");

        ensure!(collector.metrics().contains("tidemark_rows_total"), "{:?}", collector.metrics());
        ensure!(collector.credentials() == BTreeSet::from(["s3cret".to_owned()]));
        let exported = collector.text();
        ensure!(exported.contains("deployment.environment.name"), "the operator's attributes are missing");
        assert_nothing_private(&stage, &exported).await
    })
    .await;
}

#[tokio::test]
async fn spans_and_metrics_go_over_http_under_the_name_that_was_given() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 84).await?;
        let collector = Collector::http().await?;
        let settings = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret"),
            ("OTEL_SERVICE_NAME", "analytics"),
        ];
        let up = stage.start_with(&["up"], &settings)?;
        let synced = stage
            .tidemark_with(&["sync", "--tenant", "1", "--wait", "--json"], &settings)
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        ensure!(up.terminate().await? == 0, "it does not stop cleanly");
        let spans = collector.spans();
        let trace = synced.json()["trace_id"].as_str().context("a trace")?.to_owned();
        for name in [
            "run",
            "plan",
            "dispatch",
            "chunk",
            "transform",
            "load",
            "finalize",
        ] {
            ensure!(one(&spans, name)?.trace == trace, "{spans:#?}");
        }
        ensure!(spans.iter().all(|span| span.service == "analytics"), "{spans:#?}");
        ensure!(
            collector.metrics().contains("tidemark_rows_total"),
            "{:?}",
            collector.metrics()
        );
        ensure!(collector.credentials() == BTreeSet::from(["s3cret".to_owned()]));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_exported_that_the_variables_exclude() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 85).await?;
        let collector = Collector::grpc().await?;
        for excluding in [
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ] {
            let settings = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
                excluding,
            ];
            let synced = stage
                .tidemark_with(&["sync", "--tenant", "1", "--local"], &settings)
                .await?;
            ensure!(synced.code == 0, "{synced:?}");
            ensure!(
                collector.spans().is_empty(),
                "{excluding:?}: {:#?}",
                collector.spans()
            );
        }
        let settings = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier/pigeon"),
        ];
        let refused = stage
            .tidemark_with(&["sync", "--tenant", "1", "--local"], &settings)
            .await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains("carrier/pigeon"),
            "{refused:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn chunks_of_a_large_run_have_traces_of_their_own_linked_both_ways() {
    on_stage(|stage| async move {
        stage.sample(230, 1, 86).await?;
        let collector = Collector::grpc().await?;
        let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str())];
        let synced = stage
            .tidemark_with(
                &["sync", "--tenant", "1", "--local", "--json", "--chunk-size", "1"],
                &settings,
            )
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        let synced = synced.json();
        let chunks = synced["chunks"]["total"].as_u64().context("chunks")?;
        ensure!(chunks > 200, "{chunks}");
        let spans = collector.spans();
        let root = one(&spans, "run")?;
        ensure!(synced["trace_id"] == *root.trace, "{root:#?}");
        let of_run: BTreeSet<&str> = spans
            .iter()
            .filter(|span| span.trace == root.trace)
            .map(|span| span.name.as_str())
            .collect();
        ensure!(
            of_run == BTreeSet::from(["run", "plan", "finalize"]),
            "{of_run:?}"
        );
        let mut traces = BTreeSet::new();
        for dispatch in named(&spans, "dispatch") {
            ensure!(dispatch.parent.is_empty(), "{dispatch:#?}");
            ensure!(
                dispatch.links == [(root.trace.clone(), root.id.clone())],
                "{dispatch:#?}"
            );
            ensure!(
                spans
                    .iter()
                    .any(|span| span.name == "chunk" && span.parent == dispatch.id),
                "{dispatch:#?}"
            );
            traces.insert(dispatch.trace.clone());
        }
        ensure!(
            traces.len() == usize::try_from(chunks)?,
            "{} traces",
            traces.len()
        );
        let finalize = one(&spans, "finalize")?;
        ensure!(finalize.links.len() == 100, "{finalize:#?}");
        ensure!(
            finalize.links.iter().all(|(trace, _)| traces.contains(trace)),
            "{finalize:#?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_scheduled_run_has_its_own_trace_linked_to_the_plan_of_many_tenants() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 87).await?;
        stage.target.execute("UPDATE etl_watermark SET next_due_at = now()").await?;
        let collector = Collector::grpc().await?;
        let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str())];
        let up = stage.start_with(&["up"], &settings)?;
        stage
            .until("SELECT count(*) = 2 FROM etl_control WHERE status = 'success' AND triggered_by = 'scheduler'")
            .await?;
        ensure!(up.terminate().await? == 0, "it does not stop cleanly");
        let spans = collector.spans();
        let traces: Vec<String> = sqlx::query_scalar("SELECT trace_id FROM etl_control ORDER BY id")
            .fetch_all(&stage.target)
            .await?;
        ensure!(traces.len() == 2 && traces[0] != traces[1], "{traces:?}");
        let plans: BTreeSet<(String, String)> = named(&spans, "plan tenants")
            .iter()
            .map(|span| (span.trace.clone(), span.id.clone()))
            .collect();
        for trace in traces {
            let of_run: Vec<Span> = spans.iter().filter(|span| span.trace == trace).cloned().collect();
            let root = one(&of_run, "run")?;
            ensure!(root.parent.is_empty() && plans.contains(&root.links[0]), "{root:#?}");
            ensure!(one(&of_run, "dispatch")?.parent == root.id, "{of_run:#?}");
            ensure!(one(&of_run, "finalize")?.parent == root.id, "{of_run:#?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn every_line_inside_a_run_says_which_run_chunk_and_trace_it_is_about() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 88).await?;
        let settings = [
            ("TIDEMARK_LOG_FORMAT", "json"),
            ("RUST_LOG", "tidemark_producer=info,tidemark_worker=info"),
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
        // what commands tell people is no log
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
async fn lines_for_people_say_the_same_without_what_is_for_exporters() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 90).await?;
        let settings = [
            ("TIDEMARK_LOG_FORMAT", "pretty"),
            ("RUST_LOG", "tidemark_producer=info,tidemark_worker=info"),
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

#[tokio::test]
async fn a_collector_that_is_away_or_silent_costs_neither_the_run_nor_the_log() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 89).await?;
        let silent = TcpListener::bind("127.0.0.1:0").await?;
        let away = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        for address in [away, silent.local_addr()?] {
            for protocol in ["grpc", "http/protobuf"] {
                let endpoint = format!("http://{address}");
                let settings = [
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                    ("OTEL_BSP_SCHEDULE_DELAY", "50"),
                ];
                let begun = Instant::now();
                let synced = stage
                    .tidemark_with(
                        &["sync", "--tenant", "1", "--local", "--full", "--chunk-size", "5"],
                        &settings,
                    )
                    .await?;
                ensure!(synced.code == 0, "{synced:?}");
                ensure!(
                    begun.elapsed() < Duration::from_secs(30),
                    "{protocol} took {:?}",
                    begun.elapsed()
                );
                let said = synced
                    .stderr
                    .lines()
                    .filter(|line| line.contains("Export"))
                    .count();
                ensure!(said <= 1, "{protocol} says too much: {synced:?}");
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_run_says_where_its_trace_can_be_looked_at() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 90).await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run.get("trace_url").is_none(), "{run:#}");
        let id = run["run_id"].to_string();
        let settings = [("TIDEMARK_TRACE_URL", "http://jaeger.example/trace/{trace_id}")];
        let url = format!(
            "http://jaeger.example/trace/{}",
            run["trace_id"].as_str().context("a trace")?
        );
        let shown = stage
            .tidemark_with(&["run", "show", &id, "--json"], &settings)
            .await?;
        ensure!(shown.json()["trace_url"] == *url, "{shown:?}");
        let shown = stage.tidemark_with(&["run", "show", &id], &settings).await?;
        ensure!(shown.stdout.contains(&url), "{shown:?}");
        let wrong = [("TIDEMARK_TRACE_URL", "http://jaeger.example/trace/")];
        let refused = stage.tidemark_with(&["run", "show", &id], &wrong).await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains("{trace_id}"),
            "{refused:?}"
        );
        Ok(())
    })
    .await;
}
