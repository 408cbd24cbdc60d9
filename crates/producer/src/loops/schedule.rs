//! Starts runs of tenants that are due, backfills, and comparisons. A tenant for which nothing changed gets no run: its watermark just
//! advances.

use std::collections::{BTreeMap, HashSet};

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
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::RunType;
use tidemark_shared::tenant::Tenant;
use tokio::sync::Notify;
use tracing::{Instrument, Span};

use crate::loops::request::{chunk_context, log_planned};
use crate::metrics::{self, Planned};
use crate::planning::backfill::{PAUSE_AFTER_FAILURE, ask_for_due, write_names};
use crate::planning::planner::{Plan, Planner};
use tidemark_runtime::wake::{Failures, Wakes, pause};

/// Tenants taken at once, those of one source planned together; what is left is due at the next look, or for another
/// producer. A producer that dies meanwhile costs each of them an interval.
const DUE_AT_ONCE: i64 = 1_000;
/// Sources planned side by side: each gives one session.
const SOURCES_AT_ONCE: usize = 4;
/// Plans written side by side: each holds a connection of the ledger.
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
        // nothing wakes it early: tenants become due by the clock
        let never = Notify::new();
        let mut failures = Failures::of("schedule");
        loop {
            pulse::beat();
            match self.tick().await {
                Ok(0) => failures.over(),
                Ok(_) if !lifecycle.soft().is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => failures.another(&error),
            }
            let tick = failures.pause(self.planner.settings.tick);
            if !pause(&never, tick, &lifecycle).await {
                return;
            }
        }
    }

    /// Plans the tenants that are due; returns how many there were.
    async fn tick(&self) -> Result<usize, DbError> {
        let backfills = ask_for_due(&self.planner.db, None, PAUSE_AFTER_FAILURE).await?;
        let comparisons = crate::planning::verification::ask_for_due(&self.planner.db).await?;
        if !backfills.is_empty() || !comparisons.is_empty() {
            self.wakes.request.notify_one();
        }
        let due = ledger::watermark::claim_due(&self.planner.db, DUE_AT_ONCE).await?;
        let mut by_source: BTreeMap<String, Vec<TenantToPlan>> = BTreeMap::new();
        for ready in ledger::tenant::list_to_plan(&self.planner.db, &due).await? {
            by_source
                .entry(ready.tenant.source.clone())
                .or_default()
                .push(ready);
        }
        stream::iter(by_source)
            .for_each_concurrent(SOURCES_AT_ONCE, |(source, tenants)| async move {
                pulse::beat();
                self.plan(&source, tenants).await;
            })
            .await;
        Ok(due.len())
    }

    /// Plans tenants of one source: for those that have changed a run is written, the others' watermarks advance.
    async fn plan(&self, source: &str, tenants: Vec<TenantToPlan>) {
        let span = tracing::info_span!("plan tenants", source, tenants = tenants.len());
        let planning = telemetry::context_of(&span);
        // a plan may take long, and ends by the source's statement timeout
        let planning_all = self.planner.plan_together(source, tenants).instrument(span);
        let planned = pulse::beat_during(planning_all).await;
        let (mut idle, mut others, mut away) = (Vec::new(), Vec::new(), Vec::new());
        for (tenant, plan) in planned {
            match plan {
                Ok(plan) if plan.chunks.is_empty() => idle.push((tenant.id, plan)),
                Err(error) if error.is_unavailable() => {
                    away.push(error);
                }
                plan => others.push((tenant, plan)),
            }
        }
        if let Some(error) = away.first() {
            tracing::warn!(
                error = %report(&**error), source, tenants = away.len(),
                "tenants not planned, they are due again after their intervals"
            );
        }
        if let Err(error) = self.advance(&idle).await {
            tracing::warn!(
                error = %report(&error), tenants = idle.len(),
                "idle tenants not advanced, they are due again after their intervals"
            );
        }
        stream::iter(others)
            .for_each_concurrent(WRITES_AT_ONCE, |(tenant, plan)| {
                let span = tracing::info_span!(
                    parent: None, "run", tenant.id = %tenant.id, run.id = tracing::field::Empty,
                );
                telemetry::link(&span, &planning);
                async move {
                    // a turn with many tenants is long
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

    /// Lets the watermarks of tenants for which nothing changed go on. Those that somebody is busy with stay.
    async fn advance(&self, idle: &[(TenantId, Plan)]) -> Result<(), DbError> {
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
            write_names(&mut tx, *tenant, &plan.names).await?;
        }
        ledger::watermark::succeeded(&mut *tx, &locked).await?;
        let agreements: Vec<MatchedTotals> = idle.iter().filter_map(|(_, plan)| plan.agreement).collect();
        ledger::matched_totals::record(&mut *tx, &agreements).await?;
        let compared = idle.iter().filter(|(_, plan)| plan.record.compares_digests);
        let (tenants, versions): (Vec<TenantId>, Vec<i64>) = compared
            .map(|(tenant, plan)| (*tenant, plan.record.mapping_version))
            .unzip();
        ledger::watermark::digests_compared(&mut *tx, &tenants, &versions).await?;
        tx.commit().await.attempt("advance the watermarks")?;
        metrics::planned(Planned::Nothing, idle.len());
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
        // somebody asked for a run meanwhile, which plans by itself, or moved the tenant to another source
        let Some(run) = run else {
            return tx.rollback().await.attempt("roll the plan back");
        };
        ledger::chunk::insert_all(
            &mut tx,
            run,
            tenant.id,
            plan.run_type.lane(),
            &plan.chunks,
            &chunk_context(plan),
        )
        .await?;
        write_names(&mut tx, tenant.id, &plan.names).await?;
        tx.commit().await.attempt("write the plan")?;
        span.record("run.id", tracing::field::display(run));
        log_planned(&plan.record);
        metrics::planned(Planned::Work, 1);
        self.wakes.dispatch.notify_one();
        Ok(())
    }

    async fn fail(&self, tenant: &Tenant, error: &str) -> Result<(), DbError> {
        tracing::error!(error, "run not planned");
        metrics::planned(Planned::Failed, 1);
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
        ledger::watermark::failed(&self.planner.db, tenant.id).await
    }
}
