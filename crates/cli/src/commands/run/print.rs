//! Prints runs.

use serde::Serialize;
use tidemark_operations::status::Overview;
use tidemark_postgres::DbPool;
use tidemark_shared::run::RunReport;

use crate::app::App;
use crate::output;

/// A run with the link to its trace; the field names are a contract with scripts.
#[derive(Serialize)]
struct RunView<'a> {
    #[serde(flatten)]
    run: &'a RunReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_url: Option<String>,
    /// What blocks an open run.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
}

impl<'a> RunView<'a> {
    fn new(app: &App, run: &'a RunReport) -> Self {
        Self {
            run,
            trace_url: run.trace_id.as_deref().and_then(|id| app.settings.trace_link(id)),
            held_by: None,
        }
    }
}

/// Prints one run; of an open run also what blocks it.
pub async fn one(app: &App, db: &DbPool, run: &RunReport) -> anyhow::Result<()> {
    let mut shown = RunView::new(app, run);
    if !run.status.is_terminal() {
        let overview = Overview::load(db, &app.settings).await?;
        shown.held_by = overview.blocker_of(run.tenant_id).map(str::to_owned);
    }
    if app.json {
        output::json(&shown)
    } else {
        details(&shown)
    }
}

/// Prints runs; with `several` the JSON is an array, even of one element.
pub fn runs(app: &App, runs: &[RunReport], several: bool) -> anyhow::Result<()> {
    let shown: Vec<RunView> = runs.iter().map(|run| RunView::new(app, run)).collect();
    match shown.as_slice() {
        list if app.json && several => output::json(&list),
        [run] if app.json => output::json(run),
        [run] => details(run),
        _ => table(runs),
    }
}

/// The status, and the result of a comparison.
fn outcome(run: &RunReport) -> String {
    let status = run.status.as_str();
    match run.verification.map(|compared| compared.fault_count()) {
        None => status.to_owned(),
        Some(0) => format!("{status}, equal"),
        Some(faults) => format!("{status}, {} at fault", output::count(faults)),
    }
}

/// The parameters beside the type; `-` for none.
fn request(run: &RunReport) -> String {
    match run.request.as_object() {
        Some(parameters) if !parameters.is_empty() => run.request.to_string(),
        _ => "-".to_owned(),
    }
}

fn details(shown: &RunView) -> anyhow::Result<()> {
    let run = shown.run;
    let records = &run.records;
    let mut rows = vec![
        ("run", run.run_id.to_string()),
        ("tenant", run.tenant_id.to_string()),
        ("type", run.run_type.as_str().to_owned()),
        ("status", outcome(run)),
        ("asked by", run.triggered_by.clone()),
        ("reason", run.reason.clone().unwrap_or_else(|| "-".to_owned())),
        ("request", request(run)),
        ("requested", output::time(Some(run.requested_at))),
        ("started", output::time(run.started_at)),
        ("ended", output::time(run.finished_at)),
        (
            "chunks",
            format!(
                "{} of {} done, {} dead",
                run.chunks.done, run.chunks.total, run.chunks.dead
            ),
        ),
        ("extracted", output::count(records.extracted)),
        ("inserted", output::count(records.inserted)),
        ("updated", output::count(records.updated)),
        ("unchanged", output::count(records.unchanged)),
        ("stale", output::count(records.stale)),
        ("deleted", output::count(records.deleted)),
        ("rejected", output::count(records.rejected)),
        ("took", output::duration_ms(run.duration_ms)),
        (
            "watermark",
            format!(
                "{} → {}",
                output::time(run.watermark_start),
                output::time(run.watermark_end)
            ),
        ),
    ];
    if !run.signals.is_empty() {
        let signals = run
            .signals
            .iter()
            .map(|(name, hits)| format!("{name} {hits}"))
            .collect::<Vec<_>>();
        rows.push(("signals", signals.join(", ")));
    }
    if let Some(trace) = &run.trace_id {
        rows.push(("trace", trace.clone()));
    }
    if let Some(url) = &shown.trace_url {
        rows.push(("", url.clone()));
    }
    if let Some(held_by) = &shown.held_by {
        rows.push(("held by", held_by.clone()));
    }
    rows.extend(run.warnings.iter().map(|warning| ("warning", warning.clone())));
    if let Some(error) = &run.error {
        rows.push(("error", error.clone()));
    }
    output::table(
        &["run", ""],
        &[],
        rows.into_iter()
            .skip(1)
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect(),
    )
}

pub fn table(runs: &[RunReport]) -> anyhow::Result<()> {
    let rows = runs
        .iter()
        .map(|run| {
            vec![
                run.run_id.to_string(),
                run.tenant_id.to_string(),
                run.run_type.as_str().to_owned(),
                outcome(run),
                run.triggered_by.clone(),
                format!("{}/{}", run.chunks.done, run.chunks.total),
                output::count(run.records.extracted),
                output::count(run.records.inserted),
                output::count(run.records.updated),
                output::count(run.records.deleted),
                output::count(run.records.rejected),
                output::duration_ms(run.duration_ms),
                output::time(run.watermark_end),
            ]
        })
        .collect();
    let header = [
        "run",
        "tenant",
        "type",
        "status",
        "asked by",
        "chunks",
        "extracted",
        "inserted",
        "updated",
        "deleted",
        "rejected",
        "took",
        "watermark",
    ];
    output::table(&header, &[0, 1, 5, 6, 7, 8, 9, 10, 11], rows)
}
