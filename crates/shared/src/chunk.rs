//! Chunks: fixed pieces of key space. Never an offset, and never a time range that has to be searched again.

use serde::{Deserialize, Serialize};

/// The conversations that a chunk covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChunkSpec {
    /// Conversations that the plan saw, in ascending order.
    Keys { ids: Vec<i64> },
    /// Every conversation of the tenant with `lo <= id <= hi`, including those that the plan did not see.
    KeyRange { lo: i64, hi: i64 },
}

impl ChunkSpec {
    /// The listed conversations, ascending; none for a range.
    #[must_use]
    pub fn keys(&self) -> &[i64] {
        match self {
            Self::Keys { ids } => ids,
            Self::KeyRange { .. } => &[],
        }
    }

    /// Whether the chunk covers this conversation.
    #[must_use]
    pub fn covers(&self, id: i64) -> bool {
        match self {
            Self::Keys { ids } => ids.binary_search(&id).is_ok(),
            Self::KeyRange { lo, hi } => (*lo..=*hi).contains(&id),
        }
    }
}

/// A chunk as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChunk {
    pub spec: ChunkSpec,
    /// Number of keys; for a range, as the plan counted them.
    pub key_count: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkStatus {
    /// Entered by planning, by a failed attempt, and by rescue; left by dispatch or by a claim.
    Pending,
    /// Entered by dispatch; left by a claim, or by rescue when no worker claims it.
    Queued,
    /// Entered by a claim, with a lease; left by the worker of the attempt, or by rescue when the lease has expired.
    Running,
    /// Its rows are in the target. Terminal.
    Done,
    /// It failed too often or permanently. Terminal, until an operator retries it.
    Dead,
    /// Its run was cancelled. Terminal, until an operator retries it.
    Cancelled,
}

impl ChunkStatus {
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
    ];

    /// Whether it has not ended.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Queued | Self::Running)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Counts of a chunk's rows by outcome. `extracted = inserted + updated + unchanged + stale + rejected`, and the chunk's
/// keys = `extracted + gone`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkCounts {
    pub extracted: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    /// Rows that the target already had from a newer read.
    pub stale: i64,
    /// Target rows marked deleted.
    pub deleted: i64,
    pub rejected: i64,
    /// Keys that the source no longer has.
    pub gone: i64,
}

/// More keys than these are shared out to two workers at least.
const KEYS_OF_ONE_WORKER: usize = 500;

/// Cuts ascending, distinct ids into chunks of at most `chunk_size` keys. More than 500 are two chunks at least.
///
/// # Panics
/// When `chunk_size` is zero.
#[must_use]
pub fn key_chunks(ids: &[i64], chunk_size: usize) -> Vec<PlannedChunk> {
    let chunk_size = if ids.len() > KEYS_OF_ONE_WORKER {
        chunk_size.min(ids.len().div_ceil(2))
    } else {
        chunk_size
    };
    ids.chunks(chunk_size)
        .map(|ids| PlannedChunk {
            key_count: count(ids.len()),
            spec: ChunkSpec::Keys { ids: ids.to_vec() },
        })
        .collect()
}

/// A range of ids with the number of conversations that the source has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedRange {
    pub first: i64,
    pub last: i64,
    pub count: i64,
}

/// Turns ascending ranges into chunks without gap or overlap that cover all ids from 1 to `top`, the highest id in
/// source or target. So the chunks also find rows that only the target still has.
#[must_use]
pub fn range_chunks(ranges: &[CountedRange], top: i64) -> Vec<PlannedChunk> {
    let highest = ranges.last().map_or(top, |range| range.last.max(top));
    if ranges.is_empty() {
        return if top < 1 {
            Vec::new()
        } else {
            vec![range_chunk(1, top, 0)]
        };
    }
    let mut lo = ranges[0].first.min(1);
    let mut chunks = Vec::with_capacity(ranges.len());
    for (index, range) in ranges.iter().enumerate() {
        let hi = ranges.get(index + 1).map_or(highest, |next| next.first - 1);
        chunks.push(range_chunk(lo, hi, range.count));
        lo = hi + 1;
    }
    chunks
}

fn range_chunk(lo: i64, hi: i64, key_count: i64) -> PlannedChunk {
    PlannedChunk {
        spec: ChunkSpec::KeyRange { lo, hi },
        key_count,
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).expect("a chunk's length fits in 63 bits")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_cover_themselves_and_a_range_all_between_its_ends() {
        let keys = ChunkSpec::Keys { ids: vec![2, 5, 9] };
        let range = ChunkSpec::KeyRange { lo: 2, hi: 9 };
        let covered = |spec: &ChunkSpec| (1..=10).filter(|id| spec.covers(*id)).collect::<Vec<_>>();
        assert_eq!(covered(&keys), [2, 5, 9]);
        assert_eq!(covered(&range), (2..=9).collect::<Vec<_>>());
    }

    #[test]
    fn many_keys_are_shared_by_two_chunks_and_few_are_not() {
        let sizes = |count: i64| -> Vec<i64> {
            let ids: Vec<i64> = (1..=count).collect();
            key_chunks(&ids, 1_000)
                .iter()
                .map(|chunk| chunk.key_count)
                .collect()
        };
        assert_eq!(sizes(500), [500]);
        assert_eq!(sizes(501), [251, 250]);
        assert_eq!(sizes(1_000), [500, 500]);
        assert_eq!(sizes(2_001), [1_000, 1_000, 1]);
    }

    proptest! {
        #[test]
        fn key_chunks_cover_every_key_once(ids in proptest::collection::btree_set(1..10_000_i64, 0..900), size in 1..900_usize) {
            let ids: Vec<i64> = ids.into_iter().collect();
            let mut seen = Vec::new();
            for chunk in key_chunks(&ids, size) {
                let ChunkSpec::Keys { ids } = chunk.spec else { panic!("keys were asked for") };
                prop_assert!(!ids.is_empty() && ids.len() <= size);
                prop_assert_eq!(chunk.key_count, i64::try_from(ids.len()).unwrap());
                seen.extend(ids);
            }
            prop_assert_eq!(seen, ids);
        }

        #[test]
        fn range_chunks_have_no_gap_and_no_overlap(ids in proptest::collection::btree_set(1..10_000_i64, 0..500), size in 1..300_usize, top in 0..12_000_i64) {
            let counted = counted_ranges(&ids, size);
            let chunks = range_chunks(&counted, top);
            let mut next = 1;
            for chunk in &chunks {
                let ChunkSpec::KeyRange { lo, hi } = chunk.spec else { panic!("ranges were asked for") };
                prop_assert_eq!(lo, next);
                prop_assert!(hi >= lo);
                prop_assert_eq!(i64::try_from(ids.range(lo..=hi).count()).unwrap(), chunk.key_count);
                next = hi + 1;
            }
            prop_assert_eq!(next - 1, ids.last().copied().unwrap_or(0).max(top));
        }
    }

    fn counted_ranges(ids: &BTreeSet<i64>, size: usize) -> Vec<CountedRange> {
        let ids: Vec<i64> = ids.iter().copied().collect();
        ids.chunks(size)
            .map(|part| CountedRange {
                first: part[0],
                last: part[part.len() - 1],
                count: i64::try_from(part.len()).unwrap(),
            })
            .collect()
    }
}
