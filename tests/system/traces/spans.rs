//! The spans of one trace, and what each of them must say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::collector::Span;
use crate::stage::Stage;

pub fn one<'a>(spans: &'a [Span], name: &str) -> Result<&'a Span> {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found
        .next()
        .with_context(|| format!("no span {name} in {spans:#?}"))?;
    ensure!(found.next().is_none(), "two spans {name} in {spans:#?}");
    Ok(span)
}

pub fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Asserts that a run's trace is the tree of docs/observability.md.
pub fn assert_tree(spans: &[Span], run: &str, chunks: usize) -> Result<()> {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let root = one(spans, "run")?;
    ensure!(
        root.parent.is_empty() && root.service == "tidemark-cli",
        "{root:#?}"
    );
    ensure!(root.attribute("run.id") == run, "{root:#?}");
    for span in spans.iter().filter(|span| !span.parent.is_empty()) {
        let parent = by_id
            .get(span.parent.as_str())
            .with_context(|| format!("the parent was not exported: {span:#?}"))?;
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
        if ids.iter().any(|id| !span.attribute(id).is_empty()) {
            ensure!(
                span.attribute("run.id") == run && span.attribute("tenant.id") == root.attribute("tenant.id"),
                "{span:#?}"
            );
        }
        if span.name == "chunk" {
            ensure!(
                span.attribute("chunk.seq") == parent.attribute("chunk.seq"),
                "{span:#?} {parent:#?}"
            );
        }
    }
    let dispatched: BTreeSet<&str> = named(spans, "dispatch")
        .iter()
        .map(|span| span.attribute("chunk.seq"))
        .collect();
    ensure!(dispatched.len() == chunks, "{dispatched:?} of {chunks}");
    one(spans, "plan")?;
    ensure!(one(spans, "finalize")?.attribute("run.status") == "success");
    Ok(())
}

pub fn assert_conventions(spans: &[Span], stage: &Stage) -> Result<()> {
    for span in spans {
        let (kind, operation) = match span.name.as_str() {
            "dispatch" | "event" => (SpanKind::Producer, "send"),
            "chunk" => (SpanKind::Consumer, "process"),
            "claim" | "extract" | "stage" | "load" => (SpanKind::Client, ""),
            _ => (SpanKind::Internal, ""),
        };
        ensure!(span.kind == kind, "{span:#?}");
        ensure!(
            span.attribute("messaging.operation.type") == operation,
            "{span:#?}"
        );
        if !operation.is_empty() {
            let prefix = stage.database("source").replace("_source", "");
            ensure!(span.attribute("messaging.system") == "rabbitmq", "{span:#?}");
            ensure!(
                span.attribute("messaging.destination.name")
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
            ensure!(span.attribute("db.system.name") == "postgresql", "{span:#?}");
            ensure!(
                span.attribute("db.namespace") == stage.database(side),
                "{span:#?}"
            );
        }
    }
    Ok(())
}
