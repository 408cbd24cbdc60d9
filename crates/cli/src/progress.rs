//! Waits for runs and shows their progress: bars on a terminal, else a line from time to time, or JSON lines.

mod bars;
mod text;

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use serde::Serialize;
use tidemark_operations::run_watch::{Looked, RunLook, RunWatch};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::Settings;
use tidemark_shared::ids::RunId;
use tidemark_shared::progress::Progress;
use tidemark_shared::run::RunReport;
use tokio::time::Instant;

use self::bars::Bars;
use crate::app::App;
use crate::exit::Interrupted;
use crate::output;

/// Between two lines where bars cannot be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);
const JSON_EVERY: Duration = Duration::from_secs(1);
/// An unchanged line is repeated after so many of these intervals.
const REPEAT_AFTER: u32 = 6;

/// Waits until all these runs have ended; returns their reports in ascending order.
pub async fn wait(db: &DbPool, runs: &[RunId]) -> anyhow::Result<Vec<RunReport>> {
    Watch {
        db,
        settings: None,
        json: false,
        every: None,
    }
    .until_ended(runs)
    .await
}

/// How to watch runs.
pub struct Watch<'a> {
    db: &'a DbPool,
    settings: Option<&'a Settings>,
    json: bool,
    every: Option<Duration>,
}

impl<'a> Watch<'a> {
    pub const fn new(app: &'a App, db: &'a DbPool) -> Self {
        Self {
            db,
            settings: Some(&app.settings),
            json: false,
            every: None,
        }
    }

    /// Prints one JSON object a line on stdout, at most one in `every`.
    #[must_use]
    pub const fn json_lines(mut self, json: bool, every: Option<Duration>) -> Self {
        self.json = json;
        self.every = every;
        self
    }

    /// Waits until all these runs have ended; returns their reports in ascending order. Ctrl-C stops watching; the runs go
    /// on.
    pub async fn wait(self, runs: &[RunId]) -> anyhow::Result<Vec<RunReport>> {
        tokio::select! {
            outcome = self.until_ended(runs) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Interrupted(runs.to_vec()).into()),
        }
    }

    async fn until_ended(&self, runs: &[RunId]) -> anyhow::Result<Vec<RunReport>> {
        let view = View::new(self.json, self.every);
        let mut watch = RunWatch::new(self.db, self.settings, runs);
        loop {
            watch.pause().await;
            let in_detail = view.may_show(Instant::now());
            let look = match watch.look(in_detail).await? {
                Looked::Runs(look) => look,
                Looked::StillAway => continue,
                Looked::LedgerAway(error) => {
                    view.note(&format!("the ledger is away, waiting for it: {}", report(&error)));
                    continue;
                }
            };
            if look.ledger_is_back {
                view.note("the ledger is back");
            }
            let ended = look.has_ended();
            if in_detail {
                view.show(self.settings, &look, ended)?;
            }
            if ended {
                return Ok(look.runs);
            }
            if watch.lacks_producer(&look).await {
                view.note(
                    "no producer is running: the run waits for one (`tidemark up`, or `tidemark producer`)",
                );
            }
        }
    }
}

/// A run as a line of JSON; the field names are a contract with scripts.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    run: &'a RunReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<&'a str>,
    progress: Option<&'a Progress>,
}

enum View {
    Bars(Bars),
    Lines(LineTimer),
    Json(LineTimer),
}

impl View {
    fn new(json: bool, every: Option<Duration>) -> Self {
        if json {
            return Self::Json(LineTimer::new(every.unwrap_or(JSON_EVERY), None));
        }
        if std::io::stderr().is_terminal() {
            return Self::Bars(Bars::new());
        }
        Self::Lines(LineTimer::new(every.unwrap_or(LINE_EVERY), Some(Instant::now())))
    }

    /// Whether the runs may be shown at this moment.
    fn may_show(&self, now: Instant) -> bool {
        match self {
            Self::Bars(_) | Self::Json(_) => true,
            Self::Lines(timer) => timer.may_be_due(now),
        }
    }

    fn show(&self, settings: Option<&Settings>, look: &RunLook, ended: bool) -> anyhow::Result<()> {
        match self {
            Self::Bars(bars) => {
                bars.show(look);
                if ended {
                    bars.finish();
                }
            }
            // the command prints the reports of ended runs
            Self::Lines(_) if ended => {}
            Self::Lines(timer) => {
                if timer.is_due(Instant::now(), state(look)) {
                    let text = match look.runs.as_slice() {
                        [run] => text::line(run, look.progress.first(), look.held_by.as_deref()),
                        runs => text::summary(runs, &look.progress),
                    };
                    output::note(text);
                }
            }
            Self::Json(timer) => {
                if !ended && !timer.is_due(Instant::now(), state(look)) {
                    return Ok(());
                }
                for run in &look.runs {
                    let link = |id: &String| settings?.trace_link(id);
                    output::json_line(&Line {
                        run,
                        trace_url: run.trace_id.as_ref().and_then(link),
                        held_by: look.held_by.as_deref(),
                        progress: look
                            .progress
                            .iter()
                            .find(|progress| progress.run_id == run.run_id),
                    })?;
                }
            }
        }
        Ok(())
    }

    fn note(&self, text: &str) {
        match self {
            Self::Bars(bars) => bars.note(text),
            Self::Lines(_) | Self::Json(_) => output::note(text),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}

/// A line is repeated early only when this changes; the clock is not part of it.
fn state(look: &RunLook) -> String {
    let runs = look
        .runs
        .iter()
        .map(|run| (run.run_id, run.status, run.chunks, run.records));
    let chunks = look
        .progress
        .iter()
        .map(|progress| (progress.chunks, progress.failed_attempts, progress.lost_leases));
    format!(
        "{:?}{:?}{:?}",
        runs.collect::<Vec<_>>(),
        chunks.collect::<Vec<_>>(),
        look.held_by
    )
}

/// Decides when a line is due: at a change, but not too often, and from time to time without one.
struct LineTimer {
    every: Duration,
    last: Cell<Option<Instant>>,
    state: Cell<String>,
}

impl LineTimer {
    /// `last`: the time of the last line, or the start of the wait for the first; `None`: the first line is due at once.
    fn new(every: Duration, last: Option<Instant>) -> Self {
        Self {
            every,
            last: Cell::new(last),
            state: Cell::default(),
        }
    }

    fn may_be_due(&self, now: Instant) -> bool {
        self.last.get().is_none_or(|last| now - last >= self.every)
    }

    fn is_due(&self, now: Instant, state: String) -> bool {
        let since = self.last.get().map(|last| now - last);
        let before = self.state.take();
        let due = since.is_none_or(|since| {
            since >= self.every * REPEAT_AFTER || (since >= self.every && before != state)
        });
        if due {
            self.last.set(Some(now));
        }
        self.state.set(if due { state } else { before });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_at_a_change_and_from_time_to_time_without_one() {
        let begun = Instant::now();
        let timer = LineTimer::new(Duration::from_secs(5), Some(begun));
        let due = |seconds, state: &str| timer.is_due(begun + Duration::from_secs(seconds), state.to_owned());
        assert!(!due(0, "a"), "a quick run needs no line");
        assert!(due(5, "a"));
        assert!(!due(6, "b"), "too soon");
        assert!(!due(10, "a"), "nothing new");
        assert!(due(11, "b"));
        assert!(!due(40, "b"));
        assert!(due(41, "b"), "still alive");
        let at_once = LineTimer::new(Duration::from_secs(5), None);
        assert!(at_once.is_due(begun, "a".to_owned()));
    }
}
