//! Finds conversations that differ between source and target, whatever their timestamps are. A plan compares the counts and
//! the sums of digests of each bucket, then the conversations of the buckets that differ. See `source/digest.rs`.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_ledger::target::Bucket;

use crate::planning::signals::{SourceBucket, parse_sum};

/// Buckets in which source and target hold different conversations.
pub(crate) fn differing_buckets(source: &[SourceBucket], target: &[Bucket]) -> Vec<i64> {
    let source: BTreeMap<i64, (i64, &str)> = source
        .iter()
        .filter(|bucket| bucket.count > 0)
        .map(|bucket| (bucket.bucket, (bucket.count, bucket.digest.as_str())))
        .collect();
    let target: BTreeMap<i64, (i64, &str)> = target
        .iter()
        .map(|bucket| (bucket.bucket, (bucket.count, bucket.digest.as_str())))
        .collect();
    let all: BTreeSet<i64> = source.keys().chain(target.keys()).copied().collect();
    all.into_iter()
        .filter(|bucket| source.get(bucket) != target.get(bucket))
        .collect()
}

/// The differing buckets in which other conversations differ than those that changed by their timestamps. `known` are the
/// target's digests of the changed conversations, which are read again anyway.
pub(crate) fn unexplained_buckets(
    differing: Vec<i64>,
    source: &[SourceBucket],
    target: &[Bucket],
    known: &[(i64, i64)],
    width: i64,
) -> Vec<i64> {
    let source: BTreeMap<i64, (i64, i128)> = source
        .iter()
        .map(|bucket| (bucket.bucket, bucket.unchanged()))
        .collect();
    let mut target: BTreeMap<i64, (i64, i128)> = target
        .iter()
        .map(|bucket| (bucket.bucket, (bucket.count, parse_sum(&bucket.digest))))
        .collect();
    for (id, digest) in known {
        let (count, sum) = target.entry(id.div_euclid(width)).or_default();
        *count -= 1;
        *sum -= i128::from(*digest);
    }
    let nothing = (0, 0);
    let mut unexplained = differing;
    unexplained
        .retain(|bucket| source.get(bucket).unwrap_or(&nothing) != target.get(bucket).unwrap_or(&nothing));
    unexplained
}

/// Conversations that are not the same on both sides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Only in the source: to read.
    pub missing: Vec<i64>,
    /// Only in the target: to mark deleted.
    pub gone: Vec<i64>,
    /// On both sides with different digests: to read again.
    pub changed: Vec<i64>,
}

/// Compares ids and digests.
pub(crate) fn difference(source: &[(i64, i64)], target: &[(i64, i64)]) -> Difference {
    let source: BTreeMap<i64, i64> = source.iter().copied().collect();
    let target: BTreeMap<i64, i64> = target.iter().copied().collect();
    let mut found = Difference::default();
    for (id, digest) in &source {
        match target.get(id) {
            None => found.missing.push(*id),
            Some(known) if known != digest => found.changed.push(*id),
            Some(_) => {}
        }
    }
    found.gone = target
        .keys()
        .filter(|id| !source.contains_key(id))
        .copied()
        .collect();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bucket: i64, count: i64, digest: &str) -> SourceBucket {
        SourceBucket {
            tenant_id: tidemark_shared::ids::TenantId(1),
            bucket,
            count,
            digest: digest.into(),
            changed_count: 0,
            changed_digest: "0".into(),
            last: 0,
            changed: Vec::new(),
            names: None,
            changed_digests: Vec::new(),
            changed_ages: Vec::new(),
            changed_times: Vec::new(),
        }
    }

    fn target(bucket: i64, count: i64, digest: &str) -> Bucket {
        Bucket {
            bucket,
            count,
            digest: digest.into(),
            last: 0,
        }
    }

    #[test]
    fn a_bucket_differs_by_count_by_digest_and_by_being_on_one_side_only() {
        let source = [source(0, 3, "10"), source(1, 2, "7"), source(2, 1, "4")];
        let target = [target(0, 3, "10"), target(1, 2, "8"), target(3, 1, "9")];
        assert_eq!(differing_buckets(&source, &target), [1, 2, 3]);
    }

    #[test]
    fn a_bucket_is_explained_when_only_what_has_changed_differs_in_it() {
        let changed = |bucket, count, digest, changed_count, changed_digest: &str| SourceBucket {
            changed_count,
            changed_digest: changed_digest.into(),
            ..source(bucket, count, digest)
        };
        // one changed and one new; one changed and one gone; one of two new; all changed
        let source = [
            changed(0, 3, "111", 2, "101"),
            changed(1, 1, "5", 1, "5"),
            changed(2, 2, "9", 1, "4"),
            changed(3, 1, "7", 1, "7"),
        ];
        let target = [target(0, 2, "40"), target(1, 2, "11"), target(3, 1, "6")];
        let known = [(1, 30), (11, 4), (30, 6)];
        let found = unexplained_buckets(vec![0, 1, 2, 3], &source, &target, &known, 10);
        assert_eq!(found, [1, 2]);
    }

    #[test]
    fn a_conversation_is_missing_gone_or_changed() {
        let found = difference(
            &[(1, 10), (2, 20), (5, 50)],
            &[(2, 20), (3, 30), (5, 51), (9, 90)],
        );
        assert_eq!(
            found,
            Difference {
                missing: vec![1],
                gone: vec![3, 9],
                changed: vec![5]
            }
        );
    }

    #[test]
    fn a_bucket_of_inboxes_that_are_not_yet_fetched_does_not_differ() {
        assert_eq!(differing_buckets(&[source(4, 0, "0")], &[]), [0; 0]);
    }
}
