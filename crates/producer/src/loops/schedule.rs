//! Starts the runs, backfills and verifications that are due. A tenant without changes gets no run: only its watermark
//! advances.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tidemark_ledger as ledger;
use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::run::NewRunningRun;
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
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::loops::write_plan::{insert_chunks, log_planned};
use crate::metrics::{self, PlanOutcome};
use crate::planning::backfill;
use crate::planning::backfill::{PAUSE_AFTER_FAILURE, record_name_changes, record_upgrade};
use crate::planning::error::PlanError;
use crate::planning::plan::{Plan, Planned};
use crate::planning::planner::Planner;
use crate::planning::verification;

/// Tenants claimed in one turn. The rest stays due for the next turn or another producer. When a producer dies after the
/// claim, its tenants are due again after their intervals.
const DUE_AT_ONCE: i64 = 1_000;
/// Sources planned side by side. Each uses one session of its source.
const SOURCES_AT_ONCE: usize = 4;
/// The same for tenants whose last run failed.
const FAILING_AT_ONCE: usize = 2;
/// Plans written in one transaction, and their chunks. One plan may have more chunks.
const PLANS_AT_ONCE: usize = 100;
const CHUNKS_AT_ONCE: usize = 1_000;

/// The statements that find due backfills and verifications read all tenants. They get a twentieth of the time.
const PAUSE_OF_REQUESTS: u32 = 20;

/// The loop over due tenants.
#[derive(Debug)]
pub struct Scheduler {
    planner: Planner,
    wakes: Wakes,
}

/// Tenants of a source that are planned one after the other. Those whose last run failed are planned beside the others,
/// so that they delay none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    is_failing: bool,
    source: String,
}

impl Scheduler {
    #[must_use]
    pub const fn new(planner: Planner, wakes: Wakes) -> Self {
        Self { planner, wakes }
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        let mut ticker = Ticker::new("schedule", self.planner.settings.tick, &lifecycle);
        let permits = [SOURCES_AT_ONCE, FAILING_AT_ONCE].map(Semaphore::new);
        let mut busy = BTreeSet::new();
        let mut requests_due_at = Instant::now();
        let mut planning = FuturesUnordered::new();
        loop {
            let goes_on = tokio::select! {
                goes_on = ticker.next_turn() => goes_on,
                // the next tenants of this source need not wait for a tick
                Some(line) = planning.next() => {
                    busy.remove(&line);
                    !lifecycle.soft().is_cancelled()
                }
            };
            if !goes_on {
                break;
            }
            let claimed = async {
                if Instant::now() >= requests_due_at {
                    let began_at = Instant::now();
                    self.request_due().await?;
                    requests_due_at = Instant::now() + began_at.elapsed() * PAUSE_OF_REQUESTS;
                }
                self.claim(&busy).await
            };
            ticker.ended(claimed.await.map(|claimed| {
                let turn = if claimed.is_empty() {
                    Turn::Done
                } else {
                    Turn::More
                };
                for (line, tenants) in claimed {
                    busy.insert(line.clone());
                    let permits = &permits[usize::from(line.is_failing)];
                    planning.push(self.plan(line, tenants, permits));
                }
                turn
            }));
        }
        while planning.next().await.is_some() {}
    }

    /// Requests the backfills and verifications that are due.
    async fn request_due(&self) -> Result<(), DbError> {
        let db = &self.planner.db;
        let backfills = backfill::request_due(db, None, PAUSE_AFTER_FAILURE).await?;
        let verifications = verification::request_due(db).await?;
        if !backfills.is_empty() || !verifications.is_empty() {
            self.wakes.request.notify_one();
        }
        Ok(())
    }

    /// Claims tenants that are due, except those of lines that are busy.
    async fn claim(&self, busy: &BTreeSet<Line>) -> Result<BTreeMap<Line, Vec<TenantToPlan>>, DbError> {
        let db = &self.planner.db;
        let (failing, well): (Vec<&Line>, Vec<&Line>) = busy.iter().partition(|line| line.is_failing);
        let sources =
            |lines: &[&'_ Line]| -> Vec<String> { lines.iter().map(|line| line.source.clone()).collect() };
        let due = ledger::watermark::claim_due(db, DUE_AT_ONCE, &sources(&well), &sources(&failing)).await?;
        let mut by_line: BTreeMap<Line, Vec<TenantToPlan>> = BTreeMap::new();
        for to_plan in ledger::tenant::list_to_plan(db, &due).await? {
            let line = Line {
                is_failing: to_plan.consecutive_failures > 0,
                source: to_plan.tenant.source.clone(),
            };
            by_line.entry(line).or_default().push(to_plan);
        }
        Ok(by_line)
    }

    /// Plans tenants of one source, and writes the plans of each group before the next group is planned.
    async fn plan(&self, line: Line, tenants: Vec<TenantToPlan>, permits: &Semaphore) -> Line {
        let _permit = permits.acquire().await.expect("the semaphore is never closed");
        pulse::beat();
        let span = tracing::info_span!("plan tenants", source = line.source, tenants = tenants.len());
        let mut groups = self.planner.groups(&line.source, tenants);
        // planning may take long; the statement timeout of the source limits it
        while let Some(planned) = pulse::beat_during(groups.next().instrument(span.clone())).await {
            self.write_group(&line.source, planned, &span).await;
        }
        drop(groups);
        line
    }

    /// Writes a run for tenants with changes, and advances the watermarks of the others.
    async fn write_group(&self, source: &str, planned: Vec<Planned>, planning: &Span) {
        let (mut idle, mut to_write, mut failed, mut unavailable) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (tenant, plan) in planned {
            match plan {
                Ok(plan) if plan.chunks.is_empty() => idle.push((tenant.id, plan)),
                Ok(plan) => to_write.push(PlanToWrite::new(tenant, plan, planning)),
                // its account has none yet; `status` says so, and the next plan looks again
                Err(error) if error.has_no_inboxes() => {}
                Err(error) if error.is_unavailable() => {
                    unavailable.push((tenant.id, error));
                }
                Err(error) => failed.push((tenant, error)),
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
        let mut rest = to_write.as_slice();
        while !rest.is_empty() {
            // a turn with many tenants takes long
            pulse::beat();
            let (now, later) = rest.split_at(fitting(rest));
            self.write_or_warn(now).await;
            rest = later;
        }
        for (tenant, error) in failed {
            pulse::beat();
            let span = run_span(&tenant, planning);
            let failing = async {
                telemetry::record_failure(&Span::current(), &*error);
                if let Err(error) = self.fail(&tenant, &report(&*error)).await {
                    warn_not_written(&error);
                }
            };
            failing.instrument(span).await;
        }
    }

    /// Writes plans in one transaction, or each in its own where that fails.
    async fn write_or_warn(&self, plans: &[PlanToWrite]) {
        let Err(error) = self.write(plans).await else {
            return;
        };
        if plans.len() == 1 || error.is_unavailable() {
            for one in plans {
                one.span.in_scope(|| warn_not_written(&error));
            }
            return;
        }
        tracing::debug!(error = %report(&error), plans = plans.len(), "plans not written together, writing each alone");
        for one in plans {
            pulse::beat();
            if let Err(error) = self.write(std::slice::from_ref(one)).await {
                one.span.in_scope(|| warn_not_written(&error));
            }
        }
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
                    mapping_version: Some(plan.record.mapping_version),
                    coverage: plan.record.coverage,
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

    /// Writes plans of different tenants in one transaction: it has as many statements for one as for a hundred, except for
    /// what few plans need.
    async fn write(&self, plans: &[PlanToWrite]) -> Result<(), DbError> {
        let mut tx = self.planner.db.begin().await.attempt("begin a transaction")?;
        let runs: Vec<NewRunningRun<'_>> = plans.iter().map(PlanToWrite::run).collect();
        let runs: HashMap<TenantId, RunId> = ledger::run::insert_running(&mut tx, &runs)
            .await?
            .into_iter()
            .collect();
        // for the others a run was requested meanwhile, which gets its own plan, or the tenant moved to another source
        let written: Vec<(RunId, &PlanToWrite)> = plans
            .iter()
            .filter_map(|one| Some((*runs.get(&one.tenant.id)?, one)))
            .collect();
        if written.is_empty() {
            return tx.rollback().await.attempt("roll the plans back");
        }
        let chunks: Vec<_> = written
            .iter()
            .map(|(run, one)| (*run, one.tenant.id, &one.plan, &one.span))
            .collect();
        insert_chunks(&mut tx, &chunks).await?;
        for (_, PlanToWrite { tenant, plan, span }) in &written {
            record_name_changes(&mut tx, tenant.id, &plan.names)
                .instrument(span.clone())
                .await?;
            record_upgrade(&mut tx, tenant.id, &tenant.source, plan.upgrade.as_ref())
                .instrument(span.clone())
                .await?;
        }
        tx.commit().await.attempt("write the plans")?;
        for (run, one) in &written {
            one.span.record("run.id", tracing::field::display(run));
            one.span.in_scope(|| log_planned(&one.plan.record));
        }
        metrics::count_plans(PlanOutcome::Work, written.len());
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
        ledger::watermark::record_failures(&self.planner.db, &[tenant.id]).await
    }
}

/// A plan with work, and the span of its run.
struct PlanToWrite {
    tenant: Tenant,
    plan: Plan,
    span: Span,
}

impl PlanToWrite {
    fn new(tenant: Tenant, plan: Plan, planning: &Span) -> Self {
        Self {
            span: run_span(&tenant, planning),
            tenant,
            plan,
        }
    }

    fn run(&self) -> NewRunningRun<'_> {
        NewRunningRun {
            tenant_id: self.tenant.id,
            run_type: self.plan.run_type,
            plan: &self.plan.record,
            trace_id: telemetry::trace_id(&self.span),
            traceparent: telemetry::context_of(&self.span).traceparent,
        }
    }
}

/// The root span of a run's trace, which links to the span of the planning.
fn run_span(tenant: &Tenant, planning: &Span) -> Span {
    let span = tracing::info_span!(
        parent: None, "run", tenant.id = %tenant.id, run.id = tracing::field::Empty,
    );
    telemetry::link(&span, &telemetry::context_of(planning));
    span
}

/// How many of these plans one transaction writes, at least one.
fn fitting(plans: &[PlanToWrite]) -> usize {
    let mut chunks = 0;
    let fits = |one: &&PlanToWrite| {
        chunks += one.plan.chunks.len();
        chunks <= CHUNKS_AT_ONCE
    };
    plans.iter().take(PLANS_AT_ONCE).take_while(fits).count().max(1)
}

fn warn_not_written(error: &DbError) {
    tracing::warn!(error = %report(error), "plan not written, the tenant is due again after its interval");
}
