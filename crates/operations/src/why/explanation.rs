//! Decides which case a conversation is, and writes the sentence that explains it. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};

/// Columns with names of inboxes, accounts, users and teams: see [`tidemark_shared::selection::NameOf`].
const COPIED_NAMES: [&str; 7] = [
    "inbox_name",
    "inbox_channel_type",
    "inbox_timezone",
    "account_name",
    "assignee_name",
    "assignee_email",
    "team_name",
];

/// The place of the conversation at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InSource {
    /// In one of the tenant's inboxes.
    Here {
        inbox: i32,
        /// The inbox's history was loaded, by a backfill or by the first sync.
        fetched: bool,
    },
    /// In another inbox, or in one that cannot be read.
    Elsewhere {
        inbox: Option<i32>,
        owner: Owner,
    },
    Absent,
}

/// The owner of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    /// The tenant itself, before the inbox was unmapped.
    Unmapped,
    Tenant(TenantId),
}

/// The row in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InTarget {
    Live,
    Deleted { at: DateTime<Utc> },
    Absent,
}

/// The newest chunk that covers the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covering {
    pub id: ChunkId,
    pub status: ChunkStatus,
    pub run_type: RunType,
    pub error: Option<String>,
}

/// The reason why the conversation is rejected, as recorded by a run or as found now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub side: String,
    pub error: String,
    /// The chunk that recorded it; `None`: no chunk yet.
    pub chunk: Option<ChunkId>,
}

/// Everything that the explanation depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub tenant: TenantId,
    pub conversation: i64,
    pub source: InSource,
    pub target: InTarget,
    /// The run that wrote the target's row last.
    pub written_by: Option<RunId>,
    /// Columns in which the two rows differ; empty where one row is missing.
    pub differing: Vec<String>,
    /// The change signals that name the conversation now.
    pub signals: Vec<String>,
    /// Only digests show the change, and the next sync does not compare digests.
    pub waits_for_digests: bool,
    pub refusal: Option<Refusal>,
    pub newest_chunk: Option<Covering>,
    /// A run of the tenant that is requested or being planned, and may take the conversation.
    pub planning: Option<(RunId, RunType, RunStatus)>,
    /// An open transaction has changed or locked the source's row.
    pub writer_open: bool,
    /// The tenant has no watermark yet.
    pub never_synced: bool,
    /// Why no run is planned for the tenant: it is paused or not active.
    pub stopped: Option<String>,
    /// What else blocks the tenant.
    pub held_by: Option<String>,
    /// Time until the tenant's next sync is due; negative when it is overdue.
    pub next_due_in: TimeDelta,
}

/// The cases; the names are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// Both rows are equal.
    Equal,
    /// Both rows are equal, but an open transaction is changing the source's row.
    EqualWriterOpen,
    /// An open chunk covers the conversation.
    OnItsWay,
    /// A run that may take the conversation is requested or being planned.
    BeingPlanned,
    /// The next sync takes the conversation.
    NextSync,
    /// The tenant is paused or not active.
    Stopped,
    /// The chunk that should have loaded the conversation is dead or cancelled.
    ChunkFailed,
    /// The contact is forgotten, so the conversation is kept out.
    Forgotten,
    /// The conversation is rejected.
    Rejected,
    /// The inbox was mapped, and a backfill has not loaded its history yet.
    BackfillPending,
    /// Gone from the source, and marked deleted in the target.
    Tombstone,
    /// Gone from the source, and not yet marked deleted.
    Gone,
    /// In an inbox that is not the tenant's.
    NotTheTenants,
    /// Moved out of the tenant's inboxes, and not yet marked deleted.
    MovedAway,
    /// Only copied names differ; a backfill updates them.
    Renamed,
    /// The rows differ, and no change signal shows it.
    Silent,
    /// Neither side has the conversation.
    NeverExisted,
}

/// The case, and a sentence that explains it and says what to do.
#[must_use]
pub fn explain(facts: &Facts) -> (Case, String) {
    match (&facts.source, &facts.target) {
        (InSource::Absent, InTarget::Absent) => (
            Case::NeverExisted,
            "neither source nor target has it: it never existed, or it was deleted at the source before a run read it"
                .to_owned(),
        ),
        (InSource::Absent, InTarget::Deleted { at }) => (
            Case::Tombstone,
            format!("it is gone from the source; {}", marked_deleted(facts, *at)),
        ),
        (InSource::Absent, InTarget::Live) => {
            let (case, when) = arrival(facts);
            let case = if case == Case::Silent { Case::Gone } else { gone_case(case) };
            (case, format!("it is gone from the source and not yet marked deleted: {when}"))
        }
        (InSource::Elsewhere { inbox, owner }, target) => in_other_inbox(facts, *inbox, *owner, target),
        (InSource::Here { inbox, fetched }, target) => in_own_inbox(facts, *inbox, *fetched, target),
    }
}

/// An ordinary sync marks the row deleted, so the case is named after the deletion.
const fn gone_case(case: Case) -> Case {
    match case {
        Case::NextSync => Case::Gone,
        case => case,
    }
}

fn marked_deleted(facts: &Facts, at: DateTime<Utc>) -> String {
    let by = facts.written_by.map(|run| format!(" by run {run}"));
    format!(
        "its row was marked deleted{}, by the state of the source at {}, and is kept",
        by.unwrap_or_default(),
        at.format("%Y-%m-%dT%H:%M:%SZ")
    )
}

fn in_other_inbox(facts: &Facts, inbox: Option<i32>, owner: Owner, target: &InTarget) -> (Case, String) {
    let inbox = inbox.map_or_else(|| "no inbox".to_owned(), |inbox| format!("inbox {inbox}"));
    let place = match owner {
        Owner::Nobody => format!("the source has it in {inbox}, which is mapped to no tenant"),
        Owner::Unmapped => format!("the source has it in {inbox}, which was unmapped"),
        Owner::Tenant(tenant) => format!("the source has it in {inbox}, which is tenant {tenant}'s"),
    };
    match target {
        InTarget::Absent => (
            Case::NotTheTenants,
            format!("{place}: it does not belong to tenant {}", facts.tenant),
        ),
        InTarget::Deleted { at } => (
            Case::NotTheTenants,
            format!("{place}; {}", marked_deleted(facts, *at)),
        ),
        InTarget::Live => {
            let (case, when) = arrival(facts);
            let case = match case {
                Case::Silent | Case::NextSync => Case::MovedAway,
                case => case,
            };
            (
                case,
                format!("{place}, and its row is not yet marked deleted: {when}"),
            )
        }
    }
}

fn in_own_inbox(facts: &Facts, inbox: i32, fetched: bool, target: &InTarget) -> (Case, String) {
    let is_equal = *target == InTarget::Live && facts.differing.is_empty() && facts.refusal.is_none();
    if is_equal && facts.writer_open {
        let text = "source and target are equal in every column, but an open transaction at the source has changed or locked the \
                    row: its changes can be seen once it has committed";
        return (Case::EqualWriterOpen, text.to_owned());
    }
    if is_equal {
        let again = if facts.signals.is_empty() {
            String::new()
        } else {
            format!("; the next run compares it again ({})", facts.signals.join(", "))
        };
        return (
            Case::Equal,
            format!("source and target are equal in every column{again}"),
        );
    }
    if let Some(refusal) = &facts.refusal {
        let by = match refusal.chunk {
            Some(chunk) => format!("chunk {chunk} rejected it"),
            None => "the next run will reject it".to_owned(),
        };
        let row = match target {
            InTarget::Live => "the target keeps its last valid row",
            InTarget::Deleted { .. } => "its row is marked deleted",
            InTarget::Absent => "the target has no row",
        };
        let text = format!(
            "{by} ({}: {}): {row}, and every run tries it again until the cause is fixed",
            refusal.side, refusal.error
        );
        return (Case::Rejected, text);
    }
    let difference = match target {
        InTarget::Live => format!("{} differ", listed(&facts.differing)),
        InTarget::Deleted { .. } => "the source has it, and its row is marked deleted".to_owned(),
        InTarget::Absent => "the source has it, and the target has no row".to_owned(),
    };
    let waits = !fetched && !facts.never_synced && facts.signals.is_empty();
    if waits && facts.stopped.is_none() && !is_open(facts) {
        let backfill = match facts.planning {
            Some((run, RunType::Backfill, status)) => format!("run {run} ({}) loads it", status.as_str()),
            _ => "a producer requests one by itself".to_owned(),
        };
        let text = format!(
            "{difference}: inbox {inbox} was mapped, and its history waits for a backfill; {backfill}"
        );
        return (Case::BackfillPending, text);
    }
    let (case, when) = arrival(facts);
    (case, format!("{difference}: {when}"))
}

fn is_open(facts: &Facts) -> bool {
    let covering = facts.newest_chunk.as_ref();
    covering.is_some_and(|chunk| {
        matches!(
            chunk.status,
            ChunkStatus::Pending | ChunkStatus::Queued | ChunkStatus::Running
        )
    })
}

/// When the missing change will reach the target, or what blocks it.
fn arrival(facts: &Facts) -> (Case, String) {
    if let Some(stopped) = &facts.stopped {
        let when = format!("the tenant is {stopped}, and no run is planned or started until it is resumed");
        return (Case::Stopped, when);
    }
    if let Some(chunk) = facts.newest_chunk.as_ref().filter(|_| is_open(facts)) {
        let trouble = chunk
            .error
            .as_ref()
            .map(|error| format!("; its last attempt failed: {error}"));
        let when = format!(
            "chunk {} ({}, {}) takes it{}",
            chunk.id,
            chunk.run_type.as_str(),
            chunk.status.as_str(),
            trouble.unwrap_or_default()
        );
        return (Case::OnItsWay, with_blocker(facts, when));
    }
    let found = if facts.signals.is_empty() {
        String::new()
    } else {
        format!(", found by {}", facts.signals.join(", "))
    };
    let takes_all = facts.never_synced;
    if let Some((run, run_type, status)) = facts.planning
        && (takes_all || !facts.signals.is_empty() || run_type != RunType::Incremental)
    {
        let when = format!(
            "run {run} ({}, {}) may take it{found}",
            run_type.as_str(),
            status.as_str()
        );
        return (Case::BeingPlanned, with_blocker(facts, when));
    }
    if takes_all {
        return (
            Case::NextSync,
            with_blocker(
                facts,
                format!("the tenant's first sync takes it{}", next_sync_in(facts)),
            ),
        );
    }
    let failed = facts
        .newest_chunk
        .as_ref()
        .filter(|chunk| matches!(chunk.status, ChunkStatus::Dead | ChunkStatus::Cancelled));
    if let Some(chunk) = failed {
        let error = chunk.error.as_ref().map(|error| format!(" ({error})"));
        let next = if facts.signals.is_empty() {
            format!(
                "`tidemark run retry {}` or `resync` takes it again",
                chunk.id.run_id
            )
        } else {
            format!("the next sync takes it again{}{found}", next_sync_in(facts))
        };
        let when = format!(
            "chunk {}, which should have loaded it, is {}{}; {next}",
            chunk.id,
            chunk.status.as_str(),
            error.unwrap_or_default()
        );
        return (Case::ChunkFailed, with_blocker(facts, when));
    }
    if facts.signals.is_empty() && only_names(&facts.differing) {
        let when = "only copied names differ: a plan that finds a changed name requests a backfill, and `tidemark verify` finds \
                    names that no plan has found";
        return (Case::Renamed, with_blocker(facts, when.to_owned()));
    }
    if facts.signals.is_empty() {
        let when = format!(
            "no change signal shows it, so no sync finds it; `tidemark verify --tenant {0}` finds it, and `tidemark resync \
             --tenant {0} --ids {1}` fixes it",
            facts.tenant, facts.conversation
        );
        return (Case::Silent, when);
    }
    if facts.waits_for_digests {
        let when = format!(
            "no timestamp shows it, and digests are compared once per producer.digest_interval: the first sync after that \
             takes it{found}"
        );
        return (Case::NextSync, with_blocker(facts, when));
    }
    let when = format!(
        "it changed after the last plan, and the next sync takes it{}{found}",
        next_sync_in(facts)
    );
    (Case::NextSync, with_blocker(facts, when))
}

fn only_names(differing: &[String]) -> bool {
    !differing.is_empty()
        && differing
            .iter()
            .all(|column| COPIED_NAMES.contains(&column.as_str()))
}

fn next_sync_in(facts: &Facts) -> String {
    let wait = facts.next_due_in.to_std().unwrap_or_default();
    if wait.is_zero() {
        return " (due now)".to_owned();
    }
    let wait = Duration::from_secs(wait.as_secs().max(1));
    format!(" (due in {})", humantime::format_duration(wait))
}

fn with_blocker(facts: &Facts, when: String) -> String {
    match &facts.held_by {
        Some(held_by) => format!("{when}; held by: {held_by}"),
        None => when,
    }
}

/// The first names, and the number of the others.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 4;
    if names.len() <= SHOWN {
        return names.join(", ");
    }
    format!(
        "{} and {} other columns",
        names[..SHOWN].join(", "),
        names.len() - SHOWN
    )
}

#[cfg(test)]
mod tests;
