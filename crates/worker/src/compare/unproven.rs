//! The ids where the sums of digests do not prove both sides equal.

use std::collections::BTreeSet;

use super::sums::{BUCKET_BITS, Buckets, Stretch};

/// Ids whose conversations are compared one by one at once: their digests, of both sides, are then in memory.
const SINGLES_AT_ONCE: i64 = 16 << BUCKET_BITS;

/// Stretches of ids in which the sums do not prove that both sides are the same, each of a bounded length.
pub(super) fn unproven_stretches(there: &Buckets, here: &Buckets, within: Stretch) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for bucket in unproven(there, here) {
        // a bucket that lies partly outside is cut, as its sums are
        let first = bucket << BUCKET_BITS;
        let (lo, hi) = (
            first.max(within.lo),
            (first | ((1 << BUCKET_BITS) - 1)).min(within.hi),
        );
        match stretches.last_mut() {
            Some(last) if last.hi + 1 == lo && hi - last.lo < SINGLES_AT_ONCE => last.hi = hi,
            _ => stretches.push(Stretch { lo, hi }),
        }
    }
    stretches
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
            !here.unwrap_or(&none).proves(there.unwrap_or(&none))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sums::Sums;
    use super::*;

    fn buckets(sums: &[(i64, i64, u64, u64)]) -> Buckets {
        let bucket = |&(bucket, count, related, doubtful): &(i64, i64, u64, u64)| {
            let sums = Sums {
                count,
                related,
                doubtful: i64::try_from(doubtful).unwrap(),
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
        let stretches = unproven_stretches(&there, &here, Stretch { lo: 100, hi: 11_000 });
        let stretches: Vec<_> = stretches.iter().map(|stretch| (stretch.lo, stretch.hi)).collect();
        assert_eq!(stretches, [(100, 4_095), (8_192, 11_000)]);
    }

    #[test]
    fn however_many_buckets_differ_no_stretch_holds_more_ids_than_fit_in_memory() {
        let there: Vec<_> = (0..100).map(|bucket| (bucket, 2_048, 1, 0)).collect();
        let within = Stretch {
            lo: 0,
            hi: (100 << BUCKET_BITS) - 1,
        };
        let stretches = unproven_stretches(&buckets(&there), &Buckets::new(), within);
        assert!(stretches.iter().all(|part| part.hi - part.lo < SINGLES_AT_ONCE));
        assert_eq!(stretches.len(), 7);
        // each begins where the one before it ends
        assert!(stretches.windows(2).all(|pair| pair[0].hi + 1 == pair[1].lo));
        assert_eq!((stretches[0].lo, stretches[6].hi), (within.lo, within.hi));
    }
}
