//! What the target has, compared with what the source said of a tenant.

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::target::Bucket;
use tidemark_postgres::DbPool;

use crate::planning::digests::{Difference, difference, differing_buckets, unexplained_buckets};
use crate::planning::error::PlanError;
use crate::planning::mass_delete::refuse_mass_delete;
use crate::planning::member::Member;
use crate::planning::names;
use crate::planning::names::Names;
use crate::planning::signals::{BUCKET_WIDTH, Signals};
use crate::planning::source_scan::Seen;

/// What the target has to say to what the source said.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub buckets: Vec<Bucket>,
    pub difference: Difference,
    pub clients: Vec<i64>,
    pub rejects: Vec<i64>,
    pub names: Names,
    pub agreement: Option<MatchedTotals>,
}

/// Asks the target, in one snapshot of it.
pub(crate) async fn compare(
    db: &DbPool,
    signals: &mut Signals<'_>,
    member: &Member,
    seen: &Seen,
) -> Result<Compared, PlanError> {
    let tenant = &member.tenant;
    let mut compared = Compared::default();
    let mut target = ledger::target::begin(db, tenant.id).await?;
    if !seen.target_is_known {
        if seen.compared {
            compare_digests(&mut target, signals, member, seen, &mut compared).await?;
        }
        if member.since.is_some() {
            compared.rejects = ledger::target::open_rejects(&mut target, tenant.id).await?;
        }
    }
    if !seen.contacts.ids.is_empty() {
        let contacts: Vec<i64> = seen.contacts.ids.iter().copied().collect();
        compared.clients = ledger::target::clients_of(&mut target, tenant.id, &contacts).await?;
    }
    if !seen.doubts.is_empty() {
        compared.names = names::resolve(&mut target, tenant.id, &seen.doubts).await?;
    }
    target.rollback().await.attempt("end the transaction")?;
    Ok(compared)
}

/// What differs by digest, of all that either side has.
async fn compare_digests(
    target: &mut PgTransaction<'_>,
    signals: &mut Signals<'_>,
    member: &Member,
    seen: &Seen,
    compared: &mut Compared,
) -> Result<(), PlanError> {
    let tenant = &member.tenant;
    compared.buckets = match &seen.target_buckets {
        Some(buckets) => buckets.clone(),
        None => ledger::target::buckets(target, tenant.id, BUCKET_WIDTH, &member.unfetched).await?,
    };
    let differing = differing_buckets(&seen.buckets, &compared.buckets);
    let is_first = member.since.is_none() && compared.buckets.is_empty();
    if differing.is_empty() {
        // an agreement is about the snapshot in which the target was compared
        if let Some(totals) = seen.totals(member).filter(|_| !member.always_compare) {
            let quiet = ledger::matched_totals::find_quiet(target, &totals).await?;
            compared.agreement = quiet.map(|quiet| MatchedTotals { totals, quiet });
        }
    } else if !is_first {
        let differing = unexplained(target, member, seen, differing, &compared.buckets).await?;
        if !differing.is_empty() {
            let there = signals.digests_in_buckets(member, &differing).await?;
            let here = ledger::target::digests_in_buckets(
                target,
                tenant.id,
                &differing,
                BUCKET_WIDTH,
                &member.unfetched,
            )
            .await?;
            compared.difference = difference(&there, &here);
        }
        // the target may still have them from before
        compared
            .difference
            .gone
            .retain(|id| seen.unreadable.binary_search(id).is_err());
    }
    if !member.allow_mass_delete {
        let live = compared.buckets.iter().map(|bucket| bucket.count).sum();
        if seen.buckets.is_empty() && live > 0 && !signals.source.shows_any(signals.tx.connection()).await? {
            return Err(PlanError::Empty {
                tenant: tenant.id,
                name: signals.source.name().to_owned(),
                live,
            });
        }
        let gone = &compared.difference.gone;
        refuse_mass_delete(target, tenant, member.run_type, &member.inboxes, gone, live).await?;
    }
    Ok(())
}

/// Those of the differing buckets whose conversations have to be compared one by one. What has changed by its timestamps is
/// taken anyway: where nothing else differs, neither side is read a second time.
async fn unexplained(
    target: &mut PgTransaction<'_>,
    member: &Member,
    seen: &Seen,
    differing: Vec<i64>,
    buckets: &[Bucket],
) -> Result<Vec<i64>, PlanError> {
    let changed = seen
        .buckets
        .iter()
        .flat_map(|bucket| bucket.changed.iter().copied());
    let changed: Vec<i64> = changed.collect();
    if changed.is_empty() {
        return Ok(differing);
    }
    let known = ledger::target::digests_of(target, member.tenant.id, &changed, &member.unfetched).await?;
    Ok(unexplained_buckets(
        differing,
        &seen.buckets,
        buckets,
        &known,
        BUCKET_WIDTH,
    ))
}
