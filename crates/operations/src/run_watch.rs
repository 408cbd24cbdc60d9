//! Watches runs until they end. The ledger may be away meanwhile.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::{DbError, DbResult};
use tidemark_postgres::DbPool;
use tidemark_runtime::config::Settings;
use tidemark_shared::ids::RunId;
use tidemark_shared::progress::Progress;
use tidemark_shared::run::{RunReport, RunStatus};
use tokio::time::Instant;

use crate::status::Overview;

/// The pause after a look is this part of the time watched so far: the end of a run is seen at most 5 % late.
const PAUSE_SHARE: u32 = 20;
/// Short runs are looked at often; long runs must not load the ledger.
const PAUSE_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Asking what blocks a run takes several statements, so it is done less often.
const BLOCKER_EVERY: Duration = Duration::from_secs(3);
/// The watch fails when the ledger is away for longer.
const AWAY_AT_MOST: Duration = Duration::from_secs(15 * 60);

/// The runs at one moment.
#[derive(Debug)]
pub struct RunLook {
    pub runs: Vec<RunReport>,
    /// Of a single run always, of several only those that are running. Empty without detail.
    pub progress: Vec<Progress>,
    /// What blocks a single run.
    pub held_by: Option<String>,
    /// The ledger answers for the first time since it was away.
    pub ledger_is_back: bool,
}

impl RunLook {
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.runs.iter().all(|run| run.status.is_terminal())
    }
}

#[derive(Debug)]
pub enum Looked {
    Runs(RunLook),
    /// The ledger did not answer this time; it did before.
    LedgerAway(DbError),
    /// The ledger has not answered since.
    StillAway,
}

#[derive(Debug)]
pub struct RunWatch<'a> {
    db: &'a DbPool,
    /// `None`: the caller does not ask what blocks a run.
    settings: Option<&'a Settings>,
    ids: &'a [RunId],
    first_look_at: Option<Instant>,
    away_since: Option<Instant>,
    blocker: Blocker,
    noted_missing_producer: bool,
}

/// The last answer to what blocks a single run.
#[derive(Debug, Default)]
struct Blocker {
    /// Another status makes the answer outdated.
    status: Option<RunStatus>,
    asked_at: Option<Instant>,
    held_by: Option<String>,
}

impl<'a> RunWatch<'a> {
    #[must_use]
    pub fn new(db: &'a DbPool, settings: Option<&'a Settings>, ids: &'a [RunId]) -> Self {
        Self {
            db,
            settings,
            ids,
            first_look_at: None,
            away_since: None,
            blocker: Blocker::default(),
            noted_missing_producer: false,
        }
    }

    /// Waits until the next look is due; the first one is at once.
    pub async fn pause(&self) {
        let Some(first_look_at) = self.first_look_at else {
            return;
        };
        let (shortest, longest) = PAUSE_BOUNDS;
        let pause = match self.away_since {
            None => (first_look_at.elapsed() / PAUSE_SHARE).clamp(shortest, longest),
            Some(_) => longest,
        };
        tokio::time::sleep(pause).await;
    }

    /// Looks at the runs; `in_detail` with their progress.
    ///
    /// # Errors
    /// When the ledger refuses, or has been away for too long.
    pub async fn look(&mut self, in_detail: bool) -> DbResult<Looked> {
        let now = Instant::now();
        self.first_look_at.get_or_insert(now);
        match self.load(in_detail).await {
            Ok(mut look) => {
                look.ledger_is_back = self.away_since.take().is_some();
                Ok(Looked::Runs(look))
            }
            Err(error) => {
                let is_new = self.away_since.is_none();
                let since = *self.away_since.get_or_insert(now);
                if !error.is_temporary() || since.elapsed() >= AWAY_AT_MOST {
                    return Err(error);
                }
                Ok(if is_new {
                    Looked::LedgerAway(error)
                } else {
                    Looked::StillAway
                })
            }
        }
    }

    async fn load(&mut self, in_detail: bool) -> DbResult<RunLook> {
        let runs = ledger::run::reports(self.db, self.ids).await?;
        let shown: Vec<RunId> = runs
            .iter()
            .filter(|run| in_detail && (self.ids.len() == 1 || run.status == RunStatus::Running))
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
            (Some(settings), [run]) if !run.status.is_terminal() => {
                self.blocker.of(self.db, settings, run).await?
            }
            _ => None,
        };
        Ok(RunLook {
            runs,
            progress,
            held_by,
            ledger_is_back: false,
        })
    }

    /// Whether requested runs wait because no producer is running. Says so once, and only where [`RunLook::held_by`] is not
    /// asked for.
    pub async fn lacks_producer(&mut self, look: &RunLook) -> bool {
        let asks_for_blocker = look.runs.len() == 1 && self.settings.is_some();
        let is_requested = look.runs.iter().any(|run| run.status == RunStatus::Requested);
        let is_early = self.first_look_at.is_none_or(|at| at.elapsed() < BLOCKER_EVERY);
        if self.noted_missing_producer || asks_for_blocker || !is_requested || is_early {
            return false;
        }
        self.noted_missing_producer = true;
        let live = ledger::process::list_live(self.db).await;
        live.is_ok_and(|live| live.iter().all(|process| process.role == "worker"))
    }
}

impl Blocker {
    async fn of(&mut self, db: &DbPool, settings: &Settings, run: &RunReport) -> DbResult<Option<String>> {
        if self.status != Some(run.status) {
            *self = Self {
                status: Some(run.status),
                ..Self::default()
            };
        }
        // a run that nothing blocks needs a moment to change its status
        let asked_at = *self.asked_at.get_or_insert_with(Instant::now);
        if asked_at.elapsed() >= BLOCKER_EVERY {
            let overview = Overview::load(db, settings).await?;
            self.held_by = overview.blocker_of(run.tenant_id).map(str::to_owned);
            self.asked_at = Some(Instant::now());
        }
        Ok(self.held_by.clone())
    }
}
