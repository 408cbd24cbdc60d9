//! The inboxes of a group of tenants.

use std::collections::BTreeMap;

use chrono::{NaiveDateTime, TimeDelta};
use tidemark_shared::ids::TenantId;

use crate::planning::covered::Covered;
use crate::planning::member::Member;

/// Inboxes of a group of tenants, as column arrays for the statements.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    pub ids: Vec<i32>,
    pub tenants: Vec<TenantId>,
    pub(super) fetched: Vec<bool>,
    pub since: Vec<Option<NaiveDateTime>>,
    pub(super) watermarks: Vec<Option<NaiveDateTime>>,
    pub(super) covered: Vec<Option<Covered>>,
}

impl Inboxes {
    pub(crate) fn of<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut inboxes = Self::default();
        for member in members {
            for id in &member.inboxes {
                inboxes.ids.push(*id);
                inboxes.tenants.push(member.tenant.id);
                inboxes.fetched.push(!member.unfetched.contains(id));
                inboxes.since.push(member.since);
                inboxes
                    .watermarks
                    .push(member.watermark.map(|watermark| watermark.naive_utc()));
                inboxes.covered.push(member.covered);
            }
        }
        inboxes
    }

    /// The earliest `since` of the tenants; `None` when no tenant has one.
    pub(crate) fn earliest(&self) -> Option<NaiveDateTime> {
        self.since.iter().flatten().copied().min()
    }

    /// After the watermark of every tenant and after what it has covered. Later times are cut to it, since chrono cannot hold
    /// all of them.
    pub(crate) fn latest(&self) -> Option<NaiveDateTime> {
        let after = |covered: &Covered| covered.until + TimeDelta::microseconds(1);
        let covered = self.covered.iter().flatten().map(after);
        let times = self.watermarks.iter().chain(&self.since).flatten().copied();
        times.chain(covered).max()
    }

    /// What all tenants with a `since` have covered.
    pub(super) fn covered_by_all(&self) -> Option<Covered> {
        let searched = self.since.iter().zip(&self.covered);
        let covered = searched
            .filter(|(since, _)| since.is_some())
            .map(|(_, covered)| *covered);
        covered.reduce(|one, other| Some(one?.and(other?))).flatten()
    }

    /// What each of the tenants has covered, where it is known.
    pub(crate) fn covered_by_tenant(&self) -> BTreeMap<TenantId, Covered> {
        let covered = self.tenants.iter().zip(&self.covered);
        covered
            .filter_map(|(tenant, covered)| Some((*tenant, (*covered)?)))
            .collect()
    }
}
