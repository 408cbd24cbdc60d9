//! Closes runs all of whose chunks are terminal, and advances the watermarks of those that succeeded. A query, not a
//! counter: it may run anywhere, any number of times.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sqlx::Acquire;
use sqlx::postgres::PgTransaction;
use tidemark_broker::{Handler, Queue, Settle};
use tidemark_ledger as ledger;
use tidemark_ledger::run::CompleteRun;
use tidemark_ledger::watermark::{Advance, Mover};
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_runtime::telemetry;
use tidemark_shared::ids::RunId;
use tidemark_shared::job::{ChunkEvent, TraceContext};
use tidemark_shared::run::{CHUNKS_IN_ONE_TRACE, RunStatus, RunType};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Span;

use crate::metrics;
use tidemark_runtime::wake::{Failures, Wakes, pause};

/// Runs closed in one transaction.
const RUNS_AT_ONCE: i64 = 20;
/// From one look to the next at least.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Chunk traces that a large run's end links to; exporters cut off at 128.
const LINKS: i64 = 100;
/// Events wake the finalizer and carry nothing: many may be taken at once.
const EVENT_PREFETCH: u16 = 100;

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
        let mut failures = Failures::of("finalize");
        // a command's own runs are planned first, on all of the processors
        if self.only.is_some() && !pause(&self.wakes.finalize, self.tick, &lifecycle).await {
            return;
        }
        // of this round: those behind them have their turn first
        let mut refused = Vec::new();
        loop {
            pulse::beat();
            match self.tick(&mut refused).await {
                Ok(0) => failures.over(),
                Ok(_) if !lifecycle.soft().is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => failures.another(&error),
            }
            refused.clear();
            let looked_at = Instant::now();
            if !pause(&self.wakes.finalize, failures.pause(self.tick), &lifecycle).await {
                return;
            }
            // a fleet tells of hundreds of chunks a second
            tokio::time::sleep_until(looked_at + BETWEEN_LOOKS).await;
        }
    }

    /// Closes complete runs; returns how many it tried to. One that cannot be closed is left as it was, joins `refused`,
    /// and is not tried while it is in there.
    async fn tick(&self, refused: &mut Vec<RunId>) -> Result<usize, DbError> {
        let mut tx = self.db.begin().await.attempt("begin a transaction")?;
        let complete =
            ledger::run::lock_complete(&mut tx, RUNS_AT_ONCE, self.only.as_deref(), refused).await?;
        let mut finished = Vec::with_capacity(complete.len());
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
                }
                Err(error) => {
                    // fails too when it is the ledger that is away
                    step.rollback().await.attempt("leave the run open")?;
                    tracing::error!(run.id = %run.id, error = %report(&error), "run not closed, it is tried again");
                    refused.push(run.id);
                }
            }
        }
        tx.commit().await.attempt("close the runs")?;
        for (run_type, status) in finished {
            metrics::runs_finished(run_type, status, 1);
        }
        Ok(complete.len())
    }
}

async fn close(tx: &mut PgTransaction<'_>, run: &CompleteRun) -> Result<RunStatus, DbError> {
    let status = ledger::run::close(tx, run.id).await?;
    let span = Span::current();
    span.record("run.status", status.as_str());
    if usize::try_from(run.chunks_total).is_ok_and(|chunks| chunks > CHUNKS_IN_ONE_TRACE) {
        for trace in ledger::chunk::list_notable_traces(&mut **tx, run.id, LINKS).await? {
            telemetry::link(&span, &trace);
        }
    }
    tracing::info!(status = status.as_str(), "run finished");
    let ended_well = matches!(status, RunStatus::Success | RunStatus::Partial);
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
            tracing::warn!("watermark not advanced: it was moved while the run was under way");
        }
    }
    ledger::watermark::record_run_compared(&mut **tx, run.id).await?;
    ledger::watermark::record_success(&mut **tx, &[run.tenant_id]).await?;
    Ok(status)
}

/// Wakes finalizer and dispatcher whenever a chunk has ended somewhere in the fleet, and through `others` the dispatchers of
/// other processes.
pub async fn listen(queue: Arc<dyn Queue>, wakes: Wakes, others: Option<DbPool>, lifecycle: Lifecycle) {
    let ended = Arc::new(Notify::new());
    let handler: Handler<ChunkEvent> = {
        let ended = Arc::clone(&ended);
        Arc::new(move |_| {
            wakes.finalize.notify_one();
            wakes.dispatch.notify_one();
            ended.notify_one();
            async { Settle::Ack }.boxed()
        })
    };
    let telling = async {
        if let Some(db) = others {
            notify_capacity(&db, &ended, &lifecycle).await;
        }
    };
    tokio::join!(
        queue.consume_events(EVENT_PREFETCH, lifecycle.soft().clone(), handler),
        telling
    );
}

/// Passes on that chunks have ended. Whoever does not hear of it looks at the next tick.
async fn notify_capacity(db: &DbPool, ended: &Notify, lifecycle: &Lifecycle) {
    let mut failures = Failures::of("notices of room");
    loop {
        tokio::select! {
            () = lifecycle.soft().cancelled() => return,
            () = ended.notified() => {}
        }
        match ledger::notice::notify_capacity(db).await {
            Ok(()) => failures.over(),
            Err(error) => failures.another(&error),
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
