//! Cancels runs, and retries their dead and cancelled chunks.

use tidemark_ledger as ledger;
use tidemark_ledger::cancel::Cancelled;
use tidemark_ledger::retry::Retried;
use tidemark_ledger::run::Requested;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunReport, RunRequest};

use crate::error::OperationResult;
use crate::refusal::Refusal;
use crate::run_requests::{load_ready, request};

/// Loads the report of a run that must exist.
pub async fn load(db: &DbPool, id: RunId) -> OperationResult<RunReport> {
    let found = ledger::run::reports(db, &[id]).await?.pop();
    Ok(found.ok_or(Refusal::UnknownRun(id))?)
}

/// The chunks of a cancelled run that had not ended.
#[derive(Debug, Clone, Copy)]
pub struct CancelledChunks {
    /// No worker had started them.
    pub waiting: i64,
    /// Their workers drop them at the next renewal of their leases.
    pub running: i64,
}

pub async fn cancel(
    db: &DbPool,
    actor: &Actor,
    id: RunId,
    reason: Option<&str>,
) -> OperationResult<CancelledChunks> {
    match ledger::cancel::run(db, actor, id, reason).await? {
        Cancelled::Now { waiting, running, .. } => Ok(CancelledChunks { waiting, running }),
        Cancelled::Ended(_, status) => Err(Refusal::RunEnded { run: id, status }.into()),
        Cancelled::Unknown => Err(Refusal::UnknownRun(id).into()),
    }
}

#[derive(Debug, Clone, Copy)]
pub enum RetriedRun {
    /// Chunks of the run are due again; `left` others stay dead or cancelled.
    SameRun { chunks: u64, left: i64 },
    /// The run had ended before it had chunks, and was requested again as another one.
    NewRun {
        tenant_id: TenantId,
        requested: Requested,
    },
}

/// Retries all dead and cancelled chunks of a run, or only chunk `seq`.
pub async fn retry(db: &DbPool, actor: &Actor, id: RunId, seq: Option<i32>) -> OperationResult<RetriedRun> {
    let refusal = match ledger::retry::retry(db, actor, id, seq).await? {
        Retried::Again { chunks, left } => return Ok(RetriedRun::SameRun { chunks, left }),
        Retried::NeverPlanned {
            tenant_id,
            run_type,
            request: stored,
        } => {
            let stored = RunRequest::read(stored).map_err(|error| Refusal::RequestUnreadable {
                run: id,
                error: report(&error),
            })?;
            let tenant = load_ready(db, tenant_id).await?;
            let reason = Some(format!("retry of run {id}"));
            let requested = request(db, actor, &tenant, run_type, reason, stored).await?;
            return Ok(RetriedRun::NewRun { tenant_id, requested });
        }
        Retried::Nothing(status) => match seq {
            Some(seq) => Refusal::ChunkNotDead { run: id, seq },
            None => Refusal::NothingToRetry { run: id, status },
        },
        Retried::OtherOpen => Refusal::OtherRunOpen(id),
        Retried::OtherSource(tenant) => Refusal::RunOfOtherSource { run: id, tenant },
        Retried::Unknown => Refusal::UnknownRun(id),
    };
    Err(refusal.into())
}
