//! Why an operation is refused, as a case with its parameters. Front ends write it in their languages; its text is the English
//! one, which scripts read.

use chrono::{DateTime, Utc};
use tidemark_net::outbound::OutboundError;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::RunStatus;

/// A request that cannot be fulfilled. The text says what to ask for instead, or what to set up first.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    // what is not there
    #[error("there is no tenant {0}: `tidemark tenant list` shows those there are")]
    UnknownTenant(TenantId),
    #[error("tenant {0} was removed just now")]
    RemovedJustNow(TenantId),
    #[error("there is no run {0}: `tidemark run list` shows those there are")]
    UnknownRun(RunId),
    #[error("there is no job {0}: `tidemark bulk list` shows those there are")]
    UnknownJob(i64),
    #[error("there is no webhook {0}: `tidemark webhook list` shows those there are")]
    UnknownWebhook(i32),

    // what a request lacks
    #[error("{0} needs a reason")]
    NeedsReason(NeedsReason),
    #[error("a tenant needs a name")]
    NeedsName,

    // tenants
    #[error("a tenant's id is a positive number, not {0}")]
    IdNotPositive(TenantId),
    #[error("id {0} belonged to a removed tenant whose rows are still there: choose another id")]
    IdOfRemoved(TenantId),
    #[error("there is a tenant {0} already")]
    IdTaken(TenantId),
    #[error("slug `{0}` is taken: choose another with --slug")]
    SlugTaken(String),
    #[error("`{0}` is no IANA time zone: write one such as America/Sao_Paulo")]
    NoTimeZone(String),
    #[error("{limit}: {value} is not between {least} and {most}")]
    OutOfRange {
        limit: Limit,
        value: String,
        least: String,
        most: String,
    },
    #[error("tenant {tenant} is not active: {}", why.as_deref().unwrap_or("its status does not allow runs"))]
    NotActive {
        tenant: TenantId,
        /// Why it is paused.
        why: Option<String>,
    },
    #[error("tenant {0} has no inboxes: map them with `tidemark inbox map --tenant {0} --inbox …`")]
    NoInboxes(TenantId),
    #[error("no active tenant has inboxes: add one with `tidemark tenant add` and `tidemark inbox map`")]
    NoneReady,
    #[error(
        "tenant {tenant} is synced from source `{from}` already, or its first sync was begun. `tidemark tenant move \
         --tenant {tenant} --source NAME --reason TEXT` marks its rows deleted and begins anew from another source; where \
         `{from}` itself is on another server now, change its URL in the settings"
    )]
    HasHistory { tenant: TenantId, from: String },
    #[error("tenant {tenant} has source `{to}` already")]
    SameSource { tenant: TenantId, to: String },
    #[error(
        "tenant {tenant} has {contacts} forgotten contacts of source `{from}`, whose ids are other people's at `{to}`: add a \
         tenant for the new source (tidemark tenant add --source {to}), forget them there by their new ids \
         (tidemark tenant forget), and then remove this one (tidemark tenant remove)"
    )]
    HasForgotten {
        tenant: TenantId,
        contacts: i64,
        from: String,
        to: String,
    },

    // inboxes and accounts
    #[error(
        "{}, and nothing was mapped; to take from tenant {from}: tidemark inbox map --tenant {tenant} --inbox {} \
         --from-tenant {from}",
        owned(.others),
        joined(.inboxes)
    )]
    InboxesOfOthers {
        tenant: TenantId,
        others: Vec<(i32, TenantId)>,
        /// The owner of the first of them, and all that it has.
        from: TenantId,
        inboxes: Vec<i32>,
    },
    #[error(
        "inbox {inbox} is not tenant {tenant}'s: `tidemark inbox list --tenant {tenant}` shows those that are"
    )]
    InboxOfAnother { inbox: i32, tenant: TenantId },
    #[error("inbox {0} belongs to none of these tenants: `tidemark inbox list` shows its owner")]
    InboxOfNone(i32),
    #[error("tenant {0} has no account id: map its inboxes with `tidemark inbox map --tenant {0} --inbox …`")]
    NoAccount(TenantId),

    // runs
    #[error("run {run} has ended already ({}): nothing of it is left to cancel", status.as_str())]
    RunEnded { run: RunId, status: RunStatus },
    #[error("run {run} ended before it had chunks, and {error}")]
    RequestUnreadable { run: RunId, error: String },
    #[error(
        "chunk {run}/{seq} is neither dead nor cancelled: `tidemark chunk list --run {run}` shows those that are"
    )]
    ChunkNotDead { run: RunId, seq: i32 },
    #[error(
        "run {run} ({}) has no dead or cancelled chunk: `tidemark sync` or `resync` takes its part again",
        status.as_str()
    )]
    NothingToRetry { run: RunId, status: RunStatus },
    #[error(
        "run {0} stays as it is: its tenant has another run of the kind open, which takes the same; `tidemark run list` \
         shows it"
    )]
    OtherRunOpen(RunId),
    #[error(
        "run {run} was planned from another source than the one that tenant {tenant} has now: \
         `tidemark sync --tenant {tenant}` plans from that one"
    )]
    RunOfOtherSource { run: RunId, tenant: TenantId },
    #[error(
        "run {run} compared nothing, it is {}: {}",
        status.as_str(),
        why.as_deref().unwrap_or("see `tidemark run show`")
    )]
    NothingCompared {
        run: RunId,
        status: RunStatus,
        why: Option<String>,
    },

    #[error("tenant {0} was never compared with its source: `tidemark verify --tenant {0}` compares it")]
    NeverCompared(TenantId),

    // what a resync takes
    #[error("{ids} ids for several tenants: at most {most} at once, or name the tenant")]
    TooManyIds { ids: usize, most: usize },
    #[error("none of the {0} ids is a conversation of these tenants")]
    NoneOfTheirs(usize),
    #[error("--from {from} is not before --to {to}")]
    TimesReversed { from: DateTime<Utc>, to: DateTime<Utc> },

    // watermarks and sources
    #[error("--to {to} is in the future: the source's clock is at {now}")]
    InFuture { to: DateTime<Utc>, now: DateTime<Utc> },
    #[error(
        "tenant {tenant} has run {run} open, which moves the watermark when it ends: wait for it \
         (`tidemark run watch {run}`) or end it (`tidemark run cancel {run}`)"
    )]
    WatermarkRunOpen { tenant: TenantId, run: RunId },
    #[error("source `{source_name}` at {server} did not go back in time: there is nothing to accept")]
    NotRestored { source_name: String, server: String },

    // one action on many things
    #[error("there is no {field} of this name: use one of {}", names.join(", "))]
    UnknownName {
        field: FilterField,
        names: Vec<&'static str>,
    },
    #[error("`{0}` is no id of what the action is done with")]
    NoIdOfSubject(String),
    #[error("{unknown} of the {given} ids are unknown, or in another state: look at the list again")]
    UnknownIds { unknown: usize, given: usize },
    #[error("nothing matches: change the filter, or choose other ids")]
    NothingMatches,
    #[error("more than {0} match: narrow the filter, and act in parts")]
    TooManyMatch(usize),
    #[error("nothing would be done: every item is skipped")]
    AllSkipped,
    #[error("job {0} was started already")]
    StartedAlready(i64),
    #[error("this version does not know the action {0}")]
    UnknownAction(String),
    #[error("the item names no run")]
    ItemWithoutRun,
    #[error("run {run} ended before it had chunks: {error}")]
    ItemUnreadable { run: RunId, error: String },

    // webhooks
    #[error(transparent)]
    WebhookAddress(#[from] OutboundError),
    #[error(
        "messages are signed, and webhook_key is not set: create a key with `openssl rand -hex 32` and set it as \
         TIDEMARK_WEBHOOK_KEY here and on every finalizer"
    )]
    NoWebhookKey,
    #[error(
        "message {message} of webhook {webhook} is not dead: `tidemark webhook show {webhook}` shows those that are"
    )]
    MessageNotDead { webhook: i32, message: i64 },
    #[error("the webhook was removed meanwhile")]
    WebhookRemoved,
    #[error(
        "no finalizer has delivered the message within half a minute: start one with `tidemark finalizer`"
    )]
    TestNotDelivered,

    // logins of tenants
    #[error("the name of the login {0}")]
    LoginName(LoginNameFault),
    #[error(
        "{login} cannot be bound to a tenant, because it {}: take that from it first, or choose another name",
        powers.join(", ")
    )]
    LoginHasPowers { login: String, powers: Vec<String> },
    #[error("{0} is a role that may not log in: choose another name")]
    LoginMayNotLogIn(String),
    #[error("{login} is bound to tenant {tenant}: `tidemark tenant login remove --name {login}` ends that")]
    LoginTaken { login: String, tenant: TenantId },
    #[error("no tenant has a login {0}: `tidemark tenant login list` shows those there are")]
    UnknownLogin(String),
    #[error("a password has at least {0} characters")]
    PasswordShort(usize),
    #[error("a password has no NUL character")]
    PasswordHasNul,
    #[error(
        "this login may not {}, and nothing was changed. An administrator of the server runs this, and then you run the \
         command again. {}\n  {}",
        if *.adds { "make or grant logins" } else { "take the rights of logins" },
        if *.adds { "The login sees nothing before that." } else { "The login stays bound to its tenant until then." },
        statements.join("\n  ")
    )]
    LoginNeedsAdministrator { adds: bool, statements: Vec<String> },

    // the import of the script
    #[error("--tenant-map {0}=…: the old database has no tenant {0}")]
    UnknownOldTenant(i32),
}

impl Refusal {
    /// Whether something has to be set up first. Otherwise the request is wrong.
    #[must_use]
    pub const fn needs_setup(&self) -> bool {
        matches!(
            self,
            Self::NotActive { .. }
                | Self::NoInboxes(_)
                | Self::NoneReady
                | Self::NoAccount(_)
                | Self::NothingCompared { .. }
                | Self::NeverCompared(_)
                | Self::NoWebhookKey
                | Self::TestNotDelivered
                | Self::LoginNeedsAdministrator { .. }
        )
    }
}

/// What is done for a reason only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NeedsReason {
    #[error("accepting a restored source")]
    AcceptRestore,
    #[error("moving a tenant")]
    Move,
    #[error("pausing a tenant")]
    Pause,
    #[error("setting a watermark")]
    Watermark,
    /// An action on many things, by its name.
    #[error("{0}")]
    Job(String),
}

/// A setting of a tenant that has a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("conversations per chunk")]
    ChunkSize,
    #[error("chunks in flight")]
    InFlight,
    #[error("the time between two syncs")]
    SyncInterval,
    #[error("the time between two comparisons")]
    VerifyInterval,
}

/// A field of a filter that takes one of several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterField {
    #[error("state")]
    State,
    #[error("status")]
    Status,
    #[error("type")]
    Type,
    #[error("side")]
    Side,
}

/// Why a login cannot have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginNameFault {
    #[error("has no character")]
    Empty,
    #[error("has more than 63 bytes")]
    Long,
    #[error("has a control character")]
    Control,
    #[error("begins with pg_, which PostgreSQL keeps for itself")]
    Reserved,
    #[error("has a meaning in SQL")]
    Keyword,
}

fn owned(others: &[(i32, TenantId)]) -> String {
    let owned: Vec<String> = others
        .iter()
        .map(|(inbox, owner)| format!("inbox {inbox} is tenant {owner}'s"))
        .collect();
    owned.join(", ")
}

/// Numbers as an option takes them.
pub fn joined(inboxes: &[i32]) -> String {
    let numbers: Vec<String> = inboxes.iter().map(ToString::to_string).collect();
    numbers.join(",")
}
