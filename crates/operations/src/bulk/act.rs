//! The action on one item, in a transaction of the caller.

use serde_json::json;
use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::bulk::{Bulk, DueItem, ItemStatus, Settled};
use tidemark_ledger::cancel::Cancelled;
use tidemark_ledger::retry::Retried;
use tidemark_ledger::run::Requested;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::Selection;

use super::{BulkAction, Skip};
use crate::error::OperationResult;
use crate::refusal::Refusal;
use crate::run_requests::{self, Unready};

const DONE: Settled = Settled {
    status: ItemStatus::Done,
    outcome: None,
    new_run: None,
    error: None,
};

const fn skipped(why: Skip) -> Settled {
    Settled {
        status: ItemStatus::Skipped,
        outcome: Some(why.as_str()),
        ..DONE
    }
}

pub async fn act(tx: &mut PgTransaction<'_>, bulk: &Bulk, item: &DueItem) -> OperationResult<Settled> {
    let Some(action) = BulkAction::parse(&bulk.action) else {
        return Err(Refusal::UnknownAction(bulk.action.clone()).into());
    };
    let (actor, tenant) = (bulk.author(), item.tenant_id);
    let reason = bulk.reason.as_deref();
    match action {
        BulkAction::TenantPause => {
            let reason = reason.unwrap_or("paused with others");
            let paused = ledger::tenant_lifecycle::pause_in(tx, &actor, tenant, reason).await?;
            Ok(if paused { DONE } else { skipped(Skip::Removed) })
        }
        BulkAction::TenantResume => {
            let resumed = ledger::tenant_lifecycle::resume_in(tx, &actor, tenant).await?;
            Ok(if resumed { DONE } else { skipped(Skip::NotPaused) })
        }
        BulkAction::TenantSync => {
            request(tx, bulk, tenant, RunType::Incremental, RunRequest::default()).await
        }
        BulkAction::TenantFull => request(tx, bulk, tenant, RunType::Full, RunRequest::default()).await,
        BulkAction::TenantVerify => request(tx, bulk, tenant, RunType::Verify, RunRequest::default()).await,
        BulkAction::RejectResync => {
            let ids = item.conversation_ids.clone().ok_or(Refusal::ItemWithoutRun)?;
            let wanted = RunRequest {
                selection: Some(Selection::Ids { ids }),
                ..RunRequest::default()
            };
            request(tx, bulk, tenant, RunType::Resync, wanted).await
        }
        BulkAction::RunCancel => {
            let run = item.run_id.ok_or(Refusal::ItemWithoutRun)?;
            Ok(match ledger::cancel::run_in(tx, &actor, run, reason).await? {
                Cancelled::Now { .. } => DONE,
                Cancelled::Ended(..) => skipped(Skip::RunEnded),
                Cancelled::Unknown => skipped(Skip::Removed),
            })
        }
        BulkAction::RunRetry | BulkAction::ChunkRetry => {
            let run = item.run_id.ok_or(Refusal::ItemWithoutRun)?;
            retry(tx, bulk, &actor, run, item.chunk_seq).await
        }
    }
}

async fn retry(
    tx: &mut PgTransaction<'_>,
    bulk: &Bulk,
    actor: &Actor,
    run: RunId,
    seq: Option<i32>,
) -> OperationResult<Settled> {
    Ok(match ledger::retry::retry_in(tx, actor, run, seq).await? {
        Retried::Again { .. } => DONE,
        Retried::NeverPlanned {
            tenant_id,
            run_type,
            request: stored,
        } => {
            let stored = RunRequest::read(stored).map_err(|error| Refusal::ItemUnreadable {
                run,
                error: error.to_string(),
            })?;
            request(tx, bulk, tenant_id, run_type, stored).await?
        }
        Retried::Nothing(_) => skipped(Skip::NothingToRetry),
        Retried::OtherOpen => skipped(Skip::AlreadyOpen),
        Retried::OtherSource(_) => skipped(Skip::OtherSource),
        Retried::Unknown => skipped(Skip::Removed),
    })
}

async fn request(
    tx: &mut PgTransaction<'_>,
    bulk: &Bulk,
    tenant: TenantId,
    run_type: RunType,
    wanted: RunRequest,
) -> OperationResult<Settled> {
    let actor = bulk.author();
    let ready = match run_requests::find_ready(tx, tenant).await? {
        Ok(ready) => ready,
        Err(unready) => {
            let why = match unready {
                Unready::Removed => Skip::Removed,
                Unready::Paused => Skip::Paused,
                Unready::NotActive => Skip::NotActive,
                Unready::NoInboxes => Skip::NoInboxes,
            };
            let entry = Entry::new(Action::RunRequest)
                .tenant(tenant)
                .reason(bulk.reason.as_deref())
                .after(json!({"type": run_type.as_str(), "why": why.as_str()}))
                .result(ActionResult::Refused);
            ledger::audit::record(&mut **tx, &actor, &entry).await?;
            return Ok(skipped(why));
        }
    };
    let reason = bulk.reason.clone();
    let requested = run_requests::request_in(tx, &actor, &ready, run_type, reason, wanted).await?;
    Ok(match requested {
        Some(Requested::Created(run)) => Settled {
            new_run: Some(run),
            ..DONE
        },
        Some(Requested::Open(run)) => Settled {
            new_run: Some(run),
            ..skipped(Skip::AlreadyOpen)
        },
        // the tenant was removed while this waited for it
        None => skipped(Skip::Removed),
    })
}
