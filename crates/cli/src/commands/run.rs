//! `tidemark run …`.

pub(super) mod control;
mod list;

use std::time::Duration;

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_operations::status::Overview;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::RunId;
use tidemark_shared::run::RunReport;

use super::bounds;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;
use crate::progress::Watch;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the newest runs
    List(list::Args),
    /// Show one run
    Show {
        /// As `run list` shows it
        run_id: RunId,
    },
    /// Watch a run until it has ended; the exit code tells how. With --json an object a line, the last with the outcome
    Watch {
        /// As `run list` shows it
        run_id: RunId,
        /// At most one line in this long, where it is lines [default: 1s with --json, else 5s]
        #[arg(long, value_name = "DUR", value_parser = bounds::pause)]
        every: Option<Duration>,
    },
    /// End a run: what has not begun is cancelled, what workers hold is dropped
    Cancel {
        /// As `run list` shows it
        run_id: RunId,
        /// Why, for whoever reads the run later
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Try the dead and cancelled chunks of a run again
    Retry {
        /// As `run list` shows it
        run_id: RunId,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::List(args) => args.run(app, &db).await,
            Self::Show { run_id } => {
                let runs = ledger::run::reports(&db, &[run_id]).await?;
                exists(&runs, run_id)?;
                show(app, &db, &runs[0]).await?;
                Ok(Exit::Done)
            }
            Self::Watch { run_id, every } => {
                exists(&ledger::run::reports(&db, &[run_id]).await?, run_id)?;
                let watch = Watch::new(app, &db).json_lines(app.json, every);
                let runs = watch.wait(&[run_id]).await?;
                if !app.json {
                    print_runs(app, &runs, false)?;
                }
                Ok(Exit::of_runs(&runs))
            }
            Self::Cancel { run_id, reason } => control::cancel(app, &db, run_id, reason.as_deref()).await,
            Self::Retry { run_id } => control::retry(app, &db, run_id, None).await,
        }
    }
}

pub(super) fn exists(runs: &[RunReport], id: RunId) -> anyhow::Result<()> {
    if runs.is_empty() {
        return Err(unknown(id).into());
    }
    Ok(())
}

fn unknown(id: RunId) -> UsageError {
    UsageError(format!(
        "there is no run {id}: `tidemark run list` shows those there are"
    ))
}

/// A run with where its trace can be looked at, when that is known.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    run: &'a RunReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_url: Option<String>,
    /// What is in the way of an open run; left out when nothing is, or nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(app: &App, run: &'a RunReport) -> Self {
        Self {
            run,
            trace_url: run.trace_id.as_deref().and_then(|id| app.settings.trace_link(id)),
            held_by: None,
        }
    }
}

/// Prints one run, with what is in its way while it is open.
async fn show(app: &App, db: &DbPool, run: &RunReport) -> anyhow::Result<()> {
    let mut shown = Shown::new(app, run);
    if !run.status.is_terminal() {
        let overview = Overview::load(db, &app.settings).await?;
        shown.held_by = overview.held_by(run.tenant_id).map(str::to_owned);
    }
    if app.json {
        output::json(&shown)
    } else {
        details(&shown)
    }
}

/// Prints runs: as JSON one object, or an array when several were asked for.
pub fn print_runs(app: &App, runs: &[RunReport], several: bool) -> anyhow::Result<()> {
    let shown: Vec<Shown> = runs.iter().map(|run| Shown::new(app, run)).collect();
    match shown.as_slice() {
        several_shown if app.json && several => output::json(&several_shown),
        [run] if app.json => output::json(run),
        [run] => details(run),
        _ => list::table(runs),
    }
}

/// How a run has ended, and what it found where it compared.
fn outcome(run: &RunReport) -> String {
    let status = run.status.as_str();
    match run.verification.map(|compared| compared.fault_count()) {
        None => status.to_owned(),
        Some(0) => format!("{status}, equal"),
        Some(faults) => format!("{status}, {} at fault", output::count(faults)),
    }
}

fn details(shown: &Shown) -> anyhow::Result<()> {
    let run = shown.run;
    let records = &run.records;
    let mut rows = vec![
        ("run", run.run_id.to_string()),
        ("tenant", run.tenant_id.to_string()),
        ("type", run.run_type.as_str().to_owned()),
        ("status", outcome(run)),
        ("requested", output::time(Some(run.requested_at))),
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
