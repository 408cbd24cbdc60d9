//! Builds the plan of one tenant from its scan and the comparison with its target.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_ledger::coverage::Coverage;
use tidemark_ledger::run::PlanRecord;
use tidemark_ledger::target::Bucket;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::{CountedRange, PlannedChunk, key_chunks, range_chunks};
use tidemark_shared::fence::WatermarkBounds;
use tidemark_shared::inbox::decision_about;

use crate::planning::digests::Difference;
use crate::planning::error::PlanError;
use crate::planning::member::Member;
use crate::planning::plan::{Plan, Upgrade, as_size};
use crate::planning::signals::{Hits, RelatedSignal, Signals, SourceBucket};
use crate::planning::source_scan::SourceScan;
use crate::planning::target_comparison::{TargetComparison, compare_with_target};

/// Builds a member's plan.
pub(crate) async fn build_plan(
    db: &DbPool,
    signals: &mut Signals<'_>,
    bounds: WatermarkBounds,
    coverage: Coverage,
    member: &Member,
    scan: SourceScan,
) -> Result<Plan, PlanError> {
    let can_skip_target =
        scan.can_skip_target && scan.contacts.ids.is_empty() && scan.suspected_renames.is_empty();
    let mut comparison = if can_skip_target {
        TargetComparison::default()
    } else {
        compare_with_target(db, signals, member, &scan).await?
    };
    let compares_digests = scan.has_digests;
    let matched_totals = comparison.matched_totals;
    let waiting = if compares_digests || member.allow_mass_delete {
        std::mem::take(&mut comparison.waiting.inboxes)
    } else {
        // as the last comparison found it
        member.waiting.clone()
    };
    let all_wait = member
        .inboxes
        .iter()
        .all(|id| waiting.iter().any(|inbox| inbox.inbox_id == *id));
    let undecided = decision_about(member.tenant.id, &waiting, all_wait);
    let mut names = std::mem::take(&mut comparison.names);
    names.deleted_senders.clone_from(&scan.deleted_senders);
    // sorted, so that equal lists give equal requests
    names.deleted_senders.sort();
    let (chunks, counts) = if member.since.is_some() {
        let hits = collect_hits(scan, comparison, signals.shape.view().is_none());
        let ids: Vec<i64> = hits.ids.into_iter().collect();
        (key_chunks(&ids, as_size(member.chunk_size)), hits.counts)
    } else {
        let stretches = signals.stretches(&member.inboxes, member.chunk_size).await?;
        let chunks = full_chunks(&stretches, &scan.buckets, &comparison.buckets);
        (chunks, BTreeMap::new())
    };
    let moves = member.run_type.moves_watermark();
    let absent_columns = signals.shape.absent_beyond_digests();
    let upgrade = (moves && absent_columns != member.absent_columns).then(|| Upgrade {
        absent_columns,
        has_rows: member.watermark.is_some(),
    });
    Ok(Plan {
        run_type: member.run_type,
        record: PlanRecord {
            mapping_version: member.tenant.mapping_version,
            watermark_start: member.watermark.filter(|_| moves),
            watermark_end: bounds.watermark_end(member.watermark).filter(|_| moves),
            signals: counts,
            warnings: signals
                .shape
                .warnings()
                .iter()
                .map(ToString::to_string)
                .chain(member.warnings.iter().cloned())
                .collect(),
            chunks_total: i32::try_from(chunks.len()).expect("chunks of a plan fit in 31 bits"),
            compares_digests,
            undecided,
            coverage: moves.then_some(coverage),
        },
        waiting,
        chunks,
        watermark_bounds: moves.then_some(bounds),
        names,
        upgrade,
        matched_totals,
    })
}

/// The conversations that each signal names, without those that an earlier run has read since. The signals of a view
/// include its messages, answers and contacts.
fn collect_hits(scan: SourceScan, comparison: TargetComparison, reads_tables: bool) -> Hits {
    let mut already_read: BTreeSet<i64> = scan.already_read.into_iter().collect();
    for id in &comparison.differing {
        already_read.remove(id);
    }
    let is_new = |id: &i64| !already_read.contains(id);
    let mut hits = Hits::default();
    hits.add(
        "conversations",
        scan.buckets
            .into_iter()
            .flat_map(|bucket| bucket.changed)
            .chain(scan.changed)
            .filter(is_new),
    );
    if reads_tables {
        hits.add("messages", scan.messages.into_iter().filter(is_new));
        hits.add("csat", scan.csat.into_iter().filter(is_new));
        for signal in RelatedSignal::ALL {
            let found = scan.related.iter().filter(|(of, _)| *of == signal);
            hits.add(signal.as_str(), found.map(|(_, id)| *id).filter(is_new));
        }
        let of_contacts = scan.contacts.conversations.into_keys().filter(is_new);
        hits.add(
            "contacts",
            of_contacts.filter(|id| !comparison.with_same_contact.contains(id)),
        );
        hits.add("contacts", comparison.conversations_of_contacts);
    }
    let Difference {
        missing,
        gone,
        changed,
    } = comparison.difference;
    hits.add("membership", missing.into_iter().chain(gone));
    hits.add("digest", changed);
    hits.add("unreadable", scan.unreadable);
    hits.add("rejects", comparison.open_rejects);
    hits
}

/// Ranges that cover every id of the source and the target.
fn full_chunks(
    stretches: &[(i64, i64, i64)],
    source: &[SourceBucket],
    target: &[Bucket],
) -> Vec<PlannedChunk> {
    let stretches: Vec<CountedRange> = stretches
        .iter()
        .map(|&(first, last, count)| CountedRange { first, last, count })
        .collect();
    let lasts = source
        .iter()
        .map(|bucket| bucket.last)
        .chain(target.iter().map(|bucket| bucket.last));
    range_chunks(&stretches, lasts.max().unwrap_or(0))
}
