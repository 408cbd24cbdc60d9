//! One tenant of a group that is planned in one snapshot.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use tidemark_ledger::coverage::Coverage;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_shared::inbox::WaitingInbox;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;

use crate::planning::covered::Covered;
use crate::planning::error::PlanError;
use crate::planning::look_back::{look_back, recent_only};

/// A tenant, and the settings of its plan.
#[derive(Debug)]
pub(crate) struct Member {
    pub tenant: Tenant,
    pub run_type: RunType,
    pub watermark: Option<DateTime<Utc>>,
    /// Failed runs in a row.
    pub consecutive_failures: i32,
    /// What the source lacked at the last plan.
    pub absent_columns: Vec<String>,
    /// Changes after this instant are planned; `None` plans everything.
    pub since: Option<NaiveDateTime>,
    /// What earlier runs have covered.
    coverage: Option<Coverage>,
    /// The same in the ages of the plan's snapshot, once they are known.
    pub covered: Option<Covered>,
    /// Whether the plan searches only what is recent, after another one that searched the whole lookback.
    is_recent_only: bool,
    /// Whether digests are compared. Otherwise only conversations that change signals name are planned.
    pub compares_digests: bool,
    pub inboxes: Vec<i32>,
    /// Inboxes whose history waits for a backfill in the bulk lane: only their changes are planned.
    pub unfetched: Vec<i32>,
    pub chunk_size: i32,
    pub allow_mass_delete: bool,
    /// Reads the target even where the stored matched totals would do.
    pub always_reads_target: bool,
    /// Inboxes that the ledger has as gone from the source, and those of them with rows that wait for an operator.
    pub gone: Vec<i32>,
    pub waiting: Vec<WaitingInbox>,
    /// For the run that is planned.
    pub warnings: Vec<String>,
}

impl Member {
    /// `digest_interval`: how long the last comparison of digests stays valid.
    pub(crate) fn new(
        to_plan: TenantToPlan,
        run_type: RunType,
        request: &RunRequest,
        digest_interval: Duration,
    ) -> Result<Self, PlanError> {
        let TenantToPlan {
            tenant,
            watermark,
            consecutive_failures,
            absent_columns,
            digests_age,
            coverage,
            inboxes,
            unfetched,
            gone,
            waiting,
        } = to_plan;
        // the plan may find the first inboxes of an account
        if inboxes.is_empty() && tenant.discovered_account().is_none() {
            return Err(PlanError::NoInboxes(tenant.id, tenant.source));
        }
        // without a watermark everything is planned
        let (run_type, since) = match (run_type, watermark) {
            (RunType::Incremental, Some(watermark)) => {
                let whole = look_back(
                    watermark,
                    tenant.lookback,
                    tenant.sync_interval,
                    coverage.as_ref(),
                );
                (run_type, Some(whole.naive_utc()))
            }
            (RunType::Incremental, None) => (RunType::Full, None),
            _ => (run_type, None),
        };
        Ok(Self {
            run_type,
            watermark,
            consecutive_failures,
            absent_columns,
            since,
            coverage,
            covered: None,
            is_recent_only: false,
            // what may be deleted now may have been left alone by the last comparison
            compares_digests: since.is_none()
                || request.allow_mass_delete
                || digests_age.is_none_or(|age| age >= digest_interval),
            inboxes,
            unfetched: if since.is_some() { unfetched } else { Vec::new() },
            chunk_size: request.chunk_size.unwrap_or(tenant.chunk_size),
            allow_mass_delete: request.allow_mass_delete,
            always_reads_target: false,
            gone,
            waiting,
            warnings: Vec::new(),
            tenant,
        })
    }

    /// Replaces the inboxes by those of a newer mapping. A tenant that has moved to another source keeps its old mapping, and
    /// so its plan is not written.
    pub(crate) fn remap(&mut self, newer: TenantToPlan, digest_interval: Duration) {
        if newer.tenant.source != self.tenant.source {
            return;
        }
        self.compares_digests |= newer.digests_age.is_none_or(|age| age >= digest_interval);
        self.inboxes = newer.inboxes;
        self.unfetched = if self.since.is_some() {
            newer.unfetched
        } else {
            Vec::new()
        };
        if newer.tenant.mapping_version != self.tenant.mapping_version {
            self.coverage = None;
        }
        self.tenant = newer.tenant;
    }

    /// Decides how much of the lookback is searched, and what of that is covered. Ages are counted from `next_xid`; `now` is the
    /// source's clock. A run that an operator requests reads the lookback again.
    pub(crate) fn count_coverage(&mut self, epoch: i32, next_xid: i64, now: DateTime<Utc>) {
        let (Some(watermark), Some(since), Some(known)) = (self.watermark, self.since, self.coverage) else {
            return;
        };
        // a longer lookback begins earlier
        let has_all = known.since.is_none_or(|from| since >= from.naive_utc());
        if self.always_reads_target || known.epoch != epoch || !has_all {
            return;
        }
        self.covered = Some(Covered::new(&known, next_xid));
        if let Some(recent) = recent_only(
            watermark,
            self.tenant.lookback,
            self.tenant.sync_interval,
            &known,
            now,
        ) {
            self.since = Some(recent.naive_utc());
            self.is_recent_only = true;
        }
    }

    /// What the tenant's runs have covered when this plan's run has ended well; `snapshot` is the plan's. A plan that searches only
    /// what is recent leaves it as it is.
    pub(crate) fn coverage_after(&self, snapshot: Coverage) -> Coverage {
        self.coverage.filter(|_| self.is_recent_only).unwrap_or(Coverage {
            since: self.since.map(|since| since.and_utc()),
            ..snapshot
        })
    }

    /// Fails a member that has no inboxes.
    pub(crate) fn check_inboxes(&self) -> Result<(), PlanError> {
        match self.tenant.account_id {
            _ if !self.inboxes.is_empty() => Ok(()),
            Some(account) => Err(PlanError::NoAccountInboxes {
                tenant: self.tenant.id,
                account,
                source_name: self.tenant.source.clone(),
            }),
            None => Err(PlanError::NoInboxes(self.tenant.id, self.tenant.source.clone())),
        }
    }
}
