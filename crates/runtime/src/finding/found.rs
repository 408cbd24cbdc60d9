//! What checks found, as cases with their parameters. Front ends write them in their languages; their text is the English one,
//! which scripts read. Those of the source and of its shape are in [`super::source`].

use std::sync::Arc;

use serde::{Serialize, Serializer};
use tidemark_net::tls::Exposure;
use tidemark_postgres::connect::ConnectError;
use tidemark_postgres::report::report;
use tidemark_shared::held_by::HeldBy;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::inbox::{UnsyncedInbox, WaitingInbox, decision_about};

use super::isolation::{BackupFault, IsolationFault};
use super::source::SourceFound;
use super::{bytes, counted, listed};
use crate::config::ConfigError;

/// `thiserror` writes the sentences, though few of them are errors.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Found {
    // of every server
    /// What a server or a library said about a check.
    #[error("{0}")]
    Failed(String),
    #[error("{}", report(&**.0))]
    Connect(Arc<ConnectError>),
    #[error("{}", report(&**.0))]
    Config(Arc<ConfigError>),
    #[error("nobody can read the traffic or impersonate the server")]
    Encrypted,
    #[error("{0}")]
    Exposed(Exposure),
    #[error("no answer within {0} s: the remaining checks did not run")]
    NoAnswer(u64),
    #[error("PostgreSQL {version}{}", if *.standby { ", a hot standby" } else { "" })]
    Postgres { version: String, standby: bool },
    #[error(transparent)]
    Source(#[from] SourceFound),
    #[error(transparent)]
    Isolation(#[from] IsolationFault),
    #[error(transparent)]
    Backup(#[from] BackupFault),

    // the settings
    #[error("{0} contains a secret, and others on this machine can read it")]
    ExposedFile(String),
    #[error("retention.prune_every is 0s: nothing is pruned, and the ledger grows without limit")]
    NothingPruned,
    #[error("valid; no file with a secret can be read by others")]
    SettingsValid,
    #[error("sources.{0}.url is not set")]
    SourceUrlNotSet(String),
    #[error("no source is configured: set TIDEMARK_SOURCE_URL, or sources.NAME.url")]
    NoSource,
    #[error("no broker is set: only `sync --local` works without one")]
    NoBroker,

    // the ledger
    #[error("PostgreSQL {0}: 13 is the oldest that works")]
    LedgerTooOld(String),
    #[error(
        "its encoding is {0}, which cannot store every text of Chatwoot, and PostgreSQL cannot change the encoding of a \
         database: Tidemark needs one with UTF8"
    )]
    WrongEncoding(String),
    #[error(
        "the session's settings are lost (time zone {0}): is there a pooler that drops them? Name the server itself in the \
         URL"
    )]
    SettingsLost(String),
    #[error("{used} of {most} connections are in use")]
    ConnectionsUsed { used: i64, most: i64 },
    #[error("autovacuum is off: tables grow, and plans scan them instead of their indexes")]
    AutovacuumOff,
    #[error("all {0} are applied")]
    Migrated(usize),
    #[error("all of this build are applied, and {0} of a newer tidemark, which this build works with")]
    MigratedFurther(usize),
    #[error("the database is not migrated")]
    NotMigrated,
    #[error("{0} are applied, and this build has more")]
    MigrationsMissing(usize),
    #[error(
        "the database has migration {0}, which this build does not know and does not work with: run a newer tidemark"
    )]
    MigratedTooFar(i64),
    #[error("{0} may not act as console_service, so the console does not start")]
    MayNotBeConsole(String),
    #[error("{0} may act as etl_service")]
    MayBeService(String),
    #[error("{login} may not act as etl_service: {error}")]
    MayNotBeService { login: String, error: String },
    #[error(
        "rows {}, ledger {} ({})",
        bytes(*.rows),
        bytes(*.ledger),
        .largest.iter().map(|(name, size)| format!("{name} {}", bytes(*size))).collect::<Vec<_>>().join(", ")
    )]
    Sizes {
        rows: i64,
        ledger: i64,
        largest: Vec<(String, i64)>,
    },
    #[error("{table} has {dead} dead rows and {live} live ones")]
    DeadRows { table: String, dead: i64, live: i64 },
    #[error(
        "{0} rows of the target have changed since its last ANALYZE, more than half: the planner works with wrong numbers"
    )]
    TargetStale(i64),
    #[error("replication slot {slot} is unused and keeps {} of WAL", bytes(*.kept))]
    UnusedSlot { slot: String, kept: i64 },
    #[error("row-level security keeps tenants apart, by the catalog and by a test query")]
    Isolated,

    // the broker
    #[error("{host}:{port} answers")]
    Answers { host: String, port: u16 },
    #[error("version, alarms, policies and members of queues: {0}")]
    NoManagement(ManagementFault),
    #[error(transparent)]
    Management(#[from] ManagementFault),
    #[error("{queue} cannot be checked: {why}")]
    QueueNotChecked { queue: String, why: String },
    #[error("{0} messages could not be read and were moved to the dead queue")]
    DeadMessages(u32),
    #[error("{queue} differs from the queue that the fleet declares: {why}")]
    QueueDiffers { queue: String, why: String },
    #[error("{} do not exist yet: the first process of the fleet declares them", .0.join(", "))]
    QueuesMissing(Vec<String>),
    #[error("all four exist and are durable quorum queues")]
    QueuesGood,
    #[error("RabbitMQ {0}: 3.10 is the oldest supported version")]
    RabbitTooOld(String),
    #[error("RabbitMQ {0}")]
    Rabbit(String),
    #[error("{node} is short of {}: publishers are blocked", if *.memory { "memory" } else { "disk" })]
    ShortOf { node: String, memory: bool },
    #[error(
        "the API does not report consumer_timeout: it must be longer than the longest chunk; the default is 30 minutes"
    )]
    ConsumerTimeout,
    #[error(
        "delivery-limit is {limit}: `tidemark dead list` needs at least {least}, or RabbitMQ drops dead messages that it \
         listed"
    )]
    LimitBelowList { limit: u64, least: u64 },
    #[error(
        "delivery-limit is {0}: restarts of the fleet move messages to the dead queue, and their chunks wait"
    )]
    LimitLow(u64),
    #[error("delivery-limit is {0}")]
    LimitSet(u64),
    #[error("delivery-limit is -1: off")]
    LimitOff,
    #[error("no delivery-limit is set, and this version needs none")]
    LimitNotNeeded,
    #[error(
        "no policy sets a delivery-limit: after 20 returns of any kind RabbitMQ moves a message to the dead queue, and its \
         chunk waits"
    )]
    LimitByReturns,
    #[error(
        "no policy sets a delivery-limit: RabbitMQ moves a message to the dead queue after 20 connections that ended before \
         acknowledging it; messages that a worker returns do not count"
    )]
    LimitByFailures,
    #[error(
        "a policy sets {name} = {value} on {queue}: messages that it drops are published again only after \
         producer.requeue_after"
    )]
    PolicyDrops {
        name: &'static str,
        value: String,
        queue: String,
    },
    #[error("{online} of {members} members of {queue} are online")]
    MembersAway {
        queue: String,
        online: usize,
        members: usize,
    },
    #[error("{queue} contains {} of messages", bytes(*.size))]
    QueueLarge { queue: String, size: i64 },
    #[error("{queue} contains {messages} messages; this version of RabbitMQ does not report their size")]
    QueueLong { queue: String, messages: i64 },

    // clocks
    #[error("no server's clock could be read")]
    NoClock,
    #[error(
        "the clock of {} is {seconds} s {} that of {}: {}",
        .of,
        if *.ahead { "ahead of" } else { "behind" },
        .than,
        match of {
            ClockOf::Here => "times in the logs and traces of this machine do not match the others",
            _ => "no data is lost, but `behind`, `late` and the lag of watermarks are wrong by as much",
        }
    )]
    ClockOff {
        of: ClockOf,
        than: ClockOf,
        seconds: i64,
        ahead: bool,
    },
    #[error("all within {0} s of each other")]
    ClocksTogether(i64),

    // the fleet
    #[error("the ledger cannot be asked")]
    NoLedger,
    #[error("run {run} of tenant {tenant} has {chunks} dead chunks")]
    DeadChunks {
        run: RunId,
        tenant: TenantId,
        chunks: i64,
    },
    #[error("rejected rows: tenant {}", with_counts(.0))]
    RejectedRows(Vec<(TenantId, i64)>),
    #[error(
        "{messages} messages of webhook {webhook} were given up within the last day{}",
        .error.as_ref().map_or_else(String::new, |error| format!(": {error}"))
    )]
    WebhookGivenUp {
        webhook: i32,
        messages: i64,
        error: Option<String>,
    },
    #[error("{0} run, with every role")]
    ProcessesRun(usize),
    #[error("no process runs")]
    NoProcess,
    #[error("no {0} runs")]
    NoRole(&'static str),
    #[error("this is {mine}, but others run another version: {}; finish the upgrade", listed(.others))]
    OtherVersions { mine: &'static str, others: Vec<String> },
    #[error("these cannot publish or are not subscribed: {}; see the broker above", listed(.0))]
    CutOff(Vec<String>),
    #[error("there are no tenants yet")]
    NoTenants,
    #[error("{}", counted(*.0, "tenant"))]
    Tenants(usize),
    #[error(
        "the sources of these tenants are not configured here: {}",
        listed(&.0.iter().map(|(tenant, source)| format!("{tenant} (source `{source}`)")).collect::<Vec<_>>())
    )]
    SourcesUnknown(Vec<(TenantId, String)>),
    #[error("no run is planned without an inbox: tenant {}", listed(.0))]
    WithoutInbox(Vec<TenantId>),
    #[error(
        "tenant {tenant} is behind{}",
        .held_by.as_ref().map_or_else(String::new, |held| format!(", held by: {held}"))
    )]
    Behind {
        tenant: TenantId,
        held_by: Option<HeldBy>,
    },
    #[error("{0}")]
    Unsynced(UnsyncedInbox),
    #[error("tenant {tenant}: {}", decision_about(*.tenant, .waiting, *.all).unwrap_or_default())]
    Undecided {
        tenant: TenantId,
        waiting: Vec<WaitingInbox>,
        /// The tenant has no other inbox.
        all: bool,
    },
    #[error("the last comparison found differences: tenant {}", listed(.0))]
    Differing(Vec<TenantId>),
    #[error("never compared with the source, or not within 30 days: tenant {}", listed(.0))]
    NotCompared(Vec<TenantId>),
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whose clock it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockOf {
    #[error("the ledger")]
    Ledger,
    #[error("source `{0}`")]
    Source(String),
    #[error("this machine")]
    Here,
}

/// Why the HTTP API of RabbitMQ does not say what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagementFault {
    /// What reading its address from a file said.
    #[error("{0}")]
    Address(String),
    #[error("TIDEMARK_AMQP_MANAGEMENT_URL is not a URL: write it as http://user:password@host:15672")]
    NoUrl,
    #[error("the address of the HTTP API cannot be derived from the broker's URL")]
    NotDerived,
    #[error("the address of the HTTP API cannot contain a user")]
    NoUser,
    #[error("the system's certificate authorities cannot be read: {0}")]
    Authorities(String),
    #[error("{0} is not RabbitMQ's HTTP API")]
    NoApi(String),
    #[error("the request cannot be built")]
    NoRequest,
    #[error("{0} does not answer")]
    NoAnswer(String),
    #[error("{0} refuses this user: it needs the tag `monitoring`")]
    Refused(String),
    #[error("{address} answers with {status}")]
    Status { address: String, status: u16 },
}

/// Counts of tenants in one line: `1 (3), 4 (1)`.
fn with_counts(counts: &[(TenantId, i64)]) -> String {
    let texts: Vec<String> = counts
        .iter()
        .map(|(tenant, count)| format!("{tenant} ({count})"))
        .collect();
    listed(&texts)
}
