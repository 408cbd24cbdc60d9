//! Exported traces, metrics and logs: one run is one trace, and nothing private is exported.

mod logs;
mod spans;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};
use tokio::net::TcpListener;

use self::spans::{assert_conventions, assert_tree, named, one};
use crate::collector::{Collector, Span};
use crate::stage::{Stage, on_stage};

/// Has the special characters of URLs, and must be found nowhere.
const PASSWORD: &str = "p%40ss%2Fw%3Frd%25s3cret";
const PASSWORD_AS_TYPED: &str = "p@ss/w?rd%s3cret";

/// A URL with a password that must not be exported; the test servers need none.
fn with_password(stage: &Stage, side: &str) -> Result<String> {
    let mut url: url::Url = stage.url(side).parse()?;
    ensure!(
        url.set_password(Some(PASSWORD)).is_ok() && url.as_str().contains(PASSWORD),
        "a URL takes a password"
    );
    Ok(url.into())
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

/// Metrics are exported too, with the operator's headers and attributes, and without anything private.
async fn assert_export(stage: &Stage, collector: &Collector) -> Result<()> {
    let metrics = collector.metrics();
    ensure!(metrics.contains("tidemark_rows_total"), "{metrics:?}");
    ensure!(collector.credentials() == BTreeSet::from(["s3cret".to_owned()]));
    let exported = collector.text();
    ensure!(
        exported.contains("deployment.environment.name"),
        "the operator's attributes are missing"
    );
    assert_nothing_private(stage, &exported).await
}

/// Makes the first insert into a tenant's rows fail, as a passing fault of the target would.
const FAIL_ONCE: &str = "CREATE SEQUENCE first_insert; \
     CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
         IF current_setting('app.current_tenant_id')::int < 100 AND nextval('public.first_insert') = 1 \
             THEN RAISE EXCEPTION 'fails once' USING ERRCODE = 'XX000'; END IF; \
         RETURN NULL; END $$; \
     CREATE TRIGGER fail_once AFTER INSERT ON conversations_analytics FOR EACH STATEMENT EXECUTE FUNCTION fail_once()";

/// Syncs three tenants with a killed worker and a failed attempt. Returns their runs.
async fn run_with_faults(stage: &Stage, settings: &[(&str, &str)]) -> Result<Vec<Value>> {
    let mut fleet = stage.fleet_with(&["producer", "finalizer"], settings)?;
    // this worker exports nothing before it is killed: no span of it lacks its parent
    let silent = [settings, &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]].concat();
    let killed = stage.start_with(&["worker", "--concurrency", "1"], &silent)?;
    // row locks on the tenants keep the chunk running until the kill
    let mut lock = stage.target.begin().await?;
    lock.execute("UPDATE tenants SET updated_at = now()").await?;
    let asked = stage
        .tidemark_with(&["sync", "--all", "--json", "--chunk-size", "20"], settings)
        .await?;
    ensure!(asked.code == 0, "{asked:?}");
    stage
        .until("SELECT EXISTS (SELECT FROM etl_chunk WHERE status = 'running')")
        .await?;
    killed.kill().await?;
    lock.commit().await?;
    stage.target.execute(FAIL_ONCE).await?;
    fleet.add("worker")?;
    fleet.add("worker")?;
    let runs = asked.json().as_array().cloned().unwrap_or_default();
    ensure!(runs.len() == 3, "{asked:?}");
    for run in &runs {
        let ended = stage
            .tidemark_with(&["run", "watch", &run["run_id"].to_string(), "--json"], settings)
            .await?;
        ensure!(ended.code == 0, "{ended:?}");
    }
    fleet.stop().await?;
    Ok(runs)
}

async fn assert_one_trace(stage: &Stage, all: &[Span], run: &Value) -> Result<()> {
    let id = run["run_id"].to_string();
    let trace = run["trace_id"].as_str().context("a trace")?;
    let spans: Vec<Span> = all.iter().filter(|span| span.trace == trace).cloned().collect();
    let elsewhere = all
        .iter()
        .find(|span| span.attribute("run.id") == id && span.trace != trace);
    ensure!(elsewhere.is_none(), "{elsewhere:#?} is not in {trace}");
    let chunks: i32 = sqlx::query_scalar("SELECT chunks_total FROM etl_control WHERE id = $1::bigint")
        .bind(id.parse::<i64>()?)
        .fetch_one(&stage.target)
        .await?;
    assert_tree(&spans, &id, usize::try_from(chunks)?)?;
    assert_conventions(&spans, stage)
}

/// The only chunk for which `condition` is true.
async fn only_chunk(stage: &Stage, condition: &str) -> Result<(String, String)> {
    let query = format!("SELECT run_id::text, seq::text FROM etl_chunk WHERE {condition}");
    let chunks: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(&stage.target)
        .await?;
    ensure!(chunks.len() == 1, "{chunks:?}: {condition}");
    Ok(chunks[0].clone())
}

fn of_chunk<'a>(all: &'a [Span], name: &str, (run, seq): &(String, String)) -> Vec<&'a Span> {
    let mut spans = named(all, name);
    spans.retain(|span| span.attribute("run.id") == run && span.attribute("chunk.seq") == seq);
    spans
}

/// The killed worker's chunk: rescued, dispatched again, and done by its second attempt.
async fn assert_rescue_is_traced(stage: &Stage, all: &[Span]) -> Result<()> {
    let chunk = only_chunk(stage, "lost_count > 0").await?;
    ensure!(
        of_chunk(all, "rescue", &chunk).len() == 1,
        "no rescue of {chunk:?}"
    );
    ensure!(
        of_chunk(all, "dispatch", &chunk).len() >= 2,
        "no second dispatch of {chunk:?}"
    );
    let attempts = of_chunk(all, "chunk", &chunk);
    ensure!(
        attempts.iter().any(|span| span.attribute("attempt") == "2"),
        "{attempts:#?}"
    );
    Ok(())
}

/// The failed attempt says why, and so does its load; the next attempt is in the same trace.
async fn assert_failure_is_traced(stage: &Stage, all: &[Span]) -> Result<()> {
    let attempts = of_chunk(all, "chunk", &only_chunk(stage, "failure_count > 0").await?);
    let failed = attempts
        .iter()
        .find(|span| span.failed)
        .context("a failed attempt")?;
    ensure!(
        failed.attribute("error.type") == "XX000" && failed.attribute("outcome") == "retry",
        "{failed:#?}"
    );
    ensure!(
        failed.events.iter().any(|event| event == "exception"),
        "{failed:#?}"
    );
    let load = all
        .iter()
        .find(|span| span.name == "load" && span.parent == failed.id);
    ensure!(load.is_some_and(|load| load.failed), "{load:#?}");
    ensure!(
        attempts.iter().any(|span| span.attribute("outcome") == "done"),
        "{attempts:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_run_is_one_trace_with_its_retried_chunk_and_that_of_a_killed_worker() {
    on_stage(|stage| async move {
        stage.sample(300, 3, 83).await?;
        let collector = Collector::grpc().await?;
        let (target, source) = (with_password(&stage, "target")?, with_password(&stage, "source")?);
        let settings = [
            ("TIDEMARK_DATABASE_URL", target.as_str()),
            ("TIDEMARK_SOURCE_URL", source.as_str()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ];
        let runs = run_with_faults(&stage, &settings).await?;
        let all = collector.spans();
        for run in &runs {
            assert_one_trace(&stage, &all, run).await?;
        }
        let workers: BTreeSet<&str> = all
            .iter()
            .filter(|span| span.service == "tidemark-worker")
            .map(|span| span.instance.as_str())
            .collect();
        ensure!(workers.len() == 2, "{workers:?}");
        assert_rescue_is_traced(&stage, &all).await?;
        assert_failure_is_traced(&stage, &all).await?;
        assert_export(&stage, &collector).await
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
        up.stop().await?;
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

/// Every chunk's trace begins with a dispatch that links to the run's trace. Returns these traces.
fn assert_chunks_link_to(root: &Span, spans: &[Span]) -> Result<BTreeSet<String>> {
    let mut traces = BTreeSet::new();
    for dispatch in named(spans, "dispatch") {
        ensure!(
            dispatch.parent.is_empty() && dispatch.links == [(root.trace.clone(), root.id.clone())],
            "{dispatch:#?}"
        );
        let has_chunk = spans
            .iter()
            .any(|span| span.name == "chunk" && span.parent == dispatch.id);
        ensure!(has_chunk, "no chunk below {dispatch:#?}");
        traces.insert(dispatch.trace.clone());
    }
    Ok(traces)
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
        let traces = assert_chunks_link_to(root, &spans)?;
        ensure!(
            traces.len() == usize::try_from(chunks)?,
            "{} traces",
            traces.len()
        );
        let finalize = one(&spans, "finalize")?;
        ensure!(
            finalize.links.len() == 100 && finalize.links.iter().all(|(trace, _)| traces.contains(trace)),
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
        up.stop().await?;
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
