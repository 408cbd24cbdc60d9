//! Waiting for runs, with a bar a run on a terminal.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tidemark_shared::db;
use tidemark_shared::db::DbPool;
use tidemark_shared::ids::RunId;
use tidemark_shared::run::{RunReport, RunStatus};

use crate::output;

const LOOK_EVERY: Duration = Duration::from_millis(150);
/// After this long without anybody to plan the run, the waiting person is told.
const LONELY_AFTER: Duration = Duration::from_secs(3);

/// Waits until every one of these runs has ended; returns their reports, ascending.
pub async fn wait(db: &DbPool, runs: &[RunId]) -> anyhow::Result<Vec<RunReport>> {
    let bars = Bars::new();
    let started = tokio::time::Instant::now();
    let mut told = false;
    loop {
        let reports = db::run::reports(db, runs).await?;
        bars.show(&reports);
        if reports.iter().all(|run| run.status.is_terminal()) {
            bars.finish();
            return Ok(reports);
        }
        if !told
            && started.elapsed() > LONELY_AFTER
            && reports.iter().any(|run| run.status == RunStatus::Requested)
        {
            told = true;
            if !db::process::list_live(db)
                .await?
                .iter()
                .any(|process| process.role != "worker")
            {
                bars.note(
                    "no producer is running: the run waits for one (`tidemark up`, or `tidemark producer`)",
                );
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Bars on a terminal, nothing elsewhere.
struct Bars {
    all: Option<MultiProgress>,
    by_run: std::cell::RefCell<HashMap<RunId, ProgressBar>>,
}

impl Bars {
    fn new() -> Self {
        let all = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self {
            all,
            by_run: std::cell::RefCell::default(),
        }
    }

    fn show(&self, reports: &[RunReport]) {
        let Some(all) = &self.all else { return };
        let mut bars = self.by_run.borrow_mut();
        for run in reports {
            let bar = bars.entry(run.run_id).or_insert_with(|| {
                let bar = all.add(bar());
                // only now: a bar that draws itself before it is one of all leaves a line behind
                bar.enable_steady_tick(Duration::from_millis(200));
                bar
            });
            bar.set_prefix(format!("tenant {} {}", run.tenant_id, run.run_type.as_str()));
            bar.set_length(u64::try_from(run.chunks.total).unwrap_or_default());
            bar.set_position(u64::try_from(run.chunks.done + run.chunks.dead).unwrap_or_default());
            bar.set_message(format!(
                "{} rows, {}",
                output::count(run.records.extracted),
                run.status.as_str()
            ));
            if run.status.is_terminal() {
                bar.finish();
            }
        }
    }

    fn note(&self, text: &str) {
        match &self.all {
            // a bar that cannot be drawn over is no reason to end
            Some(all) => drop(all.println(text)),
            None => output::note(text),
        }
    }

    fn finish(&self) {
        for bar in self.by_run.borrow().values() {
            bar.abandon();
        }
    }
}

fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix:24} {bar:30.cyan/dim} {pos}/{len} chunks  {msg}  {elapsed}")
            .expect("the template is valid");
    ProgressBar::new(0).with_style(style)
}
