//! Plans runs: their keys, their chunks, and their next watermark.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::coverage::Coverage;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::ProducerSettings;
use tidemark_shared::fence::{FenceSample, WatermarkBounds, fence, horizon};
use tidemark_shared::inbox::WaitingInbox;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::{Shape, Source, SourceTx, Sources};

use crate::planning::discovery::discover_inboxes;
use crate::planning::error::PlanError;
use crate::planning::fence_sample::{SampleMode, standby_fence, take_sample};
use crate::planning::last_change::Ages;
use crate::planning::member::Member;
use crate::planning::plan::Plan;
use crate::planning::selection::plan_selection;
use crate::planning::signals::Signals;
use crate::planning::source_scan::scan_source;
use crate::planning::tenant_plan::build_plan;
use crate::planning::verification::plan_verification;

/// Plans runs of tenants.
#[derive(Debug, Clone)]
pub struct Planner {
    pub db: DbPool,
    pub sources: Arc<Sources>,
    pub settings: ProducerSettings,
}

/// The source snapshot of a plan, and how far it lets the watermark move.
pub(super) struct PlanSnapshot {
    pub(super) tx: SourceTx,
    shape: Shape,
    bounds: WatermarkBounds,
    epoch: i32,
}

impl Planner {
    /// Plans a run. Writes nothing but its fence sample.
    ///
    /// # Errors
    /// [`PlanError::is_unavailable`] separates errors that pass by themselves from errors that fail the run.
    pub async fn plan(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
    ) -> Result<Plan, PlanError> {
        let planned = self.plan_by_type(tenant, run_type, request).await;
        self.with_altered_columns(planned).await
    }

    /// Replaces an error of the target by one that names its altered columns, if there are any.
    pub(super) async fn with_altered_columns<T>(
        &self,
        outcome: Result<T, PlanError>,
    ) -> Result<T, PlanError> {
        let source = match outcome {
            Err(PlanError::Ledger(error)) if !error.is_temporary() => error,
            outcome => return outcome,
        };
        match ledger::target::changed_columns(&self.db).await {
            Ok(Some(changed)) => Err(PlanError::Target { changed, source }),
            Ok(None) | Err(_) => Err(source.into()),
        }
    }

    async fn plan_by_type(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
    ) -> Result<Plan, PlanError> {
        if run_type == RunType::Verify {
            let source = self.sources.get(&tenant.source)?;
            return plan_verification(&self.db, source, tenant, request).await;
        }
        if let Some(selection) = request.selection.as_ref().filter(|part| !part.is_everything()) {
            let source = self.sources.get(&tenant.source)?;
            return plan_selection(
                &self.db,
                source,
                tenant,
                run_type,
                request,
                selection,
                SampleMode::Store,
            )
            .await;
        }
        self.plan_whole(tenant, run_type, request, SampleMode::Store)
            .await
    }

    /// Plans a run to show it to an operator. Writes nothing at all.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn preview(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
    ) -> Result<Plan, PlanError> {
        let planned = match &request.selection {
            Some(selection) => {
                let source = self.sources.get(&tenant.source)?;
                plan_selection(
                    &self.db,
                    source,
                    tenant,
                    run_type,
                    request,
                    selection,
                    SampleMode::Discard,
                )
                .await
            }
            None => {
                self.plan_whole(tenant, run_type, request, SampleMode::Discard)
                    .await
            }
        };
        self.with_altered_columns(planned).await
    }

    async fn plan_whole(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
        mode: SampleMode,
    ) -> Result<Plan, PlanError> {
        let source = self.sources.get(&tenant.source)?;
        let mut to_plan = ledger::tenant::list_to_plan(&self.db, &[tenant.id]).await?;
        let to_plan = to_plan.pop().ok_or(PlanError::Removed(tenant.id))?;
        let mut member = Member::new(to_plan, run_type, request, self.settings.digest_interval)?;
        // an open run invalidates the matched totals, and a preview must show the real difference
        member.always_reads_target = true;
        let mut snapshot = self
            .open_snapshot(source, &format!("plan tenant {}", tenant.id), mode)
            .await?;
        let mut members = [member];
        let mut plans = self
            .plan_in_snapshot(source, &mut snapshot, &mut members, mode)
            .await?;
        snapshot.tx.finish().await;
        plans.pop().expect("a member has a plan")
    }

    /// Plans the members in one snapshot. An inner error concerns one tenant, the outer error all of them.
    pub(super) async fn plan_in_snapshot(
        &self,
        source: &Source,
        snapshot: &mut PlanSnapshot,
        members: &mut [Member],
        mode: SampleMode,
    ) -> Result<Vec<Result<Plan, PlanError>>, PlanError> {
        let mut signals = Signals::new(source, &snapshot.shape, &mut snapshot.tx);
        if mode == SampleMode::Store {
            discover_inboxes(&self.db, &mut signals, members, self.settings.digest_interval).await?;
        }
        let ages = read_ages(&mut signals, snapshot.epoch, members).await?;
        let members = &*members;
        let window = self.settings.message_edit_window;
        let scans = scan_source(&self.db, &mut signals, members, window, ages).await?;
        let mut plans = Vec::with_capacity(members.len());
        for (member, scan) in members.iter().zip(scans) {
            if let Err(error) = member.check_inboxes() {
                plans.push(Err(error));
                continue;
            }
            let coverage = member.coverage_after(Coverage {
                epoch: snapshot.epoch,
                xmin: signals.tx.snapshot().xmin,
                clock: signals.tx.snapshot().clock,
                since: None,
            });
            let plan = match build_plan(&self.db, &mut signals, snapshot.bounds, coverage, member, scan).await
            {
                Err(error @ (PlanError::MassDelete { .. } | PlanError::Empty { .. })) => Err(error),
                planned => Ok(planned?),
            };
            if let Ok(plan) = &plan
                && mode == SampleMode::Store
                && !same_rows(&plan.waiting, &member.waiting)
            {
                ledger::inbox::record_waiting(&self.db, source.name(), member.tenant.id, &plan.waiting)
                    .await?;
            }
            plans.push(plan);
        }
        // the warnings are about messages, and a run without chunks reads none
        if plans.iter().flatten().any(|plan| !plan.chunks.is_empty()) {
            let chunks = plans.iter().flatten().flat_map(|plan| &plan.chunks);
            let keys: Vec<i64> = chunks.flat_map(|chunk| chunk.spec.keys()).copied().collect();
            let warnings = source
                .shape_warnings(snapshot.tx.connection(), &snapshot.shape, &keys)
                .await;
            for (plan, member) in plans.iter_mut().zip(members) {
                if let Ok(plan) = plan {
                    plan.record.warnings = warnings.iter().chain(&member.warnings).cloned().collect();
                }
            }
        }
        Ok(plans)
    }

    /// Takes a fence sample, then the snapshot to plan from. When no older sample qualifies, waits up to `fence_wait` for
    /// the new one to qualify: the transactions that are open now are usually short.
    pub(super) async fn open_snapshot(
        &self,
        source: &Source,
        purpose: &str,
        mode: SampleMode,
    ) -> Result<PlanSnapshot, PlanError> {
        const RETRY: Duration = Duration::from_millis(50);
        let (epoch, observation) = take_sample(&self.db, source, mode).await?;
        let own = observation.sample;
        let give_up_at = tokio::time::Instant::now() + self.settings.fence_wait;
        loop {
            // read after our sample. It says nothing about samples that other producers take later
            let (oldest_open, mut tx) = source.begin_with_oldest_open(purpose).await?;
            let shape = source.check_catalog(tx.connection()).await?;
            let fence = match tx.replay() {
                Some(replay) => standby_fence(&replay),
                None => {
                    let horizon = horizon(oldest_open, tx.snapshot());
                    let kept = ledger::fence::find_qualifying(
                        &self.db,
                        source.name(),
                        epoch,
                        horizon,
                        own.sampled_at,
                    )
                    .await?;
                    let samples: Vec<FenceSample> = kept.into_iter().chain([own]).collect();
                    let fence = fence(&samples, horizon);
                    if fence.is_none() && tokio::time::Instant::now() < give_up_at {
                        tx.finish().await;
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                    fence
                }
            };
            let bounds = WatermarkBounds::new(fence, tx.snapshot(), self.settings.safety_lag);
            return Ok(PlanSnapshot {
                tx,
                shape,
                bounds,
                epoch,
            });
        }
    }
}

/// What the ages of rows are counted from, and with it what the members have covered. `None` where nothing is left out: a view
/// shows no versions, and a run that an operator requests reads the lookback again.
async fn read_ages(
    signals: &mut Signals<'_>,
    epoch: i32,
    members: &mut [Member],
) -> Result<Option<Ages>, PlanError> {
    if signals.shape.view().is_some() || members.iter().all(|member| member.always_reads_target) {
        return Ok(None);
    }
    let next_xid = signals.next_xid().await?;
    let now = signals.tx.snapshot().clock;
    for member in members {
        member.count_coverage(epoch, next_xid, now);
    }
    Ok(Some(Ages { epoch, next_xid }))
}

/// Whether as many rows of the same inboxes wait.
fn same_rows(some: &[WaitingInbox], others: &[WaitingInbox]) -> bool {
    let rows = |waiting: &[WaitingInbox]| -> BTreeMap<i32, i64> {
        waiting.iter().map(|inbox| (inbox.inbox_id, inbox.rows)).collect()
    };
    rows(some) == rows(others)
}
