//! Works on jobs: takes one that nobody works on, and acts on one item after the other.

use std::time::Duration;

use serde_json::json;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::bulk::{Bulk, DueItem, ItemStatus, Settled};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_shared::audit::{Action, ActionResult};
use tokio::sync::Notify;

use super::act::act;
use crate::error::{OperationError, OperationResult};

/// Without a sign for so long, another process takes the job. Every item is a sign, and so is a renewal. A process that is
/// only slow loses nothing but the job: it cannot end an item that another has.
const LEASE: Duration = Duration::from_secs(5);
/// While an item takes long.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a process looks for jobs of others that have stopped, if it knows of none. A process looks when it starts, too.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct BulkWorker {
    db: DbPool,
    /// The name of this process.
    worker: String,
}

impl BulkWorker {
    #[must_use]
    pub const fn new(db: DbPool, worker: String) -> Self {
        Self { db, worker }
    }

    /// Works on jobs until the soft stop. A wake says that one was started.
    pub async fn run(self, lifecycle: &Lifecycle, wake: &Notify) {
        let mut ticker = Ticker::new("bulk", LOOK_EVERY, lifecycle).woken_by(wake);
        while ticker.next_turn().await {
            let stopped = || lifecycle.soft().is_cancelled();
            let turn = self.turn(None, stopped).await;
            let is_done = matches!(turn, Ok(Turn::Done));
            ticker.ended(turn);
            if is_done && matches!(ledger::bulk::is_any_running(&self.db).await, Ok(true)) {
                // another process has a job: if that process dies, its lease ends
                tokio::select! {
                    () = tokio::time::sleep(LEASE) => {}
                    () = wake.notified() => {}
                    () = lifecycle.soft().cancelled() => {}
                }
                wake.notify_one();
            }
        }
        if let Err(error) = ledger::bulk::release(&self.db, &self.worker).await {
            tracing::debug!(error = %report(&error), "jobs not released");
        }
    }

    /// Works on a job, or only on this one, to its end.
    ///
    /// # Errors
    /// When the ledger does not answer; the next turn goes on.
    pub async fn turn(&self, only: Option<i64>, stopped: impl Fn() -> bool) -> OperationResult<Turn> {
        let Some(bulk) = ledger::bulk::claim(&self.db, &self.worker, LEASE, only).await? else {
            return Ok(Turn::Done);
        };
        while let Some(item) = ledger::bulk::next(&self.db, bulk.id).await? {
            if stopped() || !self.act_on(&bulk, &item).await? {
                return Ok(Turn::More);
            }
        }
        ledger::bulk::finish(&self.db, bulk.id, &self.worker).await?;
        tracing::info!(
            bulk.id,
            action = bulk.action,
            items = bulk.item_count,
            "action on many things ended"
        );
        Ok(Turn::More)
    }

    /// Acts on an item and ends it, both or neither. `false`: the job is another's now, or was stopped.
    async fn act_on(&self, bulk: &Bulk, item: &DueItem) -> OperationResult<bool> {
        let mut tx = self.db.begin().await.attempt("begin a transaction")?;
        let acted = tokio::select! {
            acted = act(&mut tx, bulk, item) => acted,
            lost = self.keep(bulk) => {
                lost?;
                tx.rollback().await.attempt("leave the item")?;
                return Ok(false);
            }
        };
        let settled = match acted {
            Ok(settled) => settled,
            Err(OperationError::Ledger(error)) if error.is_temporary() => return Err(error.into()),
            Err(error) => {
                let text = report(&error);
                tx.rollback().await.attempt("end the item")?;
                tx = self.db.begin().await.attempt("begin a transaction")?;
                self.record_failure(&mut tx, bulk, item, &text).await?
            }
        };
        let is_ours = ledger::bulk::settle(&mut tx, bulk.id, item.seq, &settled).await?
            && ledger::bulk::count(&mut tx, bulk.id, &self.worker, settled.status, LEASE).await?;
        if is_ours {
            tx.commit().await.attempt("end the item")?;
        } else {
            tx.rollback().await.attempt("leave the item")?;
        }
        Ok(is_ours)
    }

    /// Keeps the job while an item takes long. Ends when another process has it, or when it was stopped.
    async fn keep(&self, bulk: &Bulk) -> OperationResult<()> {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            if !ledger::bulk::renew(&self.db, bulk.id, &self.worker, LEASE).await? {
                return Ok(());
            }
        }
    }

    async fn record_failure(
        &self,
        tx: &mut sqlx::postgres::PgTransaction<'_>,
        bulk: &Bulk,
        item: &DueItem,
        error: &str,
    ) -> OperationResult<Settled> {
        let action = Action::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == bulk.action)
            .unwrap_or(Action::RunRequest);
        let mut entry = Entry::new(action)
            .tenant(item.tenant_id)
            .reason(bulk.reason.as_deref())
            .after(json!({"error": error}))
            .result(ActionResult::Failed);
        entry.subject = item.run_id.map(|run| format!("run {run}"));
        ledger::audit::record(&mut **tx, &bulk.author(), &entry).await?;
        Ok(Settled {
            status: ItemStatus::Failed,
            outcome: None,
            new_run: None,
            error: Some(error.to_owned()),
        })
    }
}
