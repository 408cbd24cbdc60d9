//! Plans requested runs.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::run::ClaimedRun;
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_runtime::telemetry;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_runtime::wake::Wakes;
use tidemark_shared::ids::RunId;
use tidemark_shared::job::TraceContext;
use tidemark_shared::run::RunRequest;
use tidemark_shared::tenant::Tenant;
use tracing::{Instrument, Span};

use crate::loops::write_plan::{insert_chunks, log_planned};
use crate::metrics::{self, PlanOutcome};
use crate::planning::backfill::{record_name_changes, record_upgrade};
use crate::planning::error::PlanError;
use crate::planning::plan::Plan;
use crate::planning::planner::Planner;

/// How long a claim for planning is valid without renewal. When a producer dies while planning, its run waits this long.
const PLANNING_CLAIM: Duration = Duration::from_secs(15);
/// Runs planned side by side. Each uses one session of its source.
const PLANS_AT_ONCE: usize = 4;

/// The loop over requested runs.
#[derive(Debug)]
pub struct RequestPlanner {
    planner: Planner,
    instance: String,
    wakes: Wakes,
    only: Option<Vec<RunId>>,
}

impl RequestPlanner {
    /// `only` restricts it to these runs (`--local`).
    #[must_use]
    pub const fn new(planner: Planner, instance: String, wakes: Wakes, only: Option<Vec<RunId>>) -> Self {
        Self {
            planner,
            instance,
            wakes,
            only,
        }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        // a command plans no more runs than it has
        let count = self
            .only
            .as_ref()
            .map_or(PLANS_AT_ONCE, |only| PLANS_AT_ONCE.min(only.len()));
        let planners = std::iter::repeat_with(|| self.plan_requests(&lifecycle)).take(count);
        futures::future::join_all(planners).await;
    }

    async fn plan_requests(&self, lifecycle: &Lifecycle) {
        let tick = self.planner.settings.tick;
        let mut ticker = Ticker::new("requests", tick, lifecycle).woken_by(&self.wakes.request);
        while ticker.next_turn().await {
            ticker.ended(self.tick().await);
        }
    }

    /// Plans one requested run, if there is one.
    async fn tick(&self) -> Result<Turn, DbError> {
        let claimed = ledger::run::claim_requested(
            &self.planner.db,
            &self.instance,
            PLANNING_CLAIM,
            self.only.as_deref(),
        )
        .await?;
        let Some(run) = claimed else {
            if let Some(only) = &self.only {
                // an earlier process may have planned the runs of this command already
                self.wakes.dispatch.notify_one();
                only.iter().for_each(|run| self.wakes.may_be_complete(*run));
            }
            return Ok(Turn::Done);
        };
        let span = tracing::info_span!("plan", tenant.id = %run.tenant_id, run.id = %run.id);
        telemetry::set_parent(&span, &TraceContext::of_run(run.traceparent.clone()));
        self.plan(&run).instrument(span).await?;
        Ok(Turn::More)
    }

    async fn plan(&self, run: &ClaimedRun) -> Result<(), DbError> {
        let request = match RunRequest::read(run.request.0.clone()) {
            Ok(request) => request,
            Err(error) => return self.fail(run, &report(&error)).await,
        };
        let outcome = match ledger::tenant::find(&self.planner.db, run.tenant_id).await? {
            Some(tenant) => {
                let plan = self.planner.plan(&tenant, run.run_type, &request);
                tokio::select! {
                    plan = plan => plan.map(|plan| (tenant, plan)),
                    () = self.renew_claim(run) => {
                        tracing::warn!("plan dropped: the claim was lost or the run was cancelled");
                        return Ok(());
                    }
                }
            }
            // removed after the request
            None => return self.fail(run, "the tenant was removed").await,
        };
        if let Err(error) = &outcome {
            telemetry::record_failure(&Span::current(), error);
        }
        match outcome {
            Ok((tenant, plan)) => self.write(run, &tenant, &plan).await,
            // the ledger is unavailable: the claim expires, and then the run is planned again
            Err(PlanError::Ledger(error)) if error.is_temporary() => Err(error),
            Err(error) if error.is_unavailable() => self.postpone(run, &report(&error)).await,
            Err(error) => self.fail(run, &report(&error)).await,
        }
    }

    /// Renews the claim during planning; returns when the claim is lost.
    async fn renew_claim(&self, run: &ClaimedRun) {
        loop {
            tokio::time::sleep(PLANNING_CLAIM / 3).await;
            // planning may take long; the statement timeout of the source limits it
            pulse::beat();
            // an error is ignored: the next renewal tries again, and a plan with a lost claim is not written
            if let Ok(false) =
                ledger::run::renew_planning(&self.planner.db, run.id, &self.instance, PLANNING_CLAIM).await
            {
                return;
            }
        }
    }

    async fn write(&self, run: &ClaimedRun, tenant: &Tenant, plan: &Plan) -> Result<(), DbError> {
        let mut tx = self.planner.db.begin().await.attempt("begin a transaction")?;
        insert_chunks(&mut tx, &[(run.id, tenant.id, plan, &Span::current())]).await?;
        if !ledger::run::start_planned(&mut tx, run.id, &self.instance, &plan.record).await? {
            tracing::warn!("plan dropped: the claim was lost or the run was cancelled");
            return tx.rollback().await.attempt("roll the plan back");
        }
        record_name_changes(&mut tx, tenant.id, &plan.names).await?;
        record_upgrade(&mut tx, tenant.id, &tenant.source, plan.upgrade.as_ref()).await?;
        tx.commit().await.attempt("write the plan")?;
        log_planned(&plan.record);
        let nothing = plan.chunks.is_empty();
        metrics::count_plans(
            if nothing {
                PlanOutcome::Nothing
            } else {
                PlanOutcome::Work
            },
            1,
        );
        self.wakes.request.notify_one();
        self.wakes.dispatch.notify_one();
        self.wakes.may_be_complete(run.id);
        Ok(())
    }

    /// The source is unavailable: the run is planned again when the claim expires.
    async fn postpone(&self, run: &ClaimedRun, error: &str) -> Result<(), DbError> {
        tracing::warn!(error, "run not planned yet, its source is unavailable");
        ledger::run::record_planning_error(&self.planner.db, run.id, &self.instance, error).await
    }

    async fn fail(&self, run: &ClaimedRun, error: &str) -> Result<(), DbError> {
        tracing::error!(error, "run not planned");
        metrics::count_plans(PlanOutcome::Failed, 1);
        if ledger::run::fail_planning(&self.planner.db, run.id, &self.instance, error).await?
            && run.run_type.moves_watermark()
        {
            ledger::watermark::record_failures(&self.planner.db, &[run.tenant_id]).await?;
        }
        Ok(())
    }
}
