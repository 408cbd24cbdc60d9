//! Compares the scan of a tenant with its target.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::target::Bucket;
use tidemark_postgres::DbPool;

use crate::planning::digests::{Difference, difference, differing_buckets, unexplained_buckets};
use crate::planning::error::PlanError;
use crate::planning::mass_delete::{Deletions, Waiting, refuse_mass_delete};
use crate::planning::member::Member;
use crate::planning::names;
use crate::planning::names::NameChanges;
use crate::planning::signals::{BUCKET_WIDTH, Signals};
use crate::planning::source_scan::SourceScan;

/// What differs between source and target.
#[derive(Debug, Default)]
pub(crate) struct TargetComparison {
    pub buckets: Vec<Bucket>,
    pub difference: Difference,
    /// Conversations that were read since their last change, and whose target row still has another digest or is missing.
    pub differing: Vec<i64>,
    pub conversations_of_contacts: Vec<i64>,
    /// Conversations that only their contact may name, and whose rows were made with the contact's present values.
    pub with_same_contact: BTreeSet<i64>,
    pub open_rejects: Vec<i64>,
    pub names: NameChanges,
    pub matched_totals: Option<MatchedTotals>,
    /// Deletions that wait for an operator; not in `difference`.
    pub waiting: Waiting,
}

/// Compares in one snapshot of the target.
pub(crate) async fn compare_with_target(
    db: &DbPool,
    signals: &mut Signals<'_>,
    member: &Member,
    scan: &SourceScan,
) -> Result<TargetComparison, PlanError> {
    let tenant = &member.tenant;
    let mut comparison = TargetComparison::default();
    let mut target = ledger::target::begin(db, tenant.id).await?;
    if !scan.can_skip_target {
        if scan.has_digests {
            compare_digests(&mut target, signals, member, scan, &mut comparison).await?;
        }
        if member.since.is_some() {
            comparison.open_rejects = ledger::target::list_open_rejects(&mut target, tenant.id).await?;
        }
    }
    if !scan.contacts.ids.is_empty() {
        let contacts: Vec<i64> = scan.contacts.ids.iter().copied().collect();
        comparison.conversations_of_contacts =
            ledger::target::list_with_other_client(&mut target, tenant.id, &contacts).await?;
        // a run that an operator requests reads all of them again
        if !member.always_reads_target {
            comparison.with_same_contact = list_with_same_contact(&mut target, member, scan).await?;
        }
    }
    if !scan.suspected_renames.is_empty() {
        comparison.names = names::confirm_renames(&mut target, tenant.id, &scan.suspected_renames).await?;
    }
    target.rollback().await.attempt("end the transaction")?;
    Ok(comparison)
}

/// The conversations of changed contacts whose rows have the contact as it is at the source.
async fn list_with_same_contact(
    target: &mut PgTransaction<'_>,
    member: &Member,
    scan: &SourceScan,
) -> Result<BTreeSet<i64>, PlanError> {
    let named = &scan.contacts.conversations;
    let is_new = |id: &i64| scan.already_read.binary_search(id).is_err();
    let ids: Vec<i64> = named.keys().copied().filter(is_new).collect();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let known = ledger::target::list_contact_digests(target, member.tenant.id, &ids).await?;
    let is_same =
        |(id, digest): &(i64, i64)| named.get(id).is_some_and(|named| named.digest == Some(*digest));
    Ok(known.into_iter().filter(is_same).map(|(id, _)| id).collect())
}

/// Compares the digests of all conversations of both sides, and refuses a mass deletion.
async fn compare_digests(
    target: &mut PgTransaction<'_>,
    signals: &mut Signals<'_>,
    member: &Member,
    scan: &SourceScan,
    comparison: &mut TargetComparison,
) -> Result<(), PlanError> {
    let tenant = &member.tenant;
    comparison.buckets = match &scan.target_buckets {
        Some(buckets) => buckets.clone(),
        None => ledger::target::buckets(target, tenant.id, BUCKET_WIDTH, &member.unfetched).await?,
    };
    let differing = differing_buckets(&scan.buckets, &comparison.buckets);
    let is_first = member.since.is_none() && comparison.buckets.is_empty();
    if differing.is_empty() {
        // the record of matched totals refers to this snapshot of the target
        if let Some(totals) = scan.totals(member).filter(|_| !member.always_reads_target) {
            let idle = ledger::matched_totals::find_idle(target, &totals).await?;
            comparison.matched_totals = idle.map(|idle| MatchedTotals { totals, idle });
        }
    } else if !is_first {
        let differing = list_unexplained(target, member, scan, differing, comparison).await?;
        if !differing.is_empty() {
            let source_digests = signals.digests_in_buckets(member, &differing).await?;
            let target_digests = ledger::target::digests_in_buckets(
                target,
                tenant.id,
                &differing,
                BUCKET_WIDTH,
                &member.unfetched,
            )
            .await?;
            comparison.difference = difference(&source_digests, &target_digests);
        }
        // the target may have older rows of conversations that cannot be read now
        comparison
            .difference
            .gone
            .retain(|id| scan.unreadable.binary_search(id).is_err());
    }
    if !member.allow_mass_delete {
        let live = comparison.buckets.iter().map(|bucket| bucket.count).sum();
        if scan.buckets.is_empty()
            && live > 0
            && !signals
                .source
                .has_any_conversation(signals.tx.connection())
                .await?
        {
            return Err(PlanError::Empty {
                tenant: tenant.id,
                name: signals.source.name().to_owned(),
                live,
            });
        }
        let deletions = Deletions {
            tenant,
            run_type: member.run_type,
            inboxes: &member.inboxes,
            gone: &comparison.difference.gone,
            live,
        };
        let (source, shape) = (signals.source, signals.shape);
        let waiting = refuse_mass_delete(target, source, shape, signals.tx, &deletions).await?;
        comparison.difference.gone.retain(|id| !waiting.has(*id));
        comparison.waiting = waiting;
    }
    Ok(())
}

/// The differing buckets whose conversations must be compared one by one. Conversations that changed by their timestamps
/// are planned anyway: where nothing else differs, neither side is read a second time.
async fn list_unexplained(
    target: &mut PgTransaction<'_>,
    member: &Member,
    scan: &SourceScan,
    differing: Vec<i64>,
    comparison: &mut TargetComparison,
) -> Result<Vec<i64>, PlanError> {
    let changed = scan
        .buckets
        .iter()
        .flat_map(|bucket| bucket.changed.iter().copied());
    let changed: Vec<i64> = changed.collect();
    if changed.is_empty() {
        return Ok(differing);
    }
    let known = ledger::target::digests_of(target, member.tenant.id, &changed, &member.unfetched).await?;
    comparison.differing = list_differing(scan, &known);
    Ok(unexplained_buckets(
        differing,
        &scan.buckets,
        &comparison.buckets,
        &known,
        BUCKET_WIDTH,
    ))
}

/// Conversations that need not be read again by their times, and that the target does not have as the source has them.
fn list_differing(scan: &SourceScan, known: &[(i64, i64)]) -> Vec<i64> {
    let known: BTreeMap<i64, i64> = known.iter().copied().collect();
    scan.buckets
        .iter()
        .flat_map(|bucket| bucket.changed.iter().zip(&bucket.changed_digests))
        .filter(|(id, digest)| scan.already_read.binary_search(id).is_ok() && known.get(id) != Some(digest))
        .map(|(id, _)| *id)
        .collect()
}
