//! The plan of one tenant: what the source said of it, compared with the target.

use std::collections::BTreeMap;

use tidemark_ledger::run::PlanRecord;
use tidemark_ledger::target::Bucket;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::{KeyStretch, PlannedChunk, key_chunks, range_chunks};
use tidemark_shared::fence::WatermarkBounds;
use tidemark_source::view::ViewShape;

use crate::planning::digests::Difference;
use crate::planning::error::PlanError;
use crate::planning::member::Member;
use crate::planning::plan::{Plan, as_size};
use crate::planning::signals::{Hits, Signals, SourceBucket};
use crate::planning::source_scan::Seen;
use crate::planning::target_comparison::{Compared, compare};

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
