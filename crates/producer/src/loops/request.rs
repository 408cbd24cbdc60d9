//! Plans the runs that somebody asked for.

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::run::{ClaimedRun, PlanRecord};
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_runtime::telemetry;
use tidemark_shared::ids::RunId;
use tidemark_shared::job::TraceContext;
use tidemark_shared::run::{CHUNKS_IN_ONE_TRACE, RunRequest};
use tidemark_shared::tenant::Tenant;
use tracing::{Instrument, Span};

use crate::metrics::{self, Planned};
use crate::planning::backfill::write_names;
use crate::planning::planner::{Plan, PlanError, Planner};
use tidemark_runtime::wake::{Failures, Wakes, pause};

/// How long a claim for planning holds without renewal: a producer that dies while planning delays its run by this.
const PLANNING_HOLD: Duration = Duration::from_secs(15);
/// Runs planned side by side: each holds a session of its source.
const PLANS_AT_ONCE: usize = 4;

/// The loop over requested runs.
#[derive(Debug)]
pub struct Requests {
    planner: Planner,
    instance: String,
    wakes: Wakes,
    only: Option<Vec<RunId>>,
}

impl Requests {
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
        // each begins on a connection of its own
        let count = self
            .only
            .as_ref()
            .map_or(PLANS_AT_ONCE, |only| PLANS_AT_ONCE.min(only.len()));
        let planners = std::iter::repeat_with(|| self.take_turns(&lifecycle)).take(count);
        futures::future::join_all(planners).await;
    }

    async fn take_turns(&self, lifecycle: &Lifecycle) {
        let mut failures = Failures::of("requests");
        loop {
            pulse::beat();
            match self.tick().await {
                Ok(true) if !lifecycle.soft().is_cancelled() => continue,
                Ok(_) => failures.over(),
                Err(error) => failures.another(&error),
            }
            let tick = failures.pause(self.planner.settings.tick);
            if !pause(&self.wakes.request, tick, lifecycle).await {
                return;
            }
        }
    }

    /// Plans one requested run, `false` when there is none.
    async fn tick(&self) -> Result<bool, DbError> {
        let claimed = ledger::run::claim_requested(
            &self.planner.db,
            &self.instance,
            PLANNING_HOLD,
            self.only.as_deref(),
        )
        .await?;
        let Some(run) = claimed else {
            if self.only.is_some() {
                // those that an earlier process has planned go on
                self.wakes.dispatch.notify_one();
                self.wakes.finalize.notify_one();
            }
            return Ok(false);
        };
        let span = tracing::info_span!("plan", tenant.id = %run.tenant_id, run.id = %run.id);
        telemetry::set_parent(&span, &TraceContext::of_run(run.traceparent.clone()));
        self.plan(&run).instrument(span).await?;
        Ok(true)
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
                    () = self.hold(run) => {
                        tracing::warn!("plan dropped: the claim was lost or the run cancelled meanwhile");
                        return Ok(());
                    }
                }
            }
            // removed between the request and now
            None => return self.fail(run, "the tenant was removed").await,
        };
        if let Err(error) = &outcome {
            telemetry::record_failure(&Span::current(), error);
        }
        match outcome {
            Ok((tenant, plan)) => self.write(run, &tenant, &plan).await,
            // the ledger is away: the claim runs out and the run is planned again
            Err(PlanError::Ledger(error)) if error.may_pass() => Err(error),
            Err(error) if error.is_unavailable() => self.postpone(run, &report(&error)).await,
            Err(error) => self.fail(run, &report(&error)).await,
        }
    }

    /// Renews the claim beside the planning; returns when it is lost.
    async fn hold(&self, run: &ClaimedRun) {
        loop {
            tokio::time::sleep(PLANNING_HOLD / 3).await;
            // a plan may take long, and ends by the source's statement timeout
            pulse::beat();
            // a ledger that does not answer just now is asked again; when the claim is lost, writing the plan fails
            if let Ok(false) =
                ledger::run::renew_planning(&self.planner.db, run.id, &self.instance, PLANNING_HOLD).await
            {
                return;
            }
        }
    }

    async fn write(&self, run: &ClaimedRun, tenant: &Tenant, plan: &Plan) -> Result<(), DbError> {
        let mut tx = self.planner.db.begin().await.attempt("begin a transaction")?;
        ledger::chunk::insert_all(
            &mut tx,
            run.id,
            tenant.id,
            plan.run_type.lane(),
            &plan.chunks,
            &chunk_context(plan),
        )
        .await?;
        if !ledger::run::start_planned(&mut tx, run.id, &self.instance, &plan.record).await? {
            tracing::warn!("plan dropped: the claim was lost or the run cancelled meanwhile");
            return tx.rollback().await.attempt("roll the plan back");
        }
        write_names(&mut tx, tenant.id, &plan.names).await?;
        tx.commit().await.attempt("write the plan")?;
        log_planned(&plan.record);
        let nothing = plan.chunks.is_empty();
        metrics::planned(if nothing { Planned::Nothing } else { Planned::Work }, 1);
        self.wakes.request.notify_one();
        self.wakes.dispatch.notify_one();
        self.wakes.finalize.notify_one();
        Ok(())
    }

    /// The source is away: the claim is left to run out, and then the run is planned again.
    async fn postpone(&self, run: &ClaimedRun, error: &str) -> Result<(), DbError> {
        tracing::warn!(error, "run not planned yet, its source is away");
        ledger::run::note_planning(&self.planner.db, run.id, &self.instance, error).await
    }

    async fn fail(&self, run: &ClaimedRun, error: &str) -> Result<(), DbError> {
        tracing::error!(error, "run not planned");
        metrics::planned(Planned::Failed, 1);
        if ledger::run::fail_planning(&self.planner.db, run.id, &self.instance, error).await?
            && run.run_type.moves_watermark()
        {
            ledger::watermark::failed(&self.planner.db, run.tenant_id).await?;
        }
        Ok(())
    }
}

/// Where the chunks of a plan go on: in the trace of this span, or, when they are many, each in one of its own.
pub(crate) fn chunk_context(plan: &Plan) -> TraceContext {
    if plan.chunks.len() > CHUNKS_IN_ONE_TRACE {
        return TraceContext::default();
    }
    telemetry::context_of(&Span::current())
}

pub(crate) fn log_planned(plan: &PlanRecord) {
    tracing::info!(
        chunks = plan.chunks_total,
        watermark.start = plan.watermark_start.map(tracing::field::display),
        watermark.end = plan.watermark_end.map(tracing::field::display),
        "run planned"
    );
}
