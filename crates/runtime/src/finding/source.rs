//! What checks found at a source, and what its tables or its view lack.

use chrono::{DateTime, Utc};
use tidemark_shared::chatwoot::Version;

use super::bytes;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceFound {
    #[error("PostgreSQL {0}: 13 is the oldest supported version")]
    TooOld(String),
    #[error(
        "the session's settings do not arrive (time zone {zone}, read only {read_only}): a pooler may drop them. Connect to \
         the server itself"
    )]
    SettingsDropped { zone: String, read_only: bool },
    #[error("{0} is a superuser on this server: sessions only read, so a login with SELECT is enough")]
    Superuser(String),
    #[error(
        "this login cannot see in full which transaction holds back the fence, and since when; syncs do not need it"
    )]
    SeesNotAll,
    #[error(
        "the encoding is SQL_ASCII, so the server converts nothing: texts are read as UTF8, and a conversation with other \
         bytes is rejected"
    )]
    SqlAscii,
    #[error("{0}")]
    Encoding(String),
    #[error("all required tables and columns can be read")]
    TablesReadable,
    #[error("view {0} can be read")]
    ViewReadable(String),
    #[error("the source lacks {}", texts(.0).join(", "))]
    Lacks(Vec<Lack>),
    #[error(
        "the source shows no conversation: the database is empty, or a policy hides every row from this login"
    )]
    ShowsNothing,
    #[error("row-level security applies to this login on {}: rows that it hides count as deleted", .0.join(", "))]
    RowsHidden(Vec<String>),

    // what its shape lacks
    #[error("{of} has no column {column}: it is NULL in every row{}", comes_with(*.first))]
    NoColumn {
        of: Relation,
        column: &'static str,
        first: Option<Version>,
    },
    #[error("the source has no table {table}: it counts as empty{}", comes_with(*.first))]
    NoTable {
        table: &'static str,
        first: Option<Version>,
    },
    #[error(
        "the login may not read {}: these count as empty; their owner can run: GRANT SELECT ON … TO the login",
        .0.join(", ")
    )]
    Withheld(Vec<String>),
    #[error("the id of {0} does not fit in 32 bits: its conversations cannot be synced")]
    WideId(String),
    #[error("view {view} does not show {}: these are NULL in every row", .columns.join(", "))]
    NotShown {
        view: String,
        columns: Vec<&'static str>,
    },
    #[error(
        "view {view}: its messages have no {} (none of {checked} that were checked): NULL in every message",
        .keys.join(", ")
    )]
    KeysMissing {
        view: String,
        keys: Vec<String>,
        checked: i64,
    },
    #[error("the columns are those of Chatwoot {first} to {newest}, or of a newer version")]
    Newest { first: Version, newest: Version },
    #[error("the columns are those of Chatwoot {first} or newer, before {next}; {next} brings {}", .brings.join(", "))]
    Before {
        first: Version,
        next: Version,
        brings: Vec<String>,
    },

    #[error(
        "the columns fit no version of Chatwoot: {has} comes with {newest}, but {lacks} of {oldest} is missing"
    )]
    Mixture {
        has: String,
        newest: Version,
        lacks: String,
        oldest: Version,
    },
    #[error("the columns fit no version of Chatwoot")]
    NoVersion,

    // the fence
    #[error("the standby has replayed nothing for {0} s: it does not follow its primary")]
    ReplaysNothing(i64),
    #[error(
        "a standby: watermarks stay 10 s behind its replay. `lookback` and `verify` find writes with timestamps set long \
         before their commit"
    )]
    Standby,
    #[error("the standby has replayed no commit since it started: watermarks wait for the first one")]
    NoCommitReplayed,
    #[error(
        "prepared transaction {gid} has been open since {}: watermarks stay before it",
        time(*.since)
    )]
    Prepared { gid: String, since: DateTime<Utc> },
    #[error(
        "source `{name}` at {server} went back in time (its transaction ids were at {known}, now at {seen}): it was restored or \
         swapped; nothing is planned from it"
    )]
    WentBack {
        name: String,
        server: String,
        known: i64,
        seen: i64,
    },
    #[error("no transaction has been writing for long")]
    NoLongWriter,
    #[error(
        "pid {pid} ({}) has been writing in one transaction{}: watermarks stay before it",
        .who.join(", "),
        .since.map_or_else(String::new, |since| format!(" since {}", time(since)))
    )]
    LongWriter {
        pid: i32,
        who: Vec<String>,
        since: Option<DateTime<Utc>>,
    },

    // indexes, statistics and the cost of a view
    #[error("every large table has the indexes that it needs")]
    Indexed,
    #[error("{table} ({}) has no index on {columns}: {why}", bytes(*.size))]
    NoIndex {
        table: &'static str,
        size: i64,
        columns: String,
        why: IndexReason,
    },
    #[error(
        "{table} ({}) has an invalid index on {columns}, {index}: its creation failed or is running; {why}",
        bytes(*.size)
    )]
    InvalidIndex {
        table: &'static str,
        size: i64,
        columns: String,
        index: String,
        why: IndexReason,
    },
    #[error("{table} ({}) was never analyzed: the planner works with wrong numbers", bytes(*.size))]
    NeverAnalyzed { table: &'static str, size: i64 },
    #[error(
        "{table} ({}) has changed by more than half since the last ANALYZE: the planner works with wrong numbers",
        bytes(*.size)
    )]
    StaleStatistics { table: &'static str, size: i64 },
    #[error("there are too few messages to judge the cost")]
    TooFewMessages,
    #[error(
        "listing the keys of {view} reads all messages ({}): the planner removes an unused join only if it is a LEFT JOIN on a \
         unique key, such as GROUP BY conversation_id",
        bytes(*.size)
    )]
    KeysCost { view: String, size: i64 },
    #[error(
        "each conversation of {view} reads all messages ({}): its condition does not reach the sub-select that aggregates \
         them, or statistics are stale",
        bytes(*.size)
    )]
    RowsCost { view: String, size: i64 },
    #[error("listing keys reads no messages, and a chunk reads only its own (planned cost {0})")]
    CostGood(String),
}

/// What is needed of a source and is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    #[error("table {0}")]
    Table(String),
    #[error("view {0}")]
    View(String),
    #[error("column {0}")]
    Column(String),
    #[error("the right to SELECT {0}")]
    Right(String),
    #[error("the right to SELECT column {0}")]
    RightToColumn(String),
    #[error("column {column} as {expected} (it is {found})")]
    Type {
        column: String,
        expected: String,
        found: String,
    },
}

/// A table or a view, by its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Relation {
    #[error("table {0}")]
    Table(&'static str),
    #[error("view {0}")]
    View(String),
}

/// The cost without an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexReason {
    #[error("each plan scans the conversations of all tenants instead of one tenant's")]
    PlanScansAllTenants,
    #[error("each changed contact costs a scan of all conversations")]
    ContactScans,
    #[error("each chunk scans all {0}")]
    ChunkScans(Scanned),
    #[error("each plan scans all {0}")]
    PlanScans(Scanned),
    #[error("only verify and full runs find edits of messages older than producer.message_edit_window")]
    OldEdits,
    #[error("each plan scans the SLAs of all conversations")]
    PlanScansSlas,
    #[error("each plan scans all conversations, even when it compares no digests (producer.digest_interval)")]
    PlanScansWithoutDigests,
}

/// What is read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Scanned {
    #[error("messages")]
    Messages,
    #[error("satisfaction answers")]
    Answers,
    #[error("reporting events")]
    Events,
    #[error("attachments")]
    Attachments,
    #[error("participants")]
    Participants,
    #[error("contacts")]
    Contacts,
}

fn comes_with(first: Option<Version>) -> String {
    first.map_or_else(String::new, |first| format!("; it comes with Chatwoot {first}"))
}

/// As the check-up writes a time.
#[must_use]
pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn texts(lacks: &[Lack]) -> Vec<String> {
    lacks.iter().map(ToString::to_string).collect()
}
