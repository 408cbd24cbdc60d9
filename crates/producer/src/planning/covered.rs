//! Rows of the source that a plan need not look at again, since its tenant's runs have covered them: `docs/design/fence.md`.

use chrono::NaiveDateTime;
use tidemark_ledger::coverage::Coverage;

/// Covered are rows whose transaction is older than `age` and whose time is not after `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covered {
    /// In transactions, as PostgreSQL's `age` counts them in the plan's snapshot.
    pub age: i32,
    pub until: NaiveDateTime,
}

impl Covered {
    /// `next_xid` is the transaction that ages are counted from.
    pub(crate) fn new(coverage: &Coverage, next_xid: i64) -> Self {
        let age = (next_xid - coverage.xmin).max(0);
        Self {
            age: i32::try_from(age).unwrap_or(i32::MAX),
            until: coverage.clock.naive_utc(),
        }
    }

    /// What both have covered.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            age: self.age.max(other.age),
            until: self.until.min(other.until),
        }
    }

    /// An unknown age is negative, and then the row is not covered.
    pub(crate) fn has(self, age: i32, changed_at: Option<NaiveDateTime>) -> bool {
        age > self.age && changed_at.is_some_and(|changed_at| changed_at <= self.until)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn covered(xmin: i64, second: i64) -> Covered {
        let coverage = Coverage {
            epoch: 1,
            xmin,
            clock: at(second),
            since: None,
        };
        Covered::new(&coverage, 1_000)
    }

    fn has(covered: Covered, age: i32, second: i64) -> bool {
        covered.has(age, Some(at(second).naive_utc()))
    }

    #[test]
    fn a_row_is_covered_by_its_transaction_and_its_time_together() {
        let covered = covered(950, 60);
        assert!(has(covered, 51, 60));
        // open at the snapshot, or begun after it
        assert!(!has(covered, 50, 60));
        assert!(!has(covered, 51, 61));
        // unknown
        assert!(!has(covered, -1, 0));
        assert!(!covered.has(51, None));
    }

    #[test]
    fn of_two_tenants_only_what_both_have_covered() {
        let both = covered(950, 60).and(covered(940, 70));
        assert_eq!(both, covered(940, 60));
        assert!(!has(both, 55, 60));
        assert!(has(both, 61, 60));
    }

    #[test]
    fn ages_beyond_what_postgresql_counts_cover_nothing() {
        let coverage = Coverage {
            epoch: 1,
            xmin: 1,
            clock: at(60),
            since: None,
        };
        assert!(!has(Covered::new(&coverage, 1 << 40), i32::MAX, 0));
    }
}
