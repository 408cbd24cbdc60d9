//! One action on everything that matches: what is chosen is stored first, shown, and then acted upon one by one.

mod act;
mod choose;
mod filter;
mod worker;

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::DbResult;
use tidemark_ledger::bulk::{Bulk, BulkItem};
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;

use crate::error::OperationResult;
use crate::page::Page;
use crate::refusal::{NeedsReason, Refusal};

pub use self::choose::prepare;
pub use self::filter::BulkFilter;
pub use self::worker::BulkWorker;

/// More than so many have to be chosen in parts.
pub const MOST: usize = 10_000;

/// Items that the preview shows by their names.
const SAMPLE: i64 = 20;

/// What an action is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkSubject {
    Tenants,
    Runs,
    Chunks,
    /// Rejected conversations.
    Rejects,
}

/// What is done with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAction {
    TenantSync,
    TenantFull,
    TenantVerify,
    TenantPause,
    TenantResume,
    RunCancel,
    RunRetry,
    ChunkRetry,
    RejectResync,
}

impl BulkAction {
    pub const ALL: [Self; 9] = [
        Self::TenantSync,
        Self::TenantFull,
        Self::TenantVerify,
        Self::TenantPause,
        Self::TenantResume,
        Self::RunCancel,
        Self::RunRetry,
        Self::ChunkRetry,
        Self::RejectResync,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenantSync => "tenant.sync",
            Self::TenantFull => "tenant.full",
            Self::TenantVerify => "tenant.verify",
            Self::TenantPause => "tenant.pause",
            Self::TenantResume => "tenant.resume",
            Self::RunCancel => "run.cancel",
            Self::RunRetry => "run.retry",
            Self::ChunkRetry => "chunk.retry",
            Self::RejectResync => "reject.resync",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }

    #[must_use]
    pub const fn subject(self) -> BulkSubject {
        match self {
            Self::TenantSync
            | Self::TenantFull
            | Self::TenantVerify
            | Self::TenantPause
            | Self::TenantResume => BulkSubject::Tenants,
            Self::RunCancel | Self::RunRetry => BulkSubject::Runs,
            Self::ChunkRetry => BulkSubject::Chunks,
            Self::RejectResync => BulkSubject::Rejects,
        }
    }

    /// Whether it is done for a reason only, as the action on one thing is.
    #[must_use]
    pub const fn needs_reason(self) -> bool {
        matches!(self, Self::TenantPause | Self::RunCancel | Self::RejectResync)
    }
}

/// Why nothing was done with an item. The words are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    Paused,
    NotActive,
    NoInboxes,
    NotPaused,
    RunEnded,
    NothingToRetry,
    /// A run that does the same is open.
    AlreadyOpen,
    OtherSource,
    Removed,
}

impl Skip {
    pub const ALL: [Self; 9] = [
        Self::Paused,
        Self::NotActive,
        Self::NoInboxes,
        Self::NotPaused,
        Self::RunEnded,
        Self::NothingToRetry,
        Self::AlreadyOpen,
        Self::OtherSource,
        Self::Removed,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::NotActive => "not_active",
            Self::NoInboxes => "no_inboxes",
            Self::NotPaused => "not_paused",
            Self::RunEnded => "run_ended",
            Self::NothingToRetry => "nothing_to_retry",
            Self::AlreadyOpen => "already_open",
            Self::OtherSource => "other_source",
            Self::Removed => "removed",
        }
    }
}

/// How many items were skipped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    pub why: String,
    pub items: i64,
}

/// A job with some of its items. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BulkView {
    #[serde(flatten)]
    pub bulk: Bulk,
    pub skipped: Vec<Skipped>,
    pub sample: Vec<BulkItem>,
    pub failed: Vec<BulkItem>,
}

/// What a person types to confirm an action on many: the action and the number of items.
#[must_use]
pub fn confirmation(bulk: &Bulk) -> String {
    let verb = bulk.action.split('.').next_back().unwrap_or_default();
    format!("{verb} {}", bulk.left())
}

/// Loads a job that must exist.
pub async fn load(db: &DbPool, id: i64) -> OperationResult<Bulk> {
    Ok(ledger::bulk::find(db, id).await?.ok_or(Refusal::UnknownJob(id))?)
}

/// Loads a job with why items are skipped, the first of those that are not, and the first that failed.
pub async fn load_view(db: &DbPool, id: i64) -> OperationResult<BulkView> {
    let bulk = load(db, id).await?;
    Ok(view_of(db, bulk).await?)
}

/// The view of a job that was loaded.
pub async fn view_of(db: &DbPool, bulk: Bulk) -> DbResult<BulkView> {
    let id = bulk.id;
    let skipped = ledger::bulk::count_outcomes(db, id).await?;
    let sampled = match bulk.left() {
        0 => Some("done"),
        _ => Some("pending"),
    };
    Ok(BulkView {
        skipped: skipped
            .into_iter()
            .map(|(why, items)| Skipped { why, items })
            .collect(),
        sample: ledger::bulk::list_items(db, id, sampled, 0, SAMPLE).await?,
        failed: ledger::bulk::list_items(db, id, Some("failed"), 0, SAMPLE).await?,
        bulk,
    })
}

/// Jobs that were started, before the job `before`, newest first.
pub async fn list(db: &DbPool, before: Option<i64>, limit: i64) -> OperationResult<Page<Bulk, i64>> {
    let found = ledger::bulk::list(db, before, limit + 1).await?;
    Ok(Page::cut(found, limit, |bulk| bulk.id))
}

/// Starts a prepared job. Whoever works on jobs takes it then.
pub async fn start(db: &DbPool, actor: &Actor, id: i64, reason: Option<&str>) -> OperationResult<Bulk> {
    let prepared = load(db, id).await?;
    let action = BulkAction::parse(&prepared.action);
    let reason = reason
        .or(prepared.reason.as_deref())
        .map(str::trim)
        .filter(|reason| !reason.is_empty());
    if reason.is_none() && action.is_some_and(BulkAction::needs_reason) {
        return Err(Refusal::NeedsReason(NeedsReason::Job(prepared.action)).into());
    }
    if prepared.left() == 0 {
        return Err(Refusal::AllSkipped.into());
    }
    let started = ledger::bulk::start(db, actor, id, reason).await?;
    Ok(started.ok_or(Refusal::StartedAlready(id))?)
}

/// Ends a job before all its items. What was done stays. Returns whether it was running.
pub async fn stop(db: &DbPool, actor: &Actor, id: i64) -> OperationResult<bool> {
    load(db, id).await?;
    Ok(ledger::bulk::stop(db, actor, id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_found_by_its_name() {
        for action in BulkAction::ALL {
            assert_eq!(BulkAction::parse(action.as_str()), Some(action));
        }
    }
}
