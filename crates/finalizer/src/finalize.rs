//! Closes runs whose chunks have all ended, and advances the watermarks of runs that succeeded. A query finds these runs, not a
//! counter, so it may run in several processes and any number of times. Events only say which runs to look at first.

use std::time::Duration;

use sqlx::Acquire;
use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::run::CompleteRun;
use tidemark_ledger::watermark::{Advance, Mover};
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::telemetry;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_runtime::wake::Wakes;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::job::TraceContext;
use tidemark_shared::run::{MAX_CHUNKS_PER_TRACE, RunStatus, RunType};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::metrics;

/// Runs closed in one transaction.
const RUNS_AT_ONCE: usize = 50;
/// A fleet wakes the finalizer hundreds of times a second. Runs that end within this pause are closed together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// Chunk traces that the last span of a large run links to. Exporters drop links beyond 128.
const MAX_LINKS: i64 = 100;

/// The finalizing loop.
#[derive(Debug)]
pub struct Finalizer {
    db: DbPool,
    tick: Duration,
    wakes: Wakes,
    only: Option<Vec<RunId>>,
}

impl Finalizer {
    /// `only` restricts it to these runs (`--local`).
    #[must_use]
    pub const fn new(db: DbPool, tick: Duration, wakes: Wakes, only: Option<Vec<RunId>>) -> Self {
        Self {
            db,
            tick,
            wakes,
            only,
        }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        let mut ticker = Ticker::new("finalize", self.tick, &lifecycle)
            .woken_by(&self.wakes.finalize)
            .shortest_pause(SHORTEST_PAUSE)
            // a command plans its runs first, on all of the processors
            .pause_first(self.only.is_some());
        let mut search = Search {
            due_at: Instant::now(),
            refused: Vec::new(),
        };
        while ticker.next_turn().await {
            let outcome = self.tick(&mut search).await;
            if !matches!(outcome, Ok(Turn::More)) {
                search.refused.clear();
            }
            ticker.ended(outcome);
        }
    }

    /// Closes complete runs: those that events name, and at every tick all that a search of the ledger finds. The search
    /// costs as much as there are open runs.
    async fn tick(&self, search: &mut Search) -> Result<Turn, DbError> {
        let mut named = self.wakes.take_named(RUNS_AT_ONCE);
        if let Some(only) = &self.only {
            named.retain(|run| only.contains(run));
        }
        let searches = Instant::now() >= search.due_at;
        if !searches && named.is_empty() {
            return Ok(Turn::Done);
        }
        // a turn that fails is followed by a search: the named runs are taken
        let due_at = std::mem::replace(&mut search.due_at, Instant::now());
        let mut tx = self.db.begin().await.attempt("begin a transaction")?;
        let complete = if searches {
            let limit = i64::try_from(RUNS_AT_ONCE).expect("a small number");
            ledger::run::lock_complete(&mut tx, limit, self.only.as_deref(), &search.refused).await?
        } else {
            ledger::run::lock_named(&mut tx, &named).await?
        };
        let finished = close(&mut tx, &complete, &mut search.refused).await?;
        tx.commit().await.attempt("close the runs")?;
        for (run, status) in &finished {
            metrics::count_finished_runs(run.run_type, *status, 1);
        }
        if finished.iter().any(|(run, status)| is_first_load(run, *status)) {
            self.wakes.analyze.notify_one();
        }
        // a search that found as many as it may has left others
        let found_all = complete.len() < RUNS_AT_ONCE;
        if !searches {
            search.due_at = due_at;
        } else if found_all {
            search.due_at = Instant::now() + self.tick;
        }
        Ok(match found_all && named.len() < RUNS_AT_ONCE {
            true => Turn::Done,
            false => Turn::More,
        })
    }
}

/// Whether the run has brought all rows of a tenant that had none.
fn is_first_load(run: &CompleteRun, status: RunStatus) -> bool {
    run.run_type == RunType::Full && run.watermark_start.is_none() && ended_well(status)
}

/// The search for complete runs.
struct Search {
    due_at: Instant,
    /// Runs that could not be closed wait until the runs behind them have had their turn.
    refused: Vec<RunId>,
}

/// A run to close, and the span of it.
struct Closing<'a> {
    run: &'a CompleteRun,
    span: Span,
}

impl<'a> Closing<'a> {
    fn begin(run: &'a CompleteRun) -> Self {
        let span = tracing::info_span!(
            "finalize", tenant.id = %run.tenant_id, run.id = %run.id, run.status = tracing::field::Empty,
        );
        telemetry::set_parent(&span, &TraceContext::of_run(run.traceparent.clone()));
        Self { run, span }
    }

    fn ended(&self, status: RunStatus) -> (&'a CompleteRun, RunStatus) {
        self.span.record("run.status", status.as_str());
        self.span
            .in_scope(|| tracing::info!(status = status.as_str(), "run finished"));
        (self.run, status)
    }
}

/// Closes locked runs together, or each alone where that fails. A run that cannot be closed stays open and joins `refused`.
async fn close<'a>(
    tx: &mut PgTransaction<'_>,
    complete: &'a [CompleteRun],
    refused: &mut Vec<RunId>,
) -> Result<Vec<(&'a CompleteRun, RunStatus)>, DbError> {
    let closing: Vec<Closing<'a>> = complete.iter().map(Closing::begin).collect();
    if closing.len() > 1 {
        let mut step = tx.begin().await.attempt("set a savepoint")?;
        match close_together(&mut step, &closing).await {
            Ok(statuses) => {
                step.commit().await.attempt("close the runs")?;
                return Ok(closing
                    .iter()
                    .zip(statuses)
                    .map(|(one, status)| one.ended(status))
                    .collect());
            }
            Err(error) => {
                // fails as well when the ledger is unavailable
                step.rollback().await.attempt("leave the runs open")?;
                tracing::debug!(error = %report(&error), "runs not closed together, closing each alone");
            }
        }
    }
    let mut finished = Vec::with_capacity(closing.len());
    for one in &closing {
        let mut step = tx.begin().await.attempt("set a savepoint")?;
        match close_together(&mut step, std::slice::from_ref(one)).await {
            Ok(statuses) => {
                step.commit().await.attempt("close the run")?;
                finished.extend(statuses.into_iter().map(|status| one.ended(status)));
            }
            Err(error) => {
                step.rollback().await.attempt("leave the run open")?;
                telemetry::record_failure(&one.span, &error);
                tracing::error!(run.id = %one.run.id, error = %report(&error), "run not closed, will try again");
                refused.push(one.run.id);
            }
        }
    }
    Ok(finished)
}

/// Closes locked runs: one statement for all of them, whatever their number, except for what few runs need. Returns the
/// status of each.
async fn close_together(
    tx: &mut PgTransaction<'_>,
    closing: &[Closing<'_>],
) -> Result<Vec<RunStatus>, DbError> {
    let ids: Vec<RunId> = closing.iter().map(|one| one.run.id).collect();
    let statuses = ledger::run::close(tx, &ids).await?;
    let ended: Vec<(&Closing<'_>, RunStatus)> = closing.iter().zip(statuses.iter().copied()).collect();
    let writes_watermark = |run_type: RunType| {
        run_type.moves_watermark() || matches!(run_type, RunType::Full | RunType::Backfill)
    };
    let tenants: Vec<TenantId> = closing
        .iter()
        .filter(|one| writes_watermark(one.run.run_type))
        .map(|one| one.run.tenant_id)
        .collect();
    if !tenants.is_empty() {
        ledger::watermark::lock(tx, &tenants).await?;
    }
    for (one, status) in &ended {
        close_alone(tx, one, *status).instrument(one.span.clone()).await?;
    }
    let moving: Vec<(&Closing<'_>, RunStatus)> = ended
        .into_iter()
        .filter(|(one, _)| one.run.run_type.moves_watermark())
        .collect();
    let (well, badly): (Vec<_>, Vec<_>) = moving.into_iter().partition(|(_, status)| ended_well(*status));
    let tenants_of = |runs: &[(&Closing<'_>, RunStatus)]| -> Vec<TenantId> {
        runs.iter().map(|(one, _)| one.run.tenant_id).collect()
    };
    if !badly.is_empty() {
        ledger::watermark::record_failures(&mut **tx, &tenants_of(&badly)).await?;
    }
    if well.is_empty() {
        return Ok(statuses);
    }
    let (moves, runs): (Vec<Advance>, Vec<RunId>) = well
        .iter()
        .filter_map(|(one, _)| Some((advance_of(one.run)?, one.run.id)))
        .unzip();
    let found = ledger::watermark::advance(tx, &moves, Mover::Runs(&runs)).await?;
    for (one, _) in &well {
        if runs.contains(&one.run.id) && !found.contains(&one.run.tenant_id) {
            one.span.in_scope(|| {
                tracing::warn!("watermark not advanced: it was moved while the run was open");
            });
        }
    }
    let ids: Vec<RunId> = well.iter().map(|(one, _)| one.run.id).collect();
    ledger::watermark::record_runs_compared(&mut **tx, &ids).await?;
    ledger::watermark::record_success(&mut **tx, &tenants_of(&well)).await?;
    Ok(statuses)
}

/// What only few runs need.
async fn close_alone(
    tx: &mut PgTransaction<'_>,
    closing: &Closing<'_>,
    status: RunStatus,
) -> Result<(), DbError> {
    let run = closing.run;
    if usize::try_from(run.chunks_total).is_ok_and(|chunks| chunks > MAX_CHUNKS_PER_TRACE) {
        for trace in ledger::chunk::list_notable_traces(&mut **tx, run.id, MAX_LINKS).await? {
            telemetry::link(&closing.span, &trace);
        }
    }
    if ended_well(status) && matches!(run.run_type, RunType::Full | RunType::Backfill) {
        ledger::inbox::mark_backfilled(&mut **tx, run.id).await?;
        ledger::privacy::record_policy_applied(tx, run.id).await?;
    }
    if ended_well(status) && run.run_type == RunType::Verify {
        ledger::verification::conclude(&mut **tx, run.id).await?;
    }
    Ok(())
}

/// How far a run that ended well moves its tenant's watermark.
fn advance_of(run: &CompleteRun) -> Option<Advance> {
    Some(Advance {
        tenant_id: run.tenant_id,
        old: run.watermark_start,
        new: run.watermark_end?,
        mapping_version: run.mapping_version,
        coverage: run.coverage,
    })
}

const fn ended_well(status: RunStatus) -> bool {
    matches!(status, RunStatus::Success | RunStatus::Partial)
}
