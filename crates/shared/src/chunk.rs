//! Chunks: fixed pieces of key space, never an offset and never a time range that has to be searched again.

use serde::{Deserialize, Serialize};

/// What a chunk covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChunkSpec {
    /// Conversations that the plan saw, in ascending order.
    Keys { ids: Vec<i64> },
    /// Every conversation of the tenant with `lo <= id <= hi`, also those that the plan did not see.
    KeyRange { lo: i64, hi: i64 },
}

impl ChunkSpec {
    /// Whether this conversation is the chunk's to take.
    #[must_use]
    pub fn covers(&self, id: i64) -> bool {
        match self {
            Self::Keys { ids } => ids.binary_search(&id).is_ok(),
            Self::KeyRange { lo, hi } => (*lo..=*hi).contains(&id),
        }
    }
}

/// A chunk as the plan makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChunk {
    pub spec: ChunkSpec,
    /// Keys in it; for a range, as counted at the plan.
    pub key_count: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkStatus {
    /// Entered by planning, by a failed attempt, and by rescue; left by dispatch or by a claim.
    Pending,
    /// Entered by dispatch; left by a claim, or by rescue when nobody claims it.
    Queued,
    /// Entered by a claim, with a lease; left by the holder of the attempt, or by rescue when the lease is over.
    Running,
    /// Its rows are in the target. Terminal.
    Done,
    /// Given up on. Terminal, until an operator retries it.
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

/// What became of a chunk's rows. `extracted = inserted + updated + unchanged + stale + rejected`, and the chunk's
/// keys = `extracted + gone`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkCounts {
    pub extracted: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    /// Rows for which the target already had a newer read.
    pub stale: i64,
    /// Target rows marked deleted.
    pub deleted: i64,
    pub rejected: i64,
    /// Keys that the source no longer has.
    pub gone: i64,
}

/// Cuts ascending, distinct ids into chunks of at most `chunk_size` keys.
///
/// # Panics
/// When `chunk_size` is zero.
#[must_use]
pub fn key_chunks(ids: &[i64], chunk_size: usize) -> Vec<PlannedChunk> {
    ids.chunks(chunk_size)
        .map(|ids| PlannedChunk {
            key_count: count(ids.len()),
            spec: ChunkSpec::Keys { ids: ids.to_vec() },
        })
        .collect()
}

/// A stretch of ids with its population, as the source counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStretch {
    pub first: i64,
    pub last: i64,
    pub count: i64,
}

/// Turns ascending stretches into ranges without gap or overlap that cover everything from 1 to `top` (the highest
/// id that source or target knows), so that a range also finds what only the target still has.
#[must_use]
pub fn range_chunks(stretches: &[KeyStretch], top: i64) -> Vec<PlannedChunk> {
    let highest = stretches.last().map_or(top, |stretch| stretch.last.max(top));
    if stretches.is_empty() {
        return if top < 1 {
            Vec::new()
        } else {
            vec![range(1, top, 0)]
        };
    }
    let mut lo = stretches[0].first.min(1);
    let mut chunks = Vec::with_capacity(stretches.len());
    for (index, stretch) in stretches.iter().enumerate() {
        let hi = stretches.get(index + 1).map_or(highest, |next| next.first - 1);
        chunks.push(range(lo, hi, stretch.count));
        lo = hi + 1;
    }
    chunks
}

fn range(lo: i64, hi: i64, key_count: i64) -> PlannedChunk {
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

    proptest! {
        #[test]
        fn key_chunks_cover_every_key_once(ids in proptest::collection::btree_set(1..10_000_i64, 0..500), size in 1..300_usize) {
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
            let stretches = stretches(&ids, size);
            let chunks = range_chunks(&stretches, top);
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

    fn stretches(ids: &BTreeSet<i64>, size: usize) -> Vec<KeyStretch> {
        let ids: Vec<i64> = ids.iter().copied().collect();
        ids.chunks(size)
            .map(|part| KeyStretch {
                first: part[0],
                last: part[part.len() - 1],
                count: i64::try_from(part.len()).unwrap(),
            })
            .collect()
    }
}
