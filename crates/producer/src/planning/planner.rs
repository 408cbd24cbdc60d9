//! Plans runs: their keys, their chunks, and their next watermark.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::ProducerSettings;
use tidemark_shared::fence::{FenceSample, WatermarkBounds, fence, horizon};
use tidemark_shared::inbox::WaitingInbox;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::{Shape, Source, SourceTx, Sources};

use crate::planning::discovery::discover_inboxes;
use crate::planning::error::PlanError;
use crate::planning::fence_sample::{SampleMode, standby_fence, take_sample};
use crate::planning::member::Member;
use crate::planning::plan::{Plan, Planned};
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
struct PlanSnapshot {
    tx: SourceTx,
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
    async fn with_altered_columns<T>(&self, outcome: Result<T, PlanError>) -> Result<T, PlanError> {
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

    /// Plans incremental runs for tenants of one source, in as few snapshots as possible. When the rows of one tenant make a
    /// group fail, its two halves are planned again, so that the other tenants get their plans. A tenant without a watermark
    /// gets a full run.
    pub async fn plan_together(&self, source: &str, tenants: Vec<TenantToPlan>) -> Vec<Planned> {
        let mut planned = Vec::with_capacity(tenants.len());
        let mut members = Vec::with_capacity(tenants.len());
        for to_plan in tenants {
            let tenant = to_plan.tenant.clone();
            let digest_interval = self.settings.digest_interval;
            match Member::new(
                to_plan,
                RunType::Incremental,
                &RunRequest::default(),
                digest_interval,
            ) {
                Ok(member) => members.push(member),
                Err(error) => planned.push((tenant, Err(Arc::new(error)))),
            }
        }
        let source = match self.sources.get(source) {
            Ok(source) => source,
            Err(error) => {
                fail_group(members, error.into(), &mut planned);
                return planned;
            }
        };
        let mut groups = group_members(members);
        let mut was_overtaxed = false;
        while let Some(mut group) = groups.pop() {
            let purpose = match group.as_slice() {
                [member] => format!("plan tenant {}", member.tenant.id),
                many => format!("plan {} tenants", many.len()),
            };
            // no tenant's rows were read yet: the failure concerns all groups
            let mut snapshot = match self.open_snapshot(source, &purpose, SampleMode::Store).await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    group.extend(groups.into_iter().flatten());
                    fail_group(group, error, &mut planned);
                    break;
                }
            };
            let plans = self
                .plan_in_snapshot(source, &mut snapshot, &mut group, SampleMode::Store)
                .await;
            match self.with_altered_columns(plans).await {
                Ok(plans) => {
                    snapshot.tx.finish().await;
                    let tenants = group.into_iter().map(|member| member.tenant);
                    planned.extend(tenants.zip(plans.into_iter().map(|plan| plan.map_err(Arc::new))));
                }
                Err(error) if group.len() > 1 && error.may_be_caused_by_one_tenant() => {
                    tracing::warn!(error = %report(&error), tenants = group.len(), "group not planned, planning its halves");
                    groups.push(group.split_off(group.len() / 2));
                    groups.push(group);
                }
                Err(error) if error.is_source_overtaxed() && was_overtaxed => {
                    // the second failure of this kind: the source is slow or full, and not one tenant is large
                    group.extend(groups.into_iter().flatten());
                    fail_group(group, error, &mut planned);
                    break;
                }
                Err(error) => {
                    was_overtaxed |= error.is_source_overtaxed();
                    fail_group(group, error, &mut planned);
                }
            }
        }
        planned
    }

    /// Plans the members in one snapshot. An inner error concerns one tenant, the outer error all of them.
    async fn plan_in_snapshot(
        &self,
        source: &Source,
        snapshot: &mut PlanSnapshot,
        members: &mut [Member],
        mode: SampleMode,
    ) -> Result<Vec<Result<Plan, PlanError>>, PlanError> {
        let mut signals = Signals::begin(source, &snapshot.shape, &mut snapshot.tx).await?;
        if mode == SampleMode::Store {
            discover_inboxes(&self.db, &mut signals, members, self.settings.digest_interval).await?;
        }
        let members = &*members;
        let window = self.settings.message_edit_window;
        let scans = scan_source(&self.db, &mut signals, members, window, snapshot.epoch).await?;
        let mut plans = Vec::with_capacity(members.len());
        for (member, scan) in members.iter().zip(scans) {
            if let Err(error) = member.check_inboxes() {
                plans.push(Err(error));
                continue;
            }
            let plan = match build_plan(&self.db, &mut signals, snapshot.bounds, member, scan).await {
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
            let warnings = source
                .shape_warnings(snapshot.tx.connection(), &snapshot.shape)
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
    async fn open_snapshot(
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

/// Whether as many rows of the same inboxes wait.
fn same_rows(some: &[WaitingInbox], others: &[WaitingInbox]) -> bool {
    let rows = |waiting: &[WaitingInbox]| -> BTreeMap<i32, i64> {
        waiting.iter().map(|inbox| (inbox.inbox_id, inbox.rows)).collect()
    };
    rows(some) == rows(others)
}

/// Groups of tenants that are planned together; the last group is planned first. A tenant whose last run failed is planned
/// alone, so that it cannot fail the others again. Those with the fewest failures come first.
fn group_members(members: Vec<Member>) -> Vec<Vec<Member>> {
    let (well, mut failing): (Vec<Member>, Vec<Member>) = members
        .into_iter()
        .partition(|member| member.consecutive_failures == 0);
    failing.sort_by_key(|member| std::cmp::Reverse(member.consecutive_failures));
    let mut groups: Vec<Vec<Member>> = failing.into_iter().map(|member| vec![member]).collect();
    groups.extend((!well.is_empty()).then_some(well));
    groups
}

/// Gives every member of the group the same error.
fn fail_group(group: Vec<Member>, error: PlanError, planned: &mut Vec<Planned>) {
    let error = Arc::new(error);
    planned.extend(
        group
            .into_iter()
            .map(|member| (member.tenant, Err(Arc::clone(&error)))),
    );
}
