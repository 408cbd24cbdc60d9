//! The ids where the sums of digests do not prove both sides equal.

use std::collections::BTreeSet;

use super::sums::{BUCKET_BITS, Buckets, IdRange};

/// Ids whose conversations are compared one by one at once: their digests, of both sides, are then in memory.
const MAX_RANGE_IDS: i64 = 16 << BUCKET_BITS;

/// Stretches of ids in which the sums do not prove that both sides are the same, each of a bounded length.
pub(super) fn unproven_ranges(there: &Buckets, here: &Buckets, within: IdRange) -> Vec<IdRange> {
    let mut ranges: Vec<IdRange> = Vec::new();
    for bucket in unproven(there, here) {
        // a bucket that lies partly outside is cut, as its sums are
        let first = bucket << BUCKET_BITS;
        let (lo, hi) = (
            first.max(within.lo),
            (first | ((1 << BUCKET_BITS) - 1)).min(within.hi),
        );
        match ranges.last_mut() {
            Some(last) if last.hi + 1 == lo && hi - last.lo < MAX_RANGE_IDS => last.hi = hi,
            _ => ranges.push(IdRange { lo, hi }),
        }
    }
    ranges
}

/// Buckets of which the sums do not prove that both sides are the same, ascending.
pub(super) fn unproven(there: &Buckets, here: &Buckets) -> BTreeSet<i64> {
    let none = Default::default();
    there
        .keys()
        .chain(here.keys())
        .copied()
        .filter(|bucket| {
            let (there, here) = (there.get(bucket), here.get(bucket));
            !here.unwrap_or(&none).prove_equal(there.unwrap_or(&none))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sums::Sums;
    use super::*;

    fn buckets(sums: &[(i64, i64, u64, u64)]) -> Buckets {
        let bucket = |&(bucket, count, related, unproven_count): &(i64, i64, u64, u64)| {
            let sums = Sums {
                count,
                related,
                unproven_count: i64::try_from(unproven_count).unwrap(),
                ..Sums::default()
            };
            (bucket, sums)
        };
        sums.iter().map(bucket).collect()
    }

    #[test]
    fn buckets_beside_each_other_that_differ_are_one_stretch_and_cut_at_the_ends() {
        let there = buckets(&[(0, 5, 7, 0), (1, 2, 7, 0), (2, 2, 7, 0), (5, 1, 1, 0)]);
        let here = buckets(&[
            (0, 5, 8, 0),
            (1, 3, 7, 0),
            (2, 2, 7, 0),
            (4, 1, 1, 1),
            (5, 1, 1, 1),
        ]);
        let ranges = unproven_ranges(&there, &here, IdRange { lo: 100, hi: 11_000 });
        let ranges: Vec<_> = ranges.iter().map(|range| (range.lo, range.hi)).collect();
        assert_eq!(ranges, [(100, 4_095), (8_192, 11_000)]);
    }

    #[test]
    fn however_many_buckets_differ_no_stretch_holds_more_ids_than_fit_in_memory() {
        let there: Vec<_> = (0..100).map(|bucket| (bucket, 2_048, 1, 0)).collect();
        let within = IdRange {
            lo: 0,
            hi: (100 << BUCKET_BITS) - 1,
        };
        let ranges = unproven_ranges(&buckets(&there), &Buckets::new(), within);
        assert!(ranges.iter().all(|part| part.hi - part.lo < MAX_RANGE_IDS));
        assert_eq!(ranges.len(), 7);
        // each begins where the one before it ends
        assert!(ranges.windows(2).all(|pair| pair[0].hi + 1 == pair[1].lo));
        assert_eq!((ranges[0].lo, ranges[6].hi), (within.lo, within.hi));
    }
}
