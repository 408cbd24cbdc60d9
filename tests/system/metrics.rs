//! Exported metrics, against those that dashboard, alerts and documentation name.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sqlx::Executor;

use crate::console::client::{Client, serve};
use crate::http::{address_of, get, until};
use crate::stage::{Stage, on_stage};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `tidemark_…` in a text that is not part of a longer word.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| word.starts_with("tidemark_") && *word != "tidemark_test")
        .collect()
}

/// Names of the samples in an exposition.
fn samples(exposition: &str) -> BTreeSet<&str> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(|line| line.split(['{', ' ']).next()).collect()
}

/// The value of one sample.
fn value(exposition: &str, sample: &str) -> Result<f64> {
    let line = exposition.lines().find_map(|line| line.strip_prefix(sample));
    let value = line.with_context(|| format!("no {sample} in {exposition}"))?;
    Ok(value.trim().parse()?)
}

/// What a producer, a worker, a finalizer and a console export after a full sync of two tenants and a comparison that found a fault.
async fn expositions(stage: &Stage) -> Result<[String; 4]> {
    stage.sample(120, 2, 23).await?;
    let mut fleet = stage.fleet(&["producer", "worker"])?;
    stage
        .until("SELECT count(*) = 1 FROM etl_source_watch WHERE fence_at IS NOT NULL")
        .await?;
    let per_tenant = [("TIDEMARK_METRICS_PER_TENANT", "true")];
    fleet.take_in(stage.start_with(&["finalizer"], &per_tenant)?);
    let synced = stage.tidemark(&["sync", "--all", "--wait", "--json"]).await?;
    ensure!(synced.code == 0, "{synced:?}");
    // tenant 1 lacks a row, tenant 2 is never compared
    stage
        .target
        .execute("DELETE FROM conversations_analytics WHERE ctid = (SELECT min(ctid) FROM conversations_analytics WHERE tenant_id = 1)")
        .await?;
    let verified = stage.tidemark(&["verify", "--tenant", "1"]).await?;
    ensure!(verified.code == 1, "{verified:?}");
    let console = serve(stage, "console", &[]).await?;
    Client::new(&console.address).get("/").await?;
    let expositions = [
        exposition(stage, "producer", "tidemark_chunks_published_total").await?,
        exposition(stage, "worker", "tidemark_rows_total").await?,
        exposition(
            stage,
            "finalizer",
            "tidemark_verification_faults{kind=\"missing\"} 1",
        )
        .await?,
        exposition(stage, "console", "tidemark_console_request_duration_seconds").await?,
    ];
    console.process.stop().await?;
    fleet.stop().await?;
    Ok(expositions)
}

/// The OpenMetrics text of one process, once `metric` is in it; checks the content types on the way.
async fn exposition(stage: &Stage, role: &'static str, metric: &str) -> Result<String> {
    let address = address_of(stage, role).await?;
    until(&address, "/metrics", |response| response.body.contains(metric)).await?;
    let scraped = get(&address, "/metrics", OPEN_METRICS).await?;
    ensure!(
        scraped.has_header(&format!("content-type: {OPEN_METRICS}")) && scraped.body.ends_with("\n# EOF\n"),
        "{scraped:?}"
    );
    let plain = get(&address, "/metrics", "text/plain").await?;
    ensure!(
        plain.has_header("content-type: text/plain; version=0.0.4") && !plain.body.contains("# EOF"),
        "{plain:?}"
    );
    Ok(scraped.body)
}

/// Dashboard and alerts use exported metrics only, and the documentation describes exactly the exported ones.
fn assert_described(exported: &BTreeSet<&str>) -> Result<()> {
    for name in ["deploy/grafana/tidemark.json", "deploy/alerts/tidemark.yml"] {
        let text = file(name);
        let unknown: Vec<_> = names(&text).difference(exported).copied().collect();
        ensure!(
            unknown.is_empty(),
            "{name} uses {unknown:?}, which nothing exports"
        );
    }
    let documented = file("docs/observability.md");
    let documented = names(&documented);
    let families: BTreeSet<&str> = exported
        .iter()
        .filter(|name| name.starts_with("tidemark_"))
        .map(|name| {
            let parts = ["_bucket", "_count", "_sum"].iter();
            parts.fold(*name, |name, part| name.strip_suffix(part).unwrap_or(name))
        })
        .collect();
    let missing: Vec<_> = families.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&families).collect();
    ensure!(missing.is_empty(), "docs/observability.md lacks {missing:?}");
    ensure!(invented.is_empty(), "docs/observability.md invents {invented:?}");
    Ok(())
}

fn assert_values([producer, worker, finalizer, _]: &[String; 4]) -> Result<()> {
    for (exposition, sample, expected) in [
        (producer, "tidemark_plans_total{outcome=\"work\"}", 2.0),
        (worker, "tidemark_rows_total{outcome=\"inserted\"}", 120.0),
        (finalizer, "tidemark_tenants_verified{verdict=\"different\"}", 1.0),
        (finalizer, "tidemark_tenants_verified{verdict=\"never\"}", 1.0),
        (finalizer, "tidemark_processes{role=\"worker\"}", 1.0),
        (finalizer, "tidemark_tenants{state=\"planned\"}", 2.0),
        (
            finalizer,
            "tidemark_runs_finished_total{status=\"success\",type=\"full\"}",
            2.0,
        ),
    ] {
        let value = value(exposition, sample)?;
        ensure!(value == expected, "{sample} is {value}, not {expected}");
    }
    for stage in ["claim", "extract", "transform", "load", "event"] {
        let count = format!("tidemark_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        ensure!(value(worker, &count)? >= 2.0, "{stage} in {worker}");
    }
    Ok(())
}

#[tokio::test]
async fn every_metric_that_is_named_is_exported_and_every_exported_one_is_documented() {
    on_stage(|stage| async move {
        let expositions = expositions(&stage).await?;
        assert_described(&expositions.iter().flat_map(|text| samples(text)).collect())?;
        assert_values(&expositions)
    })
    .await;
}

#[tokio::test]
async fn tenants_have_no_series_of_their_own_unless_it_is_asked_for() {
    on_stage(|stage| async move {
        stage.sample(20, 2, 29).await?;
        let finalizer = stage.start(&["finalizer"])?;
        let address = address_of(&stage, "finalizer").await?;
        let scraped = until(&address, "/metrics", |response| {
            response.body.contains("tidemark_tenants{state=\"planned\"} 2")
        })
        .await?;
        ensure!(!scraped.body.contains("tenant=\""), "{scraped:?}");
        finalizer.kill().await
    })
    .await;
}
