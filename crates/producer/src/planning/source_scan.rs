//! A group of tenants of one source, planned in one snapshot with one statement a signal. One tenant is a group of one.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::matched_totals::Totals;
use tidemark_ledger::target::Bucket;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::selection::Sender;

use crate::planning::error::PlanError;
use crate::planning::member::Member;
use crate::planning::names;
use crate::planning::names::{SuspectedRename, TouchedName};
use crate::planning::signals::{ALL_IDS, BUCKET_WIDTH, ChangedContacts, Inboxes, Signals, SourceBucket};

/// What the source says of one tenant, with what is known of its target by then.
#[derive(Debug, Default)]
pub(crate) struct SourceScan {
    /// Whether digests tell what differs, and buckets are all there is; otherwise there is no bucket.
    pub has_digests: bool,
    pub buckets: Vec<SourceBucket>,
    /// What the target has, where it was asked meanwhile. It may have got newer rows since: what differs is asked again.
    pub target_buckets: Option<Vec<Bucket>>,
    /// What its times name, where digests were not read.
    pub changed: Vec<i64>,
    pub messages: Vec<i64>,
    pub csat: Vec<i64>,
    pub contacts: ChangedContacts,
    pub suspected_renames: Vec<SuspectedRename>,
    /// Whom the source no longer has, though rows show messages of theirs.
    pub deleted_senders: Vec<Sender>,
    /// Conversations whose own row cannot be read.
    pub unreadable: Vec<i64>,
    /// Nothing has to be asked of the target: no reject is open, and either an agreement stands for its digests or they are
    /// not compared.
    pub can_skip_target: bool,
}

impl SourceScan {
    /// The tenant's totals, where an agreement can be about them: what is left to a backfill, or
    /// cannot be read, is not in its sums.
    pub(crate) fn totals(&self, member: &Member) -> Option<Totals> {
        if !self.has_digests
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
pub(crate) async fn scan_source(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    message_edit_window: Duration,
) -> Result<Vec<SourceScan>, PlanError> {
    let inboxes = Inboxes::of(members);
    let mut scans = ScansByTenant::default();
    read_conversations(db, signals, members, &mut scans).await?;
    if let Some(span) = inboxes.span() {
        // a view shows what these find with the conversation itself
        if signals.shape.is_none() {
            for (tenant, id) in signals
                .messages(&inboxes, span.0, message_edit_window, None)
                .await?
            {
                scans.of(tenant).messages.push(id);
            }
            for (tenant, id) in signals.csat(&inboxes, span.0, None).await? {
                scans.of(tenant).csat.push(id);
            }
            for (tenant, contacts) in signals.contacts(&inboxes, span).await? {
                scans.of(tenant).contacts = contacts;
            }
        }
        let touched: Vec<TouchedName> = signals.touched_names(&inboxes, span.0).await?;
        for (tenant, suspect) in names::list_suspected_renames(db, touched).await? {
            scans.of(tenant).suspected_renames.push(suspect);
        }
    }

    find_deleted_senders(db, signals, members, &mut scans).await?;
    let comparable = members.iter().filter(|member| !member.always_reads_target);
    let totals: Vec<Totals> = comparable
        .filter_map(|member| scans.of(member.tenant.id).totals(member))
        .collect();
    let mut known = ledger::matched_totals::list_still_matching(db, &totals).await?;
    let uncompared = members.iter().map(|member| member.tenant.id);
    let uncompared: Vec<TenantId> = uncompared
        .filter(|tenant| !scans.of(*tenant).has_digests)
        .collect();
    known.extend(ledger::reject::list_without_open(db, &uncompared).await?);
    for tenant in known {
        scans.of(tenant).can_skip_target = true;
    }
    if members.len() > 1 {
        let others = Inboxes::of(members.iter().filter(|member| {
            let scan = scans.of(member.tenant.id);
            let must_compare = scan.has_digests && !scan.can_skip_target;
            if must_compare {
                scan.buckets.clear();
            }
            must_compare
        }));
        if !others.ids.is_empty() {
            for bucket in signals.conversations(&others, BUCKET_WIDTH).await? {
                scans.of(bucket.tenant_id).buckets.push(bucket);
            }
        }
    }
    Ok(members
        .iter()
        .map(|member| std::mem::take(scans.of(member.tenant.id)))
        .collect())
}

/// The members' conversations: with their digests where these are compared, of the others those that have changed.
async fn read_conversations(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    scans: &mut ScansByTenant,
) -> Result<(), PlanError> {
    let (mut comparing, others): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|member| member.compares_digests);
    if !others.is_empty() {
        match signals.changed(&Inboxes::of(others)).await {
            // which conversation cannot be read, only reading them all finds out
            Err(error) if error.is_data() && members.len() == 1 => {
                signals.go_back().await?;
                comparing = members.iter().collect();
            }
            changed => {
                for (tenant, id) in changed? {
                    scans.of(tenant).changed.push(id);
                }
            }
        }
    }
    for member in &comparing {
        scans.of(member.tenant.id).has_digests = true;
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
            let scans = scans.of(tenant);
            scans.target_buckets = target_buckets?;
            scans.unreadable.clone_from(&signals.unreadable);
            buckets?
        }
        // ids of many tenants lie scattered over the buckets, and of most tenants the sums will do
        _ => signals.conversations(&Inboxes::of(comparing), ALL_IDS).await?,
    };
    for bucket in buckets {
        scans.of(bucket.tenant_id).buckets.push(bucket);
    }
    Ok(())
}

/// Looks for deleted senders, of members that are compared and do not take everything. What a view shows of messages is too
/// dear to ask at every plan.
async fn find_deleted_senders(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    scans: &mut ScansByTenant,
) -> Result<(), PlanError> {
    let looking: Vec<TenantId> = members
        .iter()
        .filter(|member| member.compares_digests && member.since.is_some())
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
        scans.of(deleted.tenant_id).deleted_senders.push(Sender {
            sender_type: deleted.sender_type,
            id: deleted.sender_id,
        });
    }
    Ok(())
}

/// What the target has, unless an agreement may stand for it.
async fn target_buckets(db: &DbPool, member: &Member) -> Result<Option<Vec<Bucket>>, PlanError> {
    if !member.always_reads_target {
        return Ok(None);
    }
    let mut target = ledger::target::begin(db, member.tenant.id).await?;
    let buckets =
        ledger::target::buckets(&mut target, member.tenant.id, BUCKET_WIDTH, &member.unfetched).await?;
    target.rollback().await.attempt("end the transaction")?;
    Ok(Some(buckets))
}

#[derive(Debug, Default)]
struct ScansByTenant(BTreeMap<TenantId, SourceScan>);

impl ScansByTenant {
    fn of(&mut self, tenant: TenantId) -> &mut SourceScan {
        self.0.entry(tenant).or_default()
    }
}
