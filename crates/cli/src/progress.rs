//! Waiting for runs, and showing how far they are: bars on a terminal, now and then a line elsewhere, or a line of JSON at
//! each change. The ledger may be away meanwhile.

mod bars;
mod text;

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::{DbError, DbResult};
use tidemark_operations::status::Overview;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::Settings;
use tidemark_shared::ids::RunId;
use tidemark_shared::progress::Progress;
use tidemark_shared::run::{RunReport, RunStatus};
use tokio::time::Instant;

use self::bars::Bars;
use crate::app::App;
use crate::exit::Interrupted;
use crate::output;

/// Between two looks: quick runs end quickly, and a look at a large one must not become the ledger's work.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// The first ones come sooner, each after a quarter more than the pause before it: a short run's end is seen soon.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_SELDOM: Duration = Duration::from_secs(5);
/// A look takes at most this part of the time; a larger one at first.
const LOOKS_SHARE: u32 = 20;
const FIRST_LOOKS_SHARE: u32 = 4;
const AT_FIRST: Duration = Duration::from_secs(1);
/// Between two lines where no bars can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);
const JSON_EVERY: Duration = Duration::from_secs(1);
/// A line that says the same as the last is said again after so many of these.
const SAME_AGAIN: u32 = 6;
/// What holds a tenant is a question of its own.
const HELD_EVERY: Duration = Duration::from_secs(3);
/// A ledger that is away for longer than this is not waited for.
const AWAY_AT_MOST: Duration = Duration::from_secs(15 * 60);
const AWAY_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until every one of these runs has ended; returns their reports, ascending.
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

/// The runs at one moment.
pub(super) struct Look {
    runs: Vec<RunReport>,
    /// Of a single run always, of several those that are open.
    progress: Vec<Progress>,
    /// What is in the way of a single run.
    held_by: Option<String>,
}

/// How somebody watches runs.
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

    /// As lines on stdout, one JSON object each, at most one in `every`.
    #[must_use]
    pub const fn json_lines(mut self, json: bool, every: Option<Duration>) -> Self {
        self.json = json;
        self.every = every;
        self
    }

    /// Waits until every one of these runs has ended; returns their reports, ascending. Ctrl-C ends the watching and not
    /// the runs.
    pub async fn wait(self, runs: &[RunId]) -> anyhow::Result<Vec<RunReport>> {
        tokio::select! {
            outcome = self.until_ended(runs) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Interrupted(runs.to_vec()).into()),
        }
    }

    async fn until_ended(&self, runs: &[RunId]) -> anyhow::Result<Vec<RunReport>> {
        let view = View::new(self.json, self.every);
        let mut held = Held::default();
        let mut away: Option<Instant> = None;
        let watched_since = Instant::now();
        let mut pause = LOOK_FIRST;
        // the first look also opens a connection and prepares its statements, which tells nothing of the next ones
        let mut share = 0;
        loop {
            let begun = Instant::now();
            let closely = view.may_show(begun);
            match self.look(runs, closely, &mut held).await {
                Ok(look) => {
                    if away.take().is_some() {
                        view.note("the ledger is back");
                    }
                    let ended = look.runs.iter().all(|run| run.status.is_terminal());
                    if closely {
                        view.show(self.settings, &look, ended)?;
                    }
                    if ended {
                        return Ok(look.runs);
                    }
                    if let Some(lonely) = held.lonely(self.settings.is_none(), &look, self.db).await {
                        view.note(lonely);
                    }
                }
                Err(error) => {
                    let since = *away.get_or_insert_with(|| {
                        view.note(&format!("the ledger is away, waiting for it: {}", report(&error)));
                        begun
                    });
                    give_up(error, since)?;
                    tokio::time::sleep(AWAY_LOOK_EVERY).await;
                }
            }
            tokio::time::sleep((begun.elapsed() * share).clamp(pause, LOOK_SELDOM)).await;
            share = if watched_since.elapsed() < AT_FIRST {
                FIRST_LOOKS_SHARE
            } else {
                LOOKS_SHARE
            };
            pause = (pause * 5 / 4).min(LOOK_EVERY);
        }
    }

    /// `closely`: with what is shown of them.
    async fn look(&self, ids: &[RunId], closely: bool, held: &mut Held) -> DbResult<Look> {
        let runs = ledger::run::reports(self.db, ids).await?;
        let shown: Vec<RunId> = runs
            .iter()
            .filter(|run| closely && (ids.len() == 1 || run.status == RunStatus::Running))
            .map(|run| run.run_id)
            .collect();
        let mut progress = if shown.is_empty() {
            Vec::new()
        } else {
            ledger::progress::list(self.db, &shown).await?
        };
        for one in &mut progress {
            let source = self
                .settings
                .and_then(|settings| settings.sources.get(&one.source.name));
            one.source.max_in_flight = source.map(|source| source.max_in_flight);
        }
        let held_by = match (self.settings, runs.as_slice()) {
            (Some(settings), [run]) if !run.status.is_terminal() => held.of(self.db, settings, run).await?,
            _ => None,
        };
        Ok(Look {
            runs,
            progress,
            held_by,
        })
    }
}

/// An error that passes is waited for, up to a bound.
fn give_up(error: DbError, since: Instant) -> anyhow::Result<()> {
    if error.is_temporary() && since.elapsed() < AWAY_AT_MOST {
        return Ok(());
    }
    Err(error.into())
}

/// What holds the run, asked now and then.
#[derive(Default)]
struct Held {
    /// What was held in another state is no longer.
    status: Option<RunStatus>,
    asked_at: Option<Instant>,
    by: Option<String>,
    begun_at: Option<Instant>,
    told: bool,
}

impl Held {
    async fn of(&mut self, db: &DbPool, settings: &Settings, run: &RunReport) -> DbResult<Option<String>> {
        if self.status != Some(run.status) {
            *self = Self {
                status: Some(run.status),
                ..Self::default()
            };
        }
        // a moment is enough for what is not held at all
        let asked_at = *self.asked_at.get_or_insert_with(Instant::now);
        if asked_at.elapsed() >= HELD_EVERY {
            let overview = Overview::load(db, settings).await?;
            self.by = overview.held_by(run.tenant_id).map(str::to_owned);
            self.asked_at = Some(Instant::now());
        }
        Ok(self.by.clone())
    }

    /// What somebody is told once who waits for several runs, or is shown nothing else.
    async fn lonely(&mut self, is_plain: bool, look: &Look, db: &DbPool) -> Option<&'static str> {
        let begun_at = *self.begun_at.get_or_insert_with(Instant::now);
        let is_asked = look.runs.iter().any(|run| run.status == RunStatus::Requested);
        if self.told || !is_asked || (look.runs.len() == 1 && !is_plain) || begun_at.elapsed() < HELD_EVERY {
            return None;
        }
        self.told = true;
        let live = ledger::process::list_live(db).await.ok()?;
        live.iter().all(|process| process.role == "worker").then_some(
            "no producer is running: the run waits for one (`tidemark up`, or `tidemark producer`)",
        )
    }
}

/// A run as a line of JSON; the names of the report are a contract with scripts.
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
    Lines(Rhythm),
    Json(Rhythm),
}

impl View {
    fn new(json: bool, every: Option<Duration>) -> Self {
        if json {
            return Self::Json(Rhythm::new(every.unwrap_or(JSON_EVERY), None));
        }
        if std::io::stderr().is_terminal() {
            return Self::Bars(Bars::new());
        }
        Self::Lines(Rhythm::new(every.unwrap_or(LINE_EVERY), Some(Instant::now())))
    }

    /// Whether the runs may be shown at this moment.
    fn may_show(&self, now: Instant) -> bool {
        match self {
            // what has ended is shown whatever the rhythm
            Self::Bars(_) | Self::Json(_) => true,
            Self::Lines(rhythm) => rhythm.may_be_due(now),
        }
    }

    fn show(&self, settings: Option<&Settings>, look: &Look, ended: bool) -> anyhow::Result<()> {
        match self {
            Self::Bars(bars) => {
                bars.show(look);
                if ended {
                    bars.finish();
                }
            }
            // the reports of what has ended are printed by the command
            Self::Lines(_) if ended => {}
            Self::Lines(rhythm) => {
                if rhythm.is_due(Instant::now(), state(look)) {
                    let text = match look.runs.as_slice() {
                        [run] => text::line(run, look.progress.first(), look.held_by.as_deref()),
                        runs => text::summary(runs, &look.progress),
                    };
                    output::note(text);
                }
            }
            Self::Json(rhythm) => {
                if !ended && !rhythm.is_due(Instant::now(), state(look)) {
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

/// What makes a line another one: not the clock.
fn state(look: &Look) -> String {
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

/// When a line is due: at a change, but not too often, and now and then without one.
struct Rhythm {
    every: Duration,
    last: Cell<Option<Instant>>,
    state: Cell<String>,
}

impl Rhythm {
    /// `last`: when there was one, or the wait for the first began; `None`: the first is due.
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
        let due = since
            .is_none_or(|since| since >= self.every * SAME_AGAIN || (since >= self.every && before != state));
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
    fn a_line_is_due_at_a_change_and_without_one_now_and_then() {
        let begun = Instant::now();
        let rhythm = Rhythm::new(Duration::from_secs(5), Some(begun));
        let due =
            |seconds, state: &str| rhythm.is_due(begun + Duration::from_secs(seconds), state.to_owned());
        assert!(!due(0, "a"), "a quick run needs no line");
        assert!(due(5, "a"));
        assert!(!due(6, "b"), "too soon");
        assert!(!due(10, "a"), "nothing new");
        assert!(due(11, "b"));
        assert!(!due(40, "b"));
        assert!(due(41, "b"), "still alive");
        let at_once = Rhythm::new(Duration::from_secs(5), None);
        assert!(at_once.is_due(begun, "a".to_owned()));
    }
}
