//! Which conversations are not the same on both sides, whatever their timestamps say: every plan compares counts and
//! sums of digests by bucket, and the conversations of the buckets that differ. See `shared/source/digest.rs`.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_shared::db::target::Bucket;

use crate::signals::SourceBucket;

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

/// Conversations that are not the same on both sides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Only in the source: to be fetched.
    pub missing: Vec<i64>,
    /// Only in the target: to be marked deleted.
    pub gone: Vec<i64>,
    /// On both sides, but the source's row is not the one that was read: to be fetched again.
    pub changed: Vec<i64>,
}

/// Compares ids and digests, both sides ascending by id.
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
            last: 0,
            changed: Vec::new(),
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
