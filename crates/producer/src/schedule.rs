//! Starts runs of tenants that are due, and backfills. A tenant for which nothing changed gets no run: its watermark just
//! advances.

use futures::StreamExt;
use tidemark_shared::db::watermark::Mover;
use tidemark_shared::db::{self, Attempt, DbError};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::lifecycle::Lifecycle;
use tidemark_shared::pulse;
use tidemark_shared::report::report;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::telemetry;
use tidemark_shared::tenant::Tenant;
use tokio::sync::Notify;
use tracing::{Instrument, Span};

use crate::backfill::{PAUSE_AFTER_FAILURE, ask_for_due, write_names};
use crate::metrics::{self, Planned};
use crate::plan::{Plan, PlanError, Planner};
use crate::request::log_planned;
use crate::wake::{Wakes, pause};

/// Tenants taken at once; what is left is due at the next look, or for another producer.
const DUE_AT_ONCE: i64 = 32;
/// Plans side by side: each holds a session of its source.
const PLANS_AT_ONCE: usize = 4;

/// The loop over due tenants.
#[derive(Debug)]
pub struct Scheduler {
    planner: Planner,
    wakes: Wakes,
}

impl Scheduler {
    #[must_use]
    pub const fn new(planner: Planner, wakes: Wakes) -> Self {
        Self { planner, wakes }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        // nothing wakes it early: tenants become due by the clock
        let never = Notify::new();
        loop {
            match self.tick().await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(error = %report(&error), "due tenants not looked at"),
            }
            if !pause(&never, self.planner.settings.tick, &lifecycle).await {
                return;
            }
        }
    }

    /// Plans the tenants that are due; returns how many there were.
    async fn tick(&self) -> Result<usize, DbError> {
        let backfills = ask_for_due(&self.planner.db, None, PAUSE_AFTER_FAILURE).await?;
        if !backfills.is_empty() {
            self.wakes.request.notify_one();
        }
        let due = db::watermark::claim_due(&self.planner.db, DUE_AT_ONCE).await?;
        let count = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(PLANS_AT_ONCE, |tenant| {
                let span = tracing::info_span!("run", tenant.id = %tenant, run.id = tracing::field::Empty);
                async move {
                    // a turn with many tenants is long
                    pulse::beat();
                    if let Err(error) = self.plan(tenant).await {
                        tracing::warn!(error = %report(&error), "tenant not planned, it is due again after its interval");
                    }
                }
                .instrument(span)
            })
            .await;
        Ok(count)
    }

    async fn plan(&self, id: TenantId) -> Result<(), DbError> {
        let Some(tenant) = db::tenant::find(&self.planner.db, id).await? else {
            return Ok(());
        };
        let span = tracing::info_span!("plan", tenant.id = %id);
        let planned = self
            .planner
            .plan(&tenant, RunType::Incremental, &RunRequest::default())
            .instrument(span)
            .await;
        match planned {
            Ok(plan) if plan.chunks.is_empty() => self.advance(&tenant, &plan).await,
            Ok(plan) => self.write(&tenant, &plan).await,
            Err(PlanError::Ledger(error)) => Err(error),
            Err(error) => self.fail(&tenant, &report(&error)).await,
        }
    }

    async fn advance(&self, tenant: &Tenant, plan: &Plan) -> Result<(), DbError> {
        let record = &plan.record;
        let mut tx = self.planner.db.begin().await.attempt("begin a transaction")?;
        if let Some(end) = record.watermark_end
            && db::run::find_open(&mut *tx, tenant.id).await?.is_none()
        {
            let mover = Mover::Actor {
                actor: "scheduler",
                reason: "nothing changed",
            };
            db::watermark::advance(&mut tx, tenant.id, record.watermark_start, end, mover).await?;
        }
        write_names(&mut tx, tenant.id, &plan.names).await?;
        db::watermark::succeeded(&mut *tx, tenant.id).await?;
        tx.commit().await.attempt("advance the watermark")?;
        metrics::planned(Planned::Nothing);
        Ok(())
    }

    async fn write(&self, tenant: &Tenant, plan: &Plan) -> Result<(), DbError> {
        let span = Span::current();
        let context = telemetry::context_of(&span);
        let trace_id = telemetry::trace_id(&span);
        let mut tx = self.planner.db.begin().await.attempt("begin a transaction")?;
        let run: Option<RunId> = db::run::insert_running(
            &mut tx,
            tenant.id,
            plan.run_type,
            &plan.record,
            trace_id.as_deref(),
            context.traceparent.as_deref(),
        )
        .await?;
        // somebody asked for a run meanwhile: that one plans by itself
        let Some(run) = run else {
            return tx.rollback().await.attempt("roll the plan back");
        };
        db::chunk::insert_all(
            &mut tx,
            run,
            tenant.id,
            plan.run_type.lane(),
            &plan.chunks,
            &context,
        )
        .await?;
        write_names(&mut tx, tenant.id, &plan.names).await?;
        tx.commit().await.attempt("write the plan")?;
        span.record("run.id", tracing::field::display(run));
        log_planned(&plan.record);
        metrics::planned(Planned::Work);
        self.wakes.dispatch.notify_one();
        Ok(())
    }

    async fn fail(&self, tenant: &Tenant, error: &str) -> Result<(), DbError> {
        tracing::error!(error, "run not planned");
        metrics::planned(Planned::Failed);
        let span = Span::current();
        let (trace_id, context) = (telemetry::trace_id(&span), telemetry::context_of(&span));
        db::run::insert_failed(
            &self.planner.db,
            tenant.id,
            RunType::Incremental,
            error,
            trace_id.as_deref(),
            context.traceparent.as_deref(),
        )
        .await?;
        db::watermark::failed(&self.planner.db, tenant.id).await
    }
}
