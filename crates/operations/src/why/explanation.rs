//! Why one conversation looks in the target as it does: the sentence, from what source, target and ledger say of it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};

/// Columns that hold names of others: see [`tidemark_shared::selection::NameOf`].
const NAMES: [&str; 7] = [
    "inbox_name",
    "inbox_channel_type",
    "inbox_timezone",
    "account_name",
    "assignee_name",
    "assignee_email",
    "team_name",
];

/// Where the source has the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InSource {
    /// In one of the tenant's inboxes.
    Here {
        inbox: i32,
        /// The inbox's history is in, or came with the first sync.
        fetched: bool,
    },
    /// In another one, or in none that can be read.
    Elsewhere {
        inbox: Option<i32>,
        owner: Owner,
    },
    Absent,
}

/// Whose an inbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    /// It was the tenant's, and was unmapped.
    Unmapped,
    Tenant(TenantId),
}

/// What the target has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InTarget {
    Live,
    Deleted { at: DateTime<Utc> },
    Absent,
}

/// The newest chunk that covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covering {
    pub id: ChunkId,
    pub status: ChunkStatus,
    pub run_type: RunType,
    pub error: Option<String>,
}

/// A row that cannot be taken: as it was recorded, or as it was seen just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub side: String,
    pub error: String,
    /// Who recorded it; `None`: nobody yet.
    pub chunk: Option<ChunkId>,
}

/// What is known of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub tenant: TenantId,
    pub conversation: i64,
    pub source: InSource,
    pub target: InTarget,
    /// The run that wrote the target's row last.
    pub written_by: Option<RunId>,
    /// Columns in which the two rows differ; none where one is missing.
    pub differing: Vec<String>,
    /// The change signals that name it now.
    pub signals: Vec<String>,
    /// Digests alone tell, and the next sync does not compare any.
    pub waits_for_digests: bool,
    pub refusal: Option<Refusal>,
    pub newest_chunk: Option<Covering>,
    /// A run of the tenant that is asked for or planned just now, and may take it.
    pub planning: Option<(RunId, RunType, RunStatus)>,
    /// Somebody has changed or locked the source's row in a transaction that is open.
    pub writer_open: bool,
    /// No watermark yet.
    pub never_synced: bool,
    /// Why nothing is planned for the tenant: paused, or not active.
    pub stopped: Option<String>,
    /// What else is in the way of the tenant's rows.
    pub held_by: Option<String>,
    /// Until the tenant's next sync is due; negative: since.
    pub next_due_in: TimeDelta,
}

/// What it comes to. The names are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// Both rows say the same.
    Equal,
    /// They do, and an open transaction is about to change the source's.
    EqualWriterOpen,
    /// A chunk that has not ended covers it.
    OnItsWay,
    /// A run is asked for or planned, and takes what the signals name.
    BeingPlanned,
    /// The next sync takes it.
    NextSync,
    /// The tenant is paused or not active.
    Stopped,
    /// The chunk that should have brought it is dead or cancelled.
    ChunkFailed,
    /// Its contact is forgotten: it is kept out.
    Forgotten,
    /// It cannot be taken.
    Rejected,
    /// Its inbox was mapped, and a backfill has not brought its history yet.
    BackfillPending,
    /// It is gone from the source, and marked deleted.
    Tombstone,
    /// It is gone from the source, and not yet marked.
    Gone,
    /// It is in an inbox that is not the tenant's.
    NotTheTenants,
    /// It has left the tenant's inboxes, and is not yet marked.
    MovedAway,
    /// Only names differ that rows carry of others: a backfill brings them.
    Renamed,
    /// They differ, and nothing that a plan looks at tells.
    Silent,
    /// Neither side has it.
    NeverExisted,
}

/// The case, and the sentence that says it with what can be done.
#[must_use]
pub fn explain(facts: &Facts) -> (Case, String) {
    match (&facts.source, &facts.target) {
        (InSource::Absent, InTarget::Absent) => (
            Case::NeverExisted,
            "neither source nor target has it: it never existed, or was deleted at the source before a run saw it"
                .to_owned(),
        ),
        (InSource::Absent, InTarget::Deleted { at }) => (
            Case::Tombstone,
            format!("it is gone from the source; {}", marked(facts, *at)),
        ),
        (InSource::Absent, InTarget::Live) => {
            let (case, when) = coming(facts);
            let case = if case == Case::Silent { Case::Gone } else { on_gone(case) };
            (case, format!("it is gone from the source and not yet marked deleted: {when}"))
        }
        (InSource::Elsewhere { inbox, owner }, target) => elsewhere(facts, *inbox, *owner, target),
        (InSource::Here { inbox, fetched }, target) => here(facts, *inbox, *fetched, target),
    }
}

/// Gone is the more telling word for what an ordinary run brings.
const fn on_gone(case: Case) -> Case {
    match case {
        Case::NextSync => Case::Gone,
        case => case,
    }
}

fn marked(facts: &Facts, at: DateTime<Utc>) -> String {
    let by = facts.written_by.map(|run| format!(" by run {run}"));
    format!(
        "its row was marked deleted{}, as the source was at {}, and stays",
        by.unwrap_or_default(),
        at.format("%Y-%m-%dT%H:%M:%SZ")
    )
}

fn elsewhere(facts: &Facts, inbox: Option<i32>, owner: Owner, target: &InTarget) -> (Case, String) {
    let inbox = inbox.map_or_else(|| "no inbox".to_owned(), |inbox| format!("inbox {inbox}"));
    let place = match owner {
        Owner::Nobody => format!("the source has it in {inbox}, which is mapped to no tenant"),
        Owner::Unmapped => format!("the source has it in {inbox}, which was unmapped"),
        Owner::Tenant(tenant) => format!("the source has it in {inbox}, which is tenant {tenant}'s"),
    };
    match target {
        InTarget::Absent => (
            Case::NotTheTenants,
            format!("{place}: it is none of tenant {}'s", facts.tenant),
        ),
        InTarget::Deleted { at } => (Case::NotTheTenants, format!("{place}; {}", marked(facts, *at))),
        InTarget::Live => {
            let (case, when) = coming(facts);
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

fn here(facts: &Facts, inbox: i32, fetched: bool, target: &InTarget) -> (Case, String) {
    let is_equal = *target == InTarget::Live && facts.differing.is_empty() && facts.refusal.is_none();
    if is_equal && facts.writer_open {
        let text = "source and target are equal in every column, and a transaction is open at the source that has changed \
                    or locked the row: what it writes can be seen once it has committed";
        return (Case::EqualWriterOpen, text.to_owned());
    }
    if is_equal {
        let again = if facts.signals.is_empty() {
            String::new()
        } else {
            format!("; the next run looks at it again ({})", facts.signals.join(", "))
        };
        return (
            Case::Equal,
            format!("source and target are equal in every column{again}"),
        );
    }
    if let Some(refusal) = &facts.refusal {
        let by = match refusal.chunk {
            Some(chunk) => format!("chunk {chunk} could not take it"),
            None => "the next run will not be able to take it".to_owned(),
        };
        let row = match target {
            InTarget::Live => "the row is the last that could be taken",
            InTarget::Deleted { .. } => "its row is marked deleted",
            InTarget::Absent => "it has no row",
        };
        let text = format!(
            "{by} ({}: {}): {row}, and every run tries it again until it is mended",
            refusal.side, refusal.error
        );
        return (Case::Rejected, text);
    }
    let what = match target {
        InTarget::Live => format!("{} differ", listed(&facts.differing)),
        InTarget::Deleted { .. } => "the source has it, and its row is marked deleted".to_owned(),
        InTarget::Absent => "the source has it, and the target has no row".to_owned(),
    };
    let waits = !fetched && !facts.never_synced && facts.signals.is_empty();
    if waits && facts.stopped.is_none() && !is_open(facts) {
        let backfill = match facts.planning {
            Some((run, RunType::Backfill, status)) => format!("run {run} ({}) brings it", status.as_str()),
            _ => "a producer asks for one by itself".to_owned(),
        };
        let text =
            format!("{what}: inbox {inbox} was mapped, and its history waits for a backfill; {backfill}");
        return (Case::BackfillPending, text);
    }
    let (case, when) = coming(facts);
    (case, format!("{what}: {when}"))
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

/// How what the target lacks gets there, or what is in the way.
fn coming(facts: &Facts) -> (Case, String) {
    if let Some(stopped) = &facts.stopped {
        let when = format!("the tenant is {stopped}, and nothing is planned or begun until it is resumed");
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
        return (Case::OnItsWay, held(facts, when));
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
        return (Case::BeingPlanned, held(facts, when));
    }
    if takes_all {
        return (
            Case::NextSync,
            held(facts, format!("the tenant's first sync takes it{}", due(facts))),
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
            format!("the next sync takes it again{}{found}", due(facts))
        };
        let when = format!(
            "chunk {}, which should have brought it, is {}{}; {next}",
            chunk.id,
            chunk.status.as_str(),
            error.unwrap_or_default()
        );
        return (Case::ChunkFailed, held(facts, when));
    }
    if facts.signals.is_empty() && only_names(&facts.differing) {
        let when = "these are names that the row carries of others: the plan that sees them changed asks for a backfill, and \
                    what no plan sees is found by `tidemark verify`";
        return (Case::Renamed, held(facts, when.to_owned()));
    }
    if facts.signals.is_empty() {
        let when = format!(
            "nothing that a plan looks at tells, so no sync finds it; `tidemark verify --tenant {0}` does, and `tidemark \
             resync --tenant {0} --ids {1}` mends it",
            facts.tenant, facts.conversation
        );
        return (Case::Silent, when);
    }
    if facts.waits_for_digests {
        let when = format!(
            "no time tells, and digests are compared once producer.digest_interval is over: the first sync after that takes \
             it{found}"
        );
        return (Case::NextSync, held(facts, when));
    }
    let when = format!(
        "it came after the last plan, and the next sync takes it{}{found}",
        due(facts)
    );
    (Case::NextSync, held(facts, when))
}

fn only_names(differing: &[String]) -> bool {
    !differing.is_empty() && differing.iter().all(|column| NAMES.contains(&column.as_str()))
}

fn due(facts: &Facts) -> String {
    let wait = facts.next_due_in.to_std().unwrap_or_default();
    if wait.is_zero() {
        return " (due now)".to_owned();
    }
    let wait = Duration::from_secs(wait.as_secs().max(1));
    format!(" (due in {})", humantime::format_duration(wait))
}

fn held(facts: &Facts, when: String) -> String {
    match &facts.held_by {
        Some(held_by) => format!("{when}; held by: {held_by}"),
        None => when,
    }
}

/// A few names, and how many more there are.
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
