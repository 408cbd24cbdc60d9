//! Plans the tenants of one source in groups: in as few snapshots as possible, and without the failure of one tenant
//! becoming the failure of another.

use std::sync::Arc;

use tidemark_ledger::tenant::TenantToPlan;
use tidemark_postgres::report::report;
use tidemark_shared::run::{RunRequest, RunType};

use crate::planning::error::PlanError;
use crate::planning::fence_sample::SampleMode;
use crate::planning::member::Member;
use crate::planning::plan::Planned;
use crate::planning::planner::Planner;

/// The groups of a source that are still to be planned.
#[derive(Debug)]
pub struct Groups<'a> {
    planner: &'a Planner,
    source: &'a str,
    /// The last group is planned first.
    waiting: Vec<Vec<Member>>,
    /// Tenants that need no source to fail.
    failed: Vec<Planned>,
    was_overtaxed: bool,
}

impl Planner {
    /// Plans incremental runs for tenants of one source, group by group: see [`Groups::next`]. A tenant without a
    /// watermark gets a full run.
    #[must_use]
    pub fn groups<'a>(&'a self, source: &'a str, tenants: Vec<TenantToPlan>) -> Groups<'a> {
        let mut failed = Vec::new();
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
                Err(error) => failed.push((tenant, Err(Arc::new(error)))),
            }
        }
        Groups {
            planner: self,
            source,
            waiting: group_members(members),
            failed,
            was_overtaxed: false,
        }
    }

    /// Plans all groups of these tenants.
    pub async fn plan_together(&self, source: &str, tenants: Vec<TenantToPlan>) -> Vec<Planned> {
        let mut groups = self.groups(source, tenants);
        let mut all = Vec::new();
        while let Some(planned) = groups.next().await {
            all.extend(planned);
        }
        all
    }
}

impl Groups<'_> {
    /// The tenants of the next group with their plans, in one snapshot. When the rows of one tenant make a group fail, its
    /// two halves are planned instead, so that the other tenants get their plans. `None` after the last group.
    pub async fn next(&mut self) -> Option<Vec<Planned>> {
        if !self.failed.is_empty() {
            return Some(std::mem::take(&mut self.failed));
        }
        let planner = self.planner;
        while let Some(mut group) = self.waiting.pop() {
            let source = match planner.sources.get(self.source) {
                Ok(source) => source,
                Err(error) => return Some(self.fail_all(group, error.into())),
            };
            let purpose = match group.as_slice() {
                [member] => format!("plan tenant {}", member.tenant.id),
                many => format!("plan {} tenants", many.len()),
            };
            let mut snapshot = match planner.open_snapshot(source, &purpose, SampleMode::Store).await {
                Ok(snapshot) => snapshot,
                // no tenant's rows were read yet: the failure concerns all groups
                Err(error) => return Some(self.fail_all(group, error)),
            };
            let plans = planner
                .plan_in_snapshot(source, &mut snapshot, &mut group, SampleMode::Store)
                .await;
            match planner.with_altered_columns(plans).await {
                Ok(plans) => {
                    snapshot.tx.finish().await;
                    let tenants = group.into_iter().map(|member| member.tenant);
                    return Some(
                        tenants
                            .zip(plans.into_iter().map(|plan| plan.map_err(Arc::new)))
                            .collect(),
                    );
                }
                Err(error) if group.len() > 1 && error.may_be_caused_by_one_tenant() => {
                    tracing::warn!(error = %report(&error), tenants = group.len(), "group not planned, planning its halves");
                    self.waiting.push(group.split_off(group.len() / 2));
                    self.waiting.push(group);
                }
                // the second failure of this kind: the source is slow or full, and not one tenant is large
                Err(error) if error.is_source_overtaxed() && self.was_overtaxed => {
                    return Some(self.fail_all(group, error));
                }
                Err(error) => {
                    self.was_overtaxed |= error.is_source_overtaxed();
                    return Some(fail(group, error));
                }
            }
        }
        None
    }

    /// Gives this group and all that wait the same error.
    fn fail_all(&mut self, mut group: Vec<Member>, error: PlanError) -> Vec<Planned> {
        group.extend(self.waiting.drain(..).flatten());
        fail(group, error)
    }
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
fn fail(group: Vec<Member>, error: PlanError) -> Vec<Planned> {
    let error = Arc::new(error);
    group
        .into_iter()
        .map(|member| (member.tenant, Err(Arc::clone(&error))))
        .collect()
}
