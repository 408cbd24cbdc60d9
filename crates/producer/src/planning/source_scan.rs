//! A group of tenants of one source, planned in one snapshot with one statement a signal. One tenant is a group of one.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::matched_totals::Totals;
use tidemark_ledger::target::Bucket;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::Sender;
use tidemark_shared::tenant::Tenant;

use crate::planning::names;
use crate::planning::names::{Doubt, Touched};
use crate::planning::planner::PlanError;
use crate::planning::signals::{ALL_IDS, BUCKET_WIDTH, ChangedContacts, Inboxes, Signals, SourceBucket};

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
    pub compares: bool,
    pub inboxes: Vec<i32>,
    /// Those whose history is left to a backfill, in the bulk lane: only what changes in them is taken.
    pub unfetched: Vec<i32>,
    pub chunk_size: i32,
    pub allow_mass_delete: bool,
    /// The target is asked even where an agreement could stand for it.
    pub always_compare: bool,
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
            compares: since.is_none() || digests_age.is_none_or(|age| age >= digest_interval),
            inboxes,
            unfetched: if since.is_some() { unfetched } else { Vec::new() },
            chunk_size: request.chunk_size.unwrap_or(tenant.chunk_size),
            allow_mass_delete: request.allow_mass_delete,
            always_compare: false,
            tenant,
        })
    }
}

/// What the source says of one tenant, with what is known of its target by then.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Whether digests tell what differs, and buckets are all there is; otherwise there is no bucket.
    pub compared: bool,
    pub buckets: Vec<SourceBucket>,
    /// What the target has, where it was asked meanwhile. It may have got newer rows since: what differs is asked again.
    pub target_buckets: Option<Vec<Bucket>>,
    /// What its times name, where digests were not read.
    pub changed: Vec<i64>,
    pub messages: Vec<i64>,
    pub csat: Vec<i64>,
    pub contacts: ChangedContacts,
    pub doubts: Vec<Doubt>,
    /// Whom the source no longer has, though rows show messages of theirs.
    pub deleted_senders: Vec<Sender>,
    /// Conversations whose own row cannot be read.
    pub unreadable: Vec<i64>,
    /// Nothing has to be asked of the target: no reject is open, and either an agreement stands for its digests or they are
    /// not compared.
    pub target_is_known: bool,
}

impl Seen {
    /// The tenant's totals, where an agreement can be about them: what is left to a backfill, or
    /// cannot be read, is not in its sums.
    pub(crate) fn totals(&self, member: &Member) -> Option<Totals> {
        if !self.compared
            || member.since.is_none()
            || !member.unfetched.is_empty()
            || !self.unreadable.is_empty()
        {
            return None;
        }
        Some(Totals {
            tenant_id: member.tenant.id,
            mapping_version: member.tenant.mapping_version,
            conversation_count: self.buckets.iter().map(|bucket| bucket.count).sum(),
            digest: self.buckets.iter().map(SourceBucket::digest_sum).sum(),
        })
    }
}

/// Reads the members' signals, each with one statement for all of them, and finds out whose target need not be asked.
/// What it returns is in the members' order.
///
/// # Errors
/// When source or ledger do not answer.
pub(crate) async fn look(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    message_edit_window: Duration,
) -> Result<Vec<Seen>, PlanError> {
    let inboxes = Inboxes::of(members);
    let mut seen = ByTenant::default();
    read_conversations(db, signals, members, &mut seen).await?;
    if let Some(span) = inboxes.span() {
        // a view shows what these find with the conversation itself
        if signals.shape.is_none() {
            for (tenant, id) in signals
                .messages(&inboxes, span.0, message_edit_window, None)
                .await?
            {
                seen.of(tenant).messages.push(id);
            }
            for (tenant, id) in signals.csat(&inboxes, span.0, None).await? {
                seen.of(tenant).csat.push(id);
            }
            for (tenant, contacts) in signals.contacts(&inboxes, span).await? {
                seen.of(tenant).contacts = contacts;
            }
        }
        let touched: Vec<Touched> = signals.touched_names(&inboxes, span.0).await?;
        for (tenant, doubt) in names::doubts(db, touched).await? {
            seen.of(tenant).doubts.push(doubt);
        }
    }

    find_deleted_senders(db, signals, members, &mut seen).await?;
    let comparable = members.iter().filter(|member| !member.always_compare);
    let totals: Vec<Totals> = comparable
        .filter_map(|member| seen.of(member.tenant.id).totals(member))
        .collect();
    let mut known = ledger::matched_totals::list_still_matching(db, &totals).await?;
    let uncompared = members.iter().map(|member| member.tenant.id);
    let uncompared: Vec<TenantId> = uncompared.filter(|tenant| !seen.of(*tenant).compared).collect();
    known.extend(ledger::reject::list_without_open(db, &uncompared).await?);
    for tenant in known {
        seen.of(tenant).target_is_known = true;
    }
    if members.len() > 1 {
        let others = Inboxes::of(members.iter().filter(|member| {
            let seen = seen.of(member.tenant.id);
            let is_to_compare = seen.compared && !seen.target_is_known;
            if is_to_compare {
                seen.buckets.clear();
            }
            is_to_compare
        }));
        if !others.ids.is_empty() {
            for bucket in signals.conversations(&others, BUCKET_WIDTH).await? {
                seen.of(bucket.tenant_id).buckets.push(bucket);
            }
        }
    }
    Ok(members
        .iter()
        .map(|member| std::mem::take(seen.of(member.tenant.id)))
        .collect())
}

/// The members' conversations: with their digests where these are compared, of the others those that have changed.
async fn read_conversations(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    seen: &mut ByTenant,
) -> Result<(), PlanError> {
    let (mut comparing, others): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|member| member.compares);
    if !others.is_empty() {
        match signals.changed(&Inboxes::of(others)).await {
            // which conversation cannot be read, only reading them all finds out
            Err(error) if error.is_data() && members.len() == 1 => {
                signals.roll_back_to_start().await?;
                comparing = members.iter().collect();
            }
            changed => {
                for (tenant, id) in changed? {
                    seen.of(tenant).changed.push(id);
                }
            }
        }
    }
    for member in &comparing {
        seen.of(member.tenant.id).compared = true;
    }
    let buckets = match members {
        _ if comparing.is_empty() => Vec::new(),
        // there is nothing to compare with, and everything is taken
        [member] if member.since.is_none() && ledger::target::is_empty(db, member.tenant.id).await? => {
            Vec::new()
        }
        [member] => {
            let tenant = member.tenant.id;
            let inboxes = Inboxes::of(comparing);
            let (buckets, target_buckets) = tokio::join!(
                signals.readable_conversations(db, tenant, &inboxes),
                target_buckets(db, member),
            );
            let seen = seen.of(tenant);
            seen.target_buckets = target_buckets?;
            seen.unreadable.clone_from(&signals.unreadable);
            buckets?
        }
        // ids of many tenants lie scattered over the buckets, and of most tenants the sums will do
        _ => signals.conversations(&Inboxes::of(comparing), ALL_IDS).await?,
    };
    for bucket in buckets {
        seen.of(bucket.tenant_id).buckets.push(bucket);
    }
    Ok(())
}

/// Looks for deleted senders, of members that are compared and do not take everything. What a view shows of messages is too
/// dear to ask at every plan.
async fn find_deleted_senders(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    seen: &mut ByTenant,
) -> Result<(), PlanError> {
    let looking: Vec<TenantId> = members
        .iter()
        .filter(|member| member.compares && member.since.is_some())
        .map(|member| member.tenant.id)
        .collect();
    if signals.shape.is_some() || looking.is_empty() {
        return Ok(());
    }
    let known = ledger::sender::list(db, &looking).await?;
    if known.is_empty() {
        return Ok(());
    }
    for deleted in signals.deleted_senders(known).await? {
        seen.of(deleted.tenant_id).deleted_senders.push(Sender {
            sender_type: deleted.sender_type,
            id: deleted.sender_id,
        });
    }
    Ok(())
}

/// What the target has, unless an agreement may stand for it.
async fn target_buckets(db: &DbPool, member: &Member) -> Result<Option<Vec<Bucket>>, PlanError> {
    if !member.always_compare {
        return Ok(None);
    }
    let mut target = ledger::target::begin(db, member.tenant.id).await?;
    let buckets =
        ledger::target::buckets(&mut target, member.tenant.id, BUCKET_WIDTH, &member.unfetched).await?;
    target.rollback().await.attempt("end the transaction")?;
    Ok(Some(buckets))
}

#[derive(Debug, Default)]
struct ByTenant(BTreeMap<TenantId, Seen>);

impl ByTenant {
    fn of(&mut self, tenant: TenantId) -> &mut Seen {
        self.0.entry(tenant).or_default()
    }
}
