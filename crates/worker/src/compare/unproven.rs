//! Finds the ids whose sums of digests do not prove source and target equal.

use std::collections::BTreeSet;

use super::sums::{BUCKET_BITS, Buckets, IdRange};

/// The limit for a range whose conversations are compared one by one: the digests of both sides are in memory.
const MAX_RANGE_IDS: i64 = 16 << BUCKET_BITS;

/// Ranges of ids whose sums do not prove both sides equal, each of a bounded length.
pub(super) fn unproven_ranges(source: &Buckets, target: &Buckets, within: IdRange) -> Vec<IdRange> {
    let mut ranges: Vec<IdRange> = Vec::new();
    for bucket in unproven(source, target) {
        // a bucket that is partly outside of the range is cut, as its sums were
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

/// Buckets whose sums do not prove both sides equal, ascending.
pub(super) fn unproven(source: &Buckets, target: &Buckets) -> BTreeSet<i64> {
    let none = Default::default();
    source
        .keys()
        .chain(target.keys())
        .copied()
        .filter(|bucket| {
            let (source, target) = (source.get(bucket), target.get(bucket));
            !target.unwrap_or(&none).prove_equal(source.unwrap_or(&none))
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
    fn neighbouring_buckets_that_differ_are_one_range_and_are_cut_at_the_ends() {
        let source = buckets(&[(0, 5, 7, 0), (1, 2, 7, 0), (2, 2, 7, 0), (5, 1, 1, 0)]);
        let target = buckets(&[
            (0, 5, 8, 0),
            (1, 3, 7, 0),
            (2, 2, 7, 0),
            (4, 1, 1, 1),
            (5, 1, 1, 1),
        ]);
        let ranges = unproven_ranges(&source, &target, IdRange { lo: 100, hi: 11_000 });
        let ranges: Vec<_> = ranges.iter().map(|range| (range.lo, range.hi)).collect();
        assert_eq!(ranges, [(100, 4_095), (8_192, 11_000)]);
    }

    #[test]
    fn however_many_buckets_differ_no_range_has_more_ids_than_fit_in_memory() {
        let source: Vec<_> = (0..100).map(|bucket| (bucket, 2_048, 1, 0)).collect();
        let within = IdRange {
            lo: 0,
            hi: (100 << BUCKET_BITS) - 1,
        };
        let ranges = unproven_ranges(&buckets(&source), &Buckets::new(), within);
        assert!(ranges.iter().all(|part| part.hi - part.lo < MAX_RANGE_IDS));
        assert_eq!(ranges.len(), 7);
        // each begins wtarget the one before it ends
        assert!(ranges.windows(2).all(|pair| pair[0].hi + 1 == pair[1].lo));
        assert_eq!((ranges[0].lo, ranges[6].hi), (within.lo, within.hi));
    }
}
