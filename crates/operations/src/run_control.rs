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

use crate::error::{OperationError, OperationResult};
use crate::run_requests::{load_ready, request};

/// Loads the report of a run that must exist.
pub async fn load(db: &DbPool, id: RunId) -> OperationResult<RunReport> {
    let found = ledger::run::reports(db, &[id]).await?.pop();
    found.ok_or_else(|| unknown(id))
}

fn unknown(id: RunId) -> OperationError {
    OperationError::Invalid(format!(
        "there is no run {id}: `tidemark run list` shows those there are"
    ))
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
        Cancelled::Ended(_, status) => Err(OperationError::Invalid(format!(
            "run {id} has ended already ({}): nothing of it is left to cancel",
            status.as_str()
        ))),
        Cancelled::Unknown => Err(unknown(id)),
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
    let text = match ledger::retry::retry(db, actor, id, seq).await? {
        Retried::Again { chunks, left } => return Ok(RetriedRun::SameRun { chunks, left }),
        Retried::NeverPlanned {
            tenant_id,
            run_type,
            request: stored,
        } => {
            let stored = RunRequest::read(stored).map_err(|error| {
                OperationError::Invalid(format!(
                    "run {id} ended before it had chunks, and {}",
                    report(&error)
                ))
            })?;
            let tenant = load_ready(db, tenant_id).await?;
            let reason = Some(format!("retry of run {id}"));
            let requested = request(db, actor, &tenant, run_type, reason, stored).await?;
            return Ok(RetriedRun::NewRun { tenant_id, requested });
        }
        Retried::Nothing(status) => match seq {
            Some(seq) => format!(
                "chunk {id}/{seq} is neither dead nor cancelled: `tidemark chunk list --run {id}` shows those that are"
            ),
            None => format!(
                "run {id} ({}) has no dead or cancelled chunk: `tidemark sync` or `resync` takes its part again",
                status.as_str()
            ),
        },
        Retried::OtherOpen => format!(
            "run {id} stays as it is: its tenant has another run of the kind open, which takes the same; \
             `tidemark run list` shows it"
        ),
        Retried::OtherSource(tenant) => format!(
            "run {id} was planned from another source than the one that tenant {tenant} has now: \
             `tidemark sync --tenant {tenant}` plans from that one"
        ),
        Retried::Unknown => return Err(unknown(id)),
    };
    Err(OperationError::Invalid(text))
}
