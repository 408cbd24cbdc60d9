//! A tenant of a group that is planned in one snapshot.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;

use crate::planning::error::PlanError;

/// One tenant of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub tenant: Tenant,
    pub run_type: RunType,
    pub watermark: Option<DateTime<Utc>>,
    /// How often in a row its runs have failed.
    pub consecutive_failures: i32,
    /// From when on changes are looked for; `None`: everything is taken.
    pub since: Option<NaiveDateTime>,
    /// Whether digests are compared, or what change signals name will do.
    pub compares_digests: bool,
    pub inboxes: Vec<i32>,
    /// Those whose history is left to a backfill, in the bulk lane: only what changes in them is taken.
    pub unfetched: Vec<i32>,
    pub chunk_size: i32,
    pub allow_mass_delete: bool,
    /// The target is asked even where an agreement could stand for it.
    pub always_reads_target: bool,
}

impl Member {
    /// `digest_interval` is how long a comparison of digests holds.
    ///
    /// # Errors
    /// When the tenant has no inboxes.
    pub(crate) fn new(
        ready: TenantToPlan,
        run_type: RunType,
        request: &RunRequest,
        digest_interval: Duration,
    ) -> Result<Self, PlanError> {
        let TenantToPlan {
            tenant,
            watermark,
            consecutive_failures,
            digests_age,
            inboxes,
            unfetched,
        } = ready;
        if inboxes.is_empty() {
            return Err(PlanError::NoInboxes(tenant.id, tenant.source));
        }
        // a tenant without a watermark gets everything
        let (run_type, since) = match (run_type, watermark) {
            (RunType::Incremental, Some(watermark)) => {
                (run_type, Some((watermark - tenant.lookback).naive_utc()))
            }
            (RunType::Incremental, None) => (RunType::Full, None),
            _ => (run_type, None),
        };
        Ok(Self {
            run_type,
            watermark,
            consecutive_failures,
            since,
            compares_digests: since.is_none() || digests_age.is_none_or(|age| age >= digest_interval),
            inboxes,
            unfetched: if since.is_some() { unfetched } else { Vec::new() },
            chunk_size: request.chunk_size.unwrap_or(tenant.chunk_size),
            allow_mass_delete: request.allow_mass_delete,
            always_reads_target: false,
            tenant,
        })
    }
}
