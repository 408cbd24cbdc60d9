//! The plan of one tenant: what the source said of it, compared with the target.

use std::collections::BTreeMap;

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::run::PlanRecord;
use tidemark_ledger::target::Bucket;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::{KeyStretch, PlannedChunk, key_chunks, range_chunks};
use tidemark_shared::fence::WatermarkBounds;
use tidemark_source::view::ViewShape;

use crate::planning::guard::refuse_mass_delete;
use crate::planning::membership::{Difference, difference, differing_buckets, unexplained_buckets};
use crate::planning::names;
use crate::planning::names::Names;
use crate::planning::planner::{Plan, PlanError, as_size};
use crate::planning::signals::{BUCKET_WIDTH, Hits, Signals, SourceBucket};
use crate::planning::source_scan::{Member, Seen};

/// What the target has to say to what the source said.
#[derive(Debug, Default)]
struct Compared {
    buckets: Vec<Bucket>,
    difference: Difference,
    clients: Vec<i64>,
    rejects: Vec<i64>,
    names: Names,
    agreement: Option<MatchedTotals>,
}

/// Makes a member's plan.
///
/// # Errors
/// When source or target do not answer, or too much is gone from the source.
pub(crate) async fn draft(
    db: &DbPool,
    signals: &mut Signals<'_>,
    reach: WatermarkBounds,
    member: &Member,
    seen: Seen,
) -> Result<Plan, PlanError> {
    let is_known = seen.target_is_known && seen.contacts.ids.is_empty() && seen.doubts.is_empty();
    let mut compared = if is_known {
        Compared::default()
    } else {
        compare(db, signals, member, &seen).await?
    };
    let compares_digests = seen.compared;
    let agreement = compared.agreement;
    let mut names = std::mem::take(&mut compared.names);
    names.deleted_senders.clone_from(&seen.deleted_senders);
    // equal selections are equal requests
    names.deleted_senders.sort();
    let (chunks, counts) = if member.since.is_some() {
        let hits = hits(seen, compared, signals.shape.is_none());
        let ids: Vec<i64> = hits.ids.into_iter().collect();
        (key_chunks(&ids, as_size(member.chunk_size)), hits.counts)
    } else {
        let stretches = signals.stretches(&member.inboxes, member.chunk_size).await?;
        let chunks = full_chunks(&stretches, &seen.buckets, &compared.buckets);
        (chunks, BTreeMap::new())
    };
    let moves = member.run_type.moves_watermark();
    Ok(Plan {
        run_type: member.run_type,
        record: PlanRecord {
            mapping_version: member.tenant.mapping_version,
            watermark_start: member.watermark.filter(|_| moves),
            watermark_end: reach.watermark_end(member.watermark).filter(|_| moves),
            signals: counts,
            warnings: signals.shape.map(ViewShape::warnings).unwrap_or_default(),
            chunks_total: i32::try_from(chunks.len()).expect("chunks of a plan fit in 31 bits"),
            compares_digests,
        },
        chunks,
        reach: moves.then_some(reach),
        names,
        agreement,
    })
}

/// Asks the target, in one snapshot of it.
async fn compare(
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
        if seen.buckets.is_empty()
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

/// What every signal names. Messages, answers and contacts of a view are in what it shows of a conversation.
fn hits(seen: Seen, compared: Compared, of_tables: bool) -> Hits {
    let mut hits = Hits::default();
    hits.add(
        "conversations",
        seen.buckets
            .into_iter()
            .flat_map(|bucket| bucket.changed)
            .chain(seen.changed),
    );
    if of_tables {
        hits.add("messages", seen.messages);
        hits.add("csat", seen.csat);
        hits.add("contacts", seen.contacts.conversations);
        hits.add("contacts", compared.clients);
    }
    let Difference {
        missing,
        gone,
        changed,
    } = compared.difference;
    hits.add("membership", missing.into_iter().chain(gone));
    hits.add("digest", changed);
    hits.add("unreadable", seen.unreadable);
    hits.add("rejects", compared.rejects);
    hits
}

/// Ranges over everything that source or target know.
fn full_chunks(
    stretches: &[(i64, i64, i64)],
    source: &[SourceBucket],
    target: &[Bucket],
) -> Vec<PlannedChunk> {
    let stretches: Vec<KeyStretch> = stretches
        .iter()
        .map(|&(first, last, count)| KeyStretch { first, last, count })
        .collect();
    let lasts = source
        .iter()
        .map(|bucket| bucket.last)
        .chain(target.iter().map(|bucket| bucket.last));
    range_chunks(&stretches, lasts.max().unwrap_or(0))
}
