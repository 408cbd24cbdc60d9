//! Closes runs whose chunks have all ended, and advances the watermarks of runs that succeeded. A query finds these runs, not a
//! counter, so it may run in several processes and any number of times.

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
use tidemark_shared::ids::RunId;
use tidemark_shared::job::TraceContext;
use tidemark_shared::run::{MAX_CHUNKS_PER_TRACE, RunStatus, RunType};
use tracing::Span;

use crate::metrics;

/// Runs closed in one transaction.
const RUNS_AT_ONCE: i64 = 20;
/// A fleet wakes the finalizer hundreds of times a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
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
        // runs that could not be closed wait until the runs behind them have had their turn
        let mut refused = Vec::new();
        while ticker.next_turn().await {
            let outcome = self.tick(&mut refused).await;
            if !matches!(outcome, Ok(Turn::More)) {
                refused.clear();
            }
            ticker.ended(outcome);
        }
    }

    /// Closes complete runs, except those in `refused`. A run that cannot be closed stays open and joins `refused`.
    async fn tick(&self, refused: &mut Vec<RunId>) -> Result<Turn, DbError> {
        let mut tx = self.db.begin().await.attempt("begin a transaction")?;
        let complete =
            ledger::run::lock_complete(&mut tx, RUNS_AT_ONCE, self.only.as_deref(), refused).await?;
        let mut finished = Vec::with_capacity(complete.len());
        let mut has_first = false;
        for run in &complete {
            let span = tracing::info_span!(
                "finalize", tenant.id = %run.tenant_id, run.id = %run.id, run.status = tracing::field::Empty,
            );
            telemetry::set_parent(&span, &TraceContext::of_run(run.traceparent.clone()));
            let mut step = tx.begin().await.attempt("set a savepoint")?;
            match telemetry::traced(span, close(&mut step, run)).await {
                Ok(status) => {
                    step.commit().await.attempt("close the run")?;
                    finished.push((run.run_type, status));
                    has_first |= is_first_load(run, status);
                }
                Err(error) => {
                    // fails as well when the ledger is unavailable
                    step.rollback().await.attempt("leave the run open")?;
                    tracing::error!(run.id = %run.id, error = %report(&error), "run not closed, will try again");
                    refused.push(run.id);
                }
            }
        }
        tx.commit().await.attempt("close the runs")?;
        for (run_type, status) in finished {
            metrics::count_finished_runs(run_type, status, 1);
        }
        if has_first {
            self.wakes.analyze.notify_one();
        }
        Ok(if complete.is_empty() {
            Turn::Done
        } else {
            Turn::More
        })
    }
}

/// Whether the run has brought all rows of a tenant that had none.
fn is_first_load(run: &CompleteRun, status: RunStatus) -> bool {
    run.run_type == RunType::Full && run.watermark_start.is_none() && ended_well(status)
}

const fn ended_well(status: RunStatus) -> bool {
    matches!(status, RunStatus::Success | RunStatus::Partial)
}

async fn close(tx: &mut PgTransaction<'_>, run: &CompleteRun) -> Result<RunStatus, DbError> {
    let status = ledger::run::close(tx, run.id).await?;
    let span = Span::current();
    span.record("run.status", status.as_str());
    if usize::try_from(run.chunks_total).is_ok_and(|chunks| chunks > MAX_CHUNKS_PER_TRACE) {
        for trace in ledger::chunk::list_notable_traces(&mut **tx, run.id, MAX_LINKS).await? {
            telemetry::link(&span, &trace);
        }
    }
    tracing::info!(status = status.as_str(), "run finished");
    let ended_well = ended_well(status);
    if ended_well && matches!(run.run_type, RunType::Full | RunType::Backfill) {
        ledger::inbox::mark_backfilled(&mut **tx, run.id).await?;
        ledger::privacy::record_policy_applied(tx, run.id).await?;
    }
    if ended_well && run.run_type == RunType::Verify {
        ledger::verification::conclude(&mut **tx, run.id).await?;
    }
    if !run.run_type.moves_watermark() {
        return Ok(status);
    }
    if !ended_well {
        ledger::watermark::record_failure(&mut **tx, run.tenant_id).await?;
        return Ok(status);
    }
    if let Some(end) = run.watermark_end
        && run.watermark_start != Some(end)
    {
        let step = Advance {
            tenant_id: run.tenant_id,
            old: run.watermark_start,
            new: end,
        };
        let moved = ledger::watermark::advance(tx, &[step], Mover::Run(run.id)).await?;
        if moved.is_empty() {
            tracing::warn!("watermark not advanced: it was moved while the run was open");
        }
    }
    ledger::watermark::record_run_compared(&mut **tx, run.id).await?;
    ledger::watermark::record_success(&mut **tx, &[run.tenant_id]).await?;
    Ok(status)
}
