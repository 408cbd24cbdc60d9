//! Scans the source for a group of tenants: one snapshot, and one statement a signal. One tenant is a group of one.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::matched_totals::Totals;
use tidemark_ledger::target::Bucket;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::selection::Sender;
use tidemark_source::Shape;

use crate::planning::error::PlanError;
use crate::planning::last_change::{Ages, Hit, LastChanges, find_already_read};
use crate::planning::member::Member;
use crate::planning::names;
use crate::planning::names::{SuspectedRename, TouchedName};
use crate::planning::signals::contacts::ChangedContacts;
use crate::planning::signals::inboxes::Inboxes;
use crate::planning::signals::{ALL_IDS, BUCKET_WIDTH, RelatedSignal, Signals, SourceBucket};

/// The changes of one tenant at the source, with the parts of its target that were read meanwhile.
#[derive(Debug, Default)]
pub(crate) struct SourceScan {
    /// Whether digests were read: then `buckets` holds all conversations, and otherwise it is empty.
    pub has_digests: bool,
    pub buckets: Vec<SourceBucket>,
    /// The target's buckets, where they were read beside the source. Newer rows may have been written since, so buckets that
    /// differ are read again.
    pub target_buckets: Option<Vec<Bucket>>,
    /// Conversations that changed by their timestamps, where digests were not read.
    pub changed: Vec<i64>,
    pub messages: Vec<i64>,
    pub csat: Vec<i64>,
    pub related: Vec<(RelatedSignal, i64)>,
    pub contacts: ChangedContacts,
    /// Conversations that signals name and that an earlier run has read since, ascending: see `last_change`.
    pub already_read: Vec<i64>,
    pub suspected_renames: Vec<SuspectedRename>,
    /// Senders that the source deleted and rows of the target still show.
    pub deleted_senders: Vec<Sender>,
    /// Conversations whose own row cannot be read.
    pub unreadable: Vec<i64>,
    /// The target need not be read: no reject is open, and its digests either match by the stored totals or are not
    /// compared.
    pub can_skip_target: bool,
}

impl SourceScan {
    /// The tenant's totals, to compare with stored ones. `None` where they are incomplete: conversations that wait for a
    /// backfill or cannot be read are not in the sums.
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

/// Reads each signal with one statement for all members, and finds the members whose target need not be read.
/// Returns one scan a member, in their order.
pub(crate) async fn scan_source(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    message_edit_window: Duration,
    ages: Option<Ages>,
) -> Result<Vec<SourceScan>, PlanError> {
    let inboxes = Inboxes::of(members);
    let mut scans = ScansByTenant::default();
    let mut touched = read_conversations(db, signals, members, &mut scans).await?;
    if let Some(earliest) = inboxes.earliest() {
        // a row of a view contains its messages, answers, contact and names
        if let Shape::Tables(tables) = signals.shape {
            for hit in signals
                .messages(&inboxes, earliest, message_edit_window, None)
                .await?
            {
                scans.note(&hit).messages.push(hit.id);
            }
            for hit in signals.csat(&inboxes, earliest, None).await? {
                scans.note(&hit).csat.push(hit.id);
            }
            for (signal, hit) in signals.related(&inboxes, earliest, None).await? {
                scans.note(&hit).related.push((signal, hit.id));
            }
            for (tenant_id, contacts) in signals.contacts(&inboxes, earliest).await? {
                for (id, named) in &contacts.conversations {
                    scans.note(&Hit {
                        tenant_id,
                        id: *id,
                        change: named.change,
                    });
                }
                scans.of(tenant_id).contacts = contacts;
            }
            touched = signals.touched_names(tables, &inboxes, earliest).await?;
        }
        for (tenant, suspect) in names::list_suspected_renames(db, touched).await? {
            scans.of(tenant).suspected_renames.push(suspect);
        }
    }

    find_deleted_senders(db, signals, members, &mut scans).await?;
    let comparable = members.iter().filter(|member| !member.always_reads_target);
    let totals: Vec<Totals> = comparable
        .filter_map(|member| scans.of(member.tenant.id).totals(member))
        .collect();
    let mut skippable = ledger::matched_totals::list_still_matching(db, &totals).await?;
    let uncompared = members.iter().map(|member| member.tenant.id);
    let uncompared: Vec<TenantId> = uncompared
        .filter(|tenant| !scans.of(*tenant).has_digests)
        .collect();
    skippable.extend(ledger::reject::list_without_open(db, &uncompared).await?);
    for tenant in skippable {
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
            let buckets = signals.conversations_without_names(&others, BUCKET_WIDTH);
            for bucket in buckets.await? {
                scans.of(bucket.tenant_id).buckets.push(bucket);
            }
        }
    }
    if let Some(ages) = ages {
        list_already_read(db, members, &mut scans, ages).await?;
    }
    Ok(members
        .iter()
        .map(|member| std::mem::take(scans.of(member.tenant.id)))
        .collect())
}

/// Lists the conversations that an earlier run has read since their last change.
async fn list_already_read(
    db: &DbPool,
    members: &[Member],
    scans: &mut ScansByTenant,
    ages: Ages,
) -> Result<(), PlanError> {
    for (tenant_id, scan) in &scans.by_tenant {
        let changes = scan.buckets.iter().flat_map(SourceBucket::last_changes);
        let known = scans.last_changes.entry(*tenant_id).or_default();
        changes.for_each(|(id, change)| known.note(id, change));
    }
    let changes = std::mem::take(&mut scans.last_changes);
    for (tenant, ids) in find_already_read(db, members, changes, ages).await? {
        scans.of(tenant).already_read = ids;
    }
    Ok(())
}

/// Reads all conversations with their digests for members that compare digests, and changed conversations for the others.
/// Returns the names that the former show through a view.
async fn read_conversations(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    scans: &mut ScansByTenant,
) -> Result<Vec<TouchedName>, PlanError> {
    let (mut comparing, others): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|member| member.compares_digests);
    if !others.is_empty() {
        match signals.changed(&Inboxes::of(others)).await {
            // only a read of all conversations finds the unreadable one
            Err(error) if error.is_data() && members.len() == 1 => {
                signals.recover().await?;
                comparing = members.iter().collect();
            }
            changed => {
                for hit in changed? {
                    scans.note(&hit).changed.push(hit.id);
                }
            }
        }
    }
    for member in &comparing {
        scans.of(member.tenant.id).has_digests = true;
    }
    let mut buckets = match members {
        _ if comparing.is_empty() => Vec::new(),
        // everything is planned, and there is nothing to compare with
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
            let scan = scans.of(tenant);
            scan.target_buckets = target_buckets?;
            scan.unreadable.clone_from(&signals.unreadable);
            buckets?
        }
        // the ids of many tenants are scattered over the buckets, and for most tenants the totals are enough
        _ => signals.conversations(&Inboxes::of(comparing), ALL_IDS).await?,
    };
    let shown = TouchedName::take_shown(&mut buckets);
    for bucket in buckets {
        scans.of(bucket.tenant_id).buckets.push(bucket);
    }
    Ok(shown)
}

/// Finds deleted senders for members that compare digests and do not plan everything. Reading the messages of a view at
/// every plan would be too expensive.
async fn find_deleted_senders(
    db: &DbPool,
    signals: &mut Signals<'_>,
    members: &[Member],
    scans: &mut ScansByTenant,
) -> Result<(), PlanError> {
    let searched: Vec<TenantId> = members
        .iter()
        .filter(|member| member.compares_digests && member.since.is_some())
        .map(|member| member.tenant.id)
        .collect();
    if signals.shape.view().is_some() || searched.is_empty() {
        return Ok(());
    }
    let known = ledger::sender::list(db, &searched).await?;
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

/// The target's buckets, unless the stored totals may replace them.
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
struct ScansByTenant {
    by_tenant: BTreeMap<TenantId, SourceScan>,
    last_changes: BTreeMap<TenantId, LastChanges>,
}

impl ScansByTenant {
    fn of(&mut self, tenant: TenantId) -> &mut SourceScan {
        self.by_tenant.entry(tenant).or_default()
    }

    /// Notes the last change of the conversation. Returns the scan of its tenant.
    fn note(&mut self, hit: &Hit) -> &mut SourceScan {
        let changes = self.last_changes.entry(hit.tenant_id).or_default();
        changes.note(hit.id, hit.change);
        self.of(hit.tenant_id)
    }
}
