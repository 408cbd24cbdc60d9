//! Starts the runs, backfills and verifications that are due. A tenant without changes gets no run: only its watermark
//! advances.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use tidemark_ledger as ledger;
use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_ledger::watermark::{Advance, Mover};
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_runtime::telemetry;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_runtime::wake::Wakes;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::RunType;
use tidemark_shared::tenant::Tenant;
use tracing::{Instrument, Span};

use crate::loops::write_plan::{insert_chunks, log_planned};
use crate::metrics::{self, PlanOutcome};
use crate::planning::backfill;
use crate::planning::backfill::{PAUSE_AFTER_FAILURE, record_name_changes, record_upgrade};
use crate::planning::error::PlanError;
use crate::planning::plan::Plan;
use crate::planning::planner::Planner;
use crate::planning::verification;

/// Tenants claimed in one turn. The rest stays due for the next turn or another producer. When a producer dies after the
/// claim, its tenants are due again after their intervals.
const DUE_AT_ONCE: i64 = 1_000;
/// Sources planned side by side. Each uses one session of its source.
const SOURCES_AT_ONCE: usize = 4;
/// Plans written side by side. Each uses one connection to the ledger.
const WRITES_AT_ONCE: usize = 4;

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
        let mut ticker = Ticker::new("schedule", self.planner.settings.tick, &lifecycle);
        while ticker.next_turn().await {
            ticker.ended(self.tick().await);
        }
    }

    /// Plans the tenants that are due.
    async fn tick(&self) -> Result<Turn, DbError> {
        let backfills = backfill::request_due(&self.planner.db, None, PAUSE_AFTER_FAILURE).await?;
        let verifications = verification::request_due(&self.planner.db).await?;
        if !backfills.is_empty() || !verifications.is_empty() {
            self.wakes.request.notify_one();
        }
        let due = ledger::watermark::claim_due(&self.planner.db, DUE_AT_ONCE).await?;
        let mut by_source: BTreeMap<String, Vec<TenantToPlan>> = BTreeMap::new();
        for to_plan in ledger::tenant::list_to_plan(&self.planner.db, &due).await? {
            by_source
                .entry(to_plan.tenant.source.clone())
                .or_default()
                .push(to_plan);
        }
        stream::iter(by_source)
            .for_each_concurrent(SOURCES_AT_ONCE, |(source, tenants)| async move {
                pulse::beat();
                self.plan(&source, tenants).await;
            })
            .await;
        Ok(if due.is_empty() { Turn::Done } else { Turn::More })
    }

    /// Plans tenants of one source. Writes a run for tenants with changes, and advances the watermarks of the others.
    async fn plan(&self, source: &str, tenants: Vec<TenantToPlan>) {
        let span = tracing::info_span!("plan tenants", source, tenants = tenants.len());
        let planning = telemetry::context_of(&span);
        // planning may take long; the statement timeout of the source limits it
        let planning_all = self.planner.plan_together(source, tenants).instrument(span);
        let planned = pulse::beat_during(planning_all).await;
        let (mut idle, mut to_write, mut unavailable) = (Vec::new(), Vec::new(), Vec::new());
        for (tenant, plan) in planned {
            match plan {
                Ok(plan) if plan.chunks.is_empty() => idle.push((tenant.id, plan)),
                // its account has none yet; `status` says so, and the next plan looks again
                Err(error) if error.has_no_inboxes() => {}
                Err(error) if error.is_unavailable() => {
                    unavailable.push((tenant.id, error));
                }
                plan => to_write.push((tenant, plan)),
            }
        }
        if let Some((_, error)) = unavailable.first() {
            let error = report(&**error);
            self.record_plan_error(&unavailable, &error).await;
            tracing::warn!(
                error,
                source,
                tenants = unavailable.len(),
                "tenants not planned, they are due again after their intervals"
            );
        }
        if let Err(error) = self.advance(source, &idle).await {
            tracing::warn!(
                error = %report(&error), tenants = idle.len(),
                "idle tenants not advanced, they are due again after their intervals"
            );
        }
        stream::iter(to_write)
            .for_each_concurrent(WRITES_AT_ONCE, |(tenant, plan)| {
                let span = tracing::info_span!(
                    parent: None, "run", tenant.id = %tenant.id, run.id = tracing::field::Empty,
                );
                telemetry::link(&span, &planning);
                async move {
                    // a turn with many tenants takes long
                    pulse::beat();
                    let written = match plan {
                        Ok(plan) => self.write(&tenant, &plan).await,
                        Err(error) => {
                            telemetry::record_failure(&Span::current(), &*error);
                            self.fail(&tenant, &report(&*error)).await
                        }
                    };
                    if let Err(error) = written {
                        tracing::warn!(error = %report(&error), "plan not written, the tenant is due again after its interval");
                    }
                }
                .instrument(span)
            })
            .await;
    }

    /// The status shows why these tenants were not planned.
    async fn record_plan_error(&self, unplanned: &[(TenantId, Arc<PlanError>)], error: &str) {
        let tenants: Vec<TenantId> = unplanned.iter().map(|(tenant, _)| *tenant).collect();
        if let Err(error) = ledger::watermark::record_plan_error(&self.planner.db, &tenants, error).await {
            tracing::debug!(error = %report(&error), "reason not recorded");
        }
    }

    /// Advances the watermarks of tenants without changes, except tenants with an open run.
    async fn advance(&self, source: &str, idle: &[(TenantId, Plan)]) -> Result<(), DbError> {
        if idle.is_empty() {
            return Ok(());
        }
        let (tenants, versions): (Vec<TenantId>, Vec<i64>) = idle
            .iter()
            .map(|(tenant, plan)| (*tenant, plan.record.mapping_version))
            .unzip();
        let mut tx = self.planner.db.begin().await.attempt("begin a transaction")?;
        let locked = ledger::watermark::lock_idle(&mut tx, &tenants, &versions).await?;
        let is_locked: HashSet<TenantId> = locked.iter().copied().collect();
        let idle: Vec<&(TenantId, Plan)> = idle
            .iter()
            .filter(|(tenant, _)| is_locked.contains(tenant))
            .collect();
        let moves: Vec<Advance> = idle
            .iter()
            .filter_map(|(tenant, plan)| {
                Some(Advance {
                    tenant_id: *tenant,
                    old: plan.record.watermark_start,
                    new: plan.record.watermark_end?,
                })
            })
            .collect();
        let mover = Mover::Actor {
            actor: "scheduler",
            reason: "nothing changed",
        };
        ledger::watermark::advance(&mut tx, &moves, mover).await?;
        for (tenant, plan) in &idle {
            record_name_changes(&mut tx, *tenant, &plan.names).await?;
            record_upgrade(&mut tx, *tenant, source, plan.upgrade.as_ref()).await?;
        }
        ledger::watermark::record_success(&mut *tx, &locked).await?;
        let matched_totals: Vec<MatchedTotals> =
            idle.iter().filter_map(|(_, plan)| plan.matched_totals).collect();
        ledger::matched_totals::record(&mut *tx, &matched_totals).await?;
        let compared = idle.iter().filter(|(_, plan)| plan.record.compares_digests);
        let (tenants, versions): (Vec<TenantId>, Vec<i64>) = compared
            .map(|(tenant, plan)| (*tenant, plan.record.mapping_version))
            .unzip();
        ledger::watermark::record_digests_compared(&mut *tx, &tenants, &versions).await?;
        tx.commit().await.attempt("advance the watermarks")?;
        metrics::count_plans(PlanOutcome::Nothing, idle.len());
        Ok(())
    }

    async fn write(&self, tenant: &Tenant, plan: &Plan) -> Result<(), DbError> {
        let span = Span::current();
        let context = telemetry::context_of(&span);
        let trace_id = telemetry::trace_id(&span);
        let mut tx = self.planner.db.begin().await.attempt("begin a transaction")?;
        let run: Option<RunId> = ledger::run::insert_running(
            &mut tx,
            tenant.id,
            plan.run_type,
            &plan.record,
            trace_id.as_deref(),
            context.traceparent.as_deref(),
        )
        .await?;
        // meanwhile a run was requested, which gets its own plan, or the tenant moved to another source
        let Some(run) = run else {
            return tx.rollback().await.attempt("roll the plan back");
        };
        insert_chunks(&mut tx, run, tenant.id, plan).await?;
        record_name_changes(&mut tx, tenant.id, &plan.names).await?;
        record_upgrade(&mut tx, tenant.id, &tenant.source, plan.upgrade.as_ref()).await?;
        tx.commit().await.attempt("write the plan")?;
        span.record("run.id", tracing::field::display(run));
        log_planned(&plan.record);
        metrics::count_plans(PlanOutcome::Work, 1);
        self.wakes.dispatch.notify_one();
        Ok(())
    }

    async fn fail(&self, tenant: &Tenant, error: &str) -> Result<(), DbError> {
        tracing::error!(error, "run not planned");
        metrics::count_plans(PlanOutcome::Failed, 1);
        let span = Span::current();
        let (trace_id, context) = (telemetry::trace_id(&span), telemetry::context_of(&span));
        ledger::run::insert_failed(
            &self.planner.db,
            tenant.id,
            RunType::Incremental,
            error,
            trace_id.as_deref(),
            context.traceparent.as_deref(),
        )
        .await?;
        ledger::watermark::record_failure(&self.planner.db, tenant.id).await
    }
}
