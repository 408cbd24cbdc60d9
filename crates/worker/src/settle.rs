//! Records how an attempt ended: in the ledger, the metrics, the span and the log.

use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::chunk::ClaimedChunk;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::telemetry;
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::ids::ChunkId;
use tidemark_shared::run::RunType;
use tracing::Span;

use crate::disposition::{AttemptCounts, Disposition, decide};
use crate::error::ExecuteError;
use crate::ledger_retry::retry_while_unavailable;
use crate::metrics::{self, Outcome};

/// Records a success. The load or the comparison has already completed the chunk in the ledger.
pub(crate) fn settle_done(claimed: &ClaimedChunk, counts: &ChunkCounts) {
    // a comparison moves no rows, and logs its own result
    if claimed.run_type != RunType::Verify {
        log_loaded(counts);
        metrics::rows(counts);
    }
    record_outcome(Outcome::Done);
}

/// Decides what happens to the failed chunk and writes it into the ledger.
pub(crate) async fn settle_failed(
    db: &DbPool,
    lifecycle: &Lifecycle,
    id: ChunkId,
    claimed: &ClaimedChunk,
    error: &ExecuteError,
) -> Result<(), DbError> {
    let text = report(error);
    let counts = AttemptCounts {
        attempts: claimed.attempt,
        failures: claimed.failure_count,
    };
    let disposition = decide(error, counts, rand::random());
    if !matches!(disposition, Disposition::Release | Disposition::Defer(_)) {
        telemetry::record_failure(&Span::current(), error);
    }
    record_outcome(disposition.outcome());
    log_failed(disposition, &text);
    retry_while_unavailable(lifecycle, || {
        write_disposition(db, id, claimed.attempt, disposition, &text)
    })
    .await
}

/// Writes the disposition into the ledger. Writing it twice is harmless.
async fn write_disposition(
    db: &DbPool,
    id: ChunkId,
    attempt: i32,
    disposition: Disposition,
    error: &str,
) -> Result<(), DbError> {
    match disposition {
        Disposition::Retry(after) => ledger::chunk::fail(db, id, attempt, error, Some(after))
            .await
            .map(drop),
        Disposition::Wait(after) | Disposition::Defer(after) => {
            ledger::chunk::postpone(db, id, attempt, error, after).await
        }
        Disposition::Dead => ledger::chunk::fail(db, id, attempt, error, None).await.map(drop),
        Disposition::FailRun => ledger::chunk::fail_run(db, id, attempt, error).await,
        Disposition::Release => ledger::chunk::release(db, id, attempt).await,
    }
}

/// Counts the outcome and puts it on the span.
pub(crate) fn record_outcome(outcome: Outcome) {
    metrics::attempted(outcome);
    Span::current().record("outcome", outcome.as_str());
}

fn log_failed(disposition: Disposition, error: &str) {
    match disposition {
        Disposition::Retry(after) => {
            tracing::warn!(
                error,
                retry_after_s = after.as_secs_f64(),
                "chunk failed, retrying later"
            );
        }
        Disposition::Wait(after) => {
            tracing::warn!(
                error,
                retry_after_s = after.as_secs_f64(),
                "server unavailable, chunk waits"
            );
        }
        Disposition::Defer(after) => {
            tracing::info!(
                reason = error,
                again_after_s = after.as_secs_f64(),
                "chunk deferred"
            );
        }
        Disposition::Dead => tracing::error!(error, "chunk is dead"),
        Disposition::FailRun => {
            tracing::error!(error, "chunk is dead, its run's waiting chunks are cancelled");
        }
        Disposition::Release => tracing::info!(reason = error, "chunk released"),
    }
}

fn log_loaded(counts: &ChunkCounts) {
    tracing::info!(
        extracted = counts.extracted,
        inserted = counts.inserted,
        updated = counts.updated,
        unchanged = counts.unchanged,
        stale = counts.stale,
        deleted = counts.deleted,
        rejected = counts.rejected,
        "chunk loaded"
    );
}
