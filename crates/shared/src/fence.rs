//! The fence limits how far a watermark may advance: it is the newest instant before which every write is visible to
//! the plan.
//!
//! Without it, rows that are written before a plan and committed after it would be lost. A sample of the source reads
//! the clock first and then `hi`, the highest assigned transaction id. Every write before the sample's clock belongs to
//! a transaction `<= hi`. When all of those have ended before a plan's snapshot, the plan sees every write before that
//! clock.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One sample of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceSample {
    /// The source's clock, read before `hi`.
    pub sampled_at: DateTime<Utc>,
    /// Highest transaction id known to be assigned, 64 bits.
    pub hi: i64,
}

/// The snapshot of the source that a plan or a chunk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceSnapshot {
    /// Lowest transaction id still in progress.
    pub xmin: i64,
    /// One past the highest completed transaction id.
    pub xmax: i64,
    /// Transactions in progress below `xmax`.
    pub in_progress: i32,
    /// The source's clock when the transaction began.
    pub clock: DateTime<Utc>,
}

/// The version of a read. The older of two reads has the lower version, compared field by field, the clock last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceVersion {
    pub epoch: i32,
    pub snapshot: SourceSnapshot,
}

/// The version of a read as it is stored with the rows. It has no clock: a server's clock may be set back, and
/// transaction ids only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadVersion {
    pub epoch: i32,
    pub xmax: i64,
    pub in_progress: i32,
}

impl ReadVersion {
    /// Whether the read is later than `snapshot`.
    #[must_use]
    pub fn is_later_than(self, snapshot: &SourceVersion) -> bool {
        let SourceVersion { epoch, snapshot } = snapshot;
        (self.epoch, self.xmax, -self.in_progress) > (*epoch, snapshot.xmax, -snapshot.in_progress)
    }
}

/// The transaction that holds the fence back: the oldest one in the source's database that has written something. Some
/// fields depend on the rights of the login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `None` for a prepared transaction, which has no session.
    pub pid: Option<i32>,
    pub user: Option<String>,
    pub application: Option<String>,
    /// For example `active` or `idle in transaction`; hidden from logins without `pg_read_all_stats`.
    pub state: Option<String>,
    /// When the transaction began or was prepared; hidden like `state`.
    pub since: Option<DateTime<Utc>>,
    /// The name of a prepared transaction.
    pub prepared: Option<String>,
}

/// The clock of the newest sample whose transactions had all ended before the plan's snapshot; `None` when there is none.
/// `horizon` is the lowest transaction id that may still have been open at the snapshot.
#[must_use]
pub fn fence(samples: &[FenceSample], horizon: i64) -> Option<DateTime<Utc>> {
    samples
        .iter()
        .filter(|sample| sample.hi < horizon)
        .map(|sample| sample.sampled_at)
        .max()
}

/// Every transaction of this database with an id below the horizon had ended before the snapshot.
///
/// Transaction ids are assigned per server, so transactions of other databases also keep `xmin` low. `oldest_open` is
/// the lowest id that was open in this database just before the snapshot (`None`: no transaction was open). A
/// transaction with an id up to a sample's `hi` that is open at the snapshot was already open when `oldest_open` was
/// read. So one that was not open then has ended.
#[must_use]
pub fn horizon(oldest_open: Option<i64>, snapshot: &SourceSnapshot) -> i64 {
    oldest_open.unwrap_or(i64::MAX).max(snapshot.xmin)
}

/// The two upper bounds of the watermarks of a plan. The lower one applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkBounds {
    /// `None`: an open transaction is older than every sample.
    pub fence: Option<DateTime<Utc>>,
    /// The source's clock minus the safety lag.
    pub safety: DateTime<Utc>,
}

impl WatermarkBounds {
    #[must_use]
    pub fn new(fence: Option<DateTime<Utc>>, snapshot: &SourceSnapshot, safety_lag: Duration) -> Self {
        Self {
            fence,
            safety: snapshot.clock - safety_lag,
        }
    }

    /// The watermark after a successful run with this plan. It never passes the fence and never moves back.
    #[must_use]
    pub fn watermark_end(self, start: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        self.fence.map(|fence| fence.min(self.safety)).max(start)
    }
}

/// Widens a 32-bit transaction id to the 64-bit id nearest to `near`: `pg_stat_activity` and `pg_prepared_xacts` only
/// show the low half, which wraps around.
#[must_use]
pub fn widen_xid(xid: u32, near: i64) -> i64 {
    const SPAN: i64 = 1 << 32;
    let candidate = (near & !(SPAN - 1)) | i64::from(xid);
    if candidate - near > SPAN / 2 {
        candidate - SPAN
    } else if near - candidate > SPAN / 2 {
        candidate + SPAN
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("in range")
    }

    fn snapshot(xmin: i64, second: i64) -> SourceSnapshot {
        SourceSnapshot {
            xmin,
            xmax: xmin,
            in_progress: 0,
            clock: at(second),
        }
    }

    #[test]
    fn a_read_is_beyond_a_snapshot_by_its_transactions_and_not_by_its_clock() {
        let read = |epoch, xmax, in_progress| ReadVersion {
            epoch,
            xmax,
            in_progress,
        };
        let snapshot = SourceVersion {
            epoch: 2,
            snapshot: SourceSnapshot {
                in_progress: 3,
                ..snapshot(100, 10)
            },
        };
        for beyond in [read(3, 1, 0), read(2, 101, 9), read(2, 100, 2)] {
            assert!(beyond.is_later_than(&snapshot), "{beyond:?}");
        }
        for not in [read(1, 999, 0), read(2, 99, 0), read(2, 100, 3), read(2, 100, 4)] {
            assert!(!not.is_later_than(&snapshot), "{not:?}");
        }
    }

    #[test]
    fn an_open_transaction_holds_the_fence_at_the_last_sample_before_it() {
        let samples = [
            FenceSample {
                sampled_at: at(10),
                hi: 99,
            },
            FenceSample {
                sampled_at: at(20),
                hi: 100,
            },
            FenceSample {
                sampled_at: at(30),
                hi: 105,
            },
        ];
        assert_eq!(fence(&samples, 100), Some(at(10)));
        assert_eq!(fence(&samples, 106), Some(at(30)));
        assert_eq!(fence(&samples, 99), None);
    }

    #[test]
    fn a_transaction_of_another_database_does_not_hold_the_fence() {
        assert_eq!(
            horizon(None, &snapshot(100, 40)),
            i64::MAX,
            "nothing of this database is open"
        );
        assert_eq!(
            horizon(Some(120), &snapshot(100, 40)),
            120,
            "100 is of another database"
        );
        assert_eq!(
            horizon(Some(90), &snapshot(100, 40)),
            100,
            "90 has ended meanwhile"
        );
    }

    #[test]
    fn the_watermark_waits_for_the_safety_lag_and_never_goes_back() {
        let end = |start, fence| {
            WatermarkBounds::new(fence, &snapshot(1, 40), Duration::from_secs(5)).watermark_end(start)
        };
        assert_eq!(end(None, Some(at(38))), Some(at(35)));
        assert_eq!(end(Some(at(36)), Some(at(38))), Some(at(36)));
        assert_eq!(end(Some(at(20)), None), Some(at(20)));
        assert_eq!(end(None, None), None);
    }

    #[test]
    fn a_narrow_id_is_widened_across_the_wrap() {
        let epoch = 7_i64 << 32;
        assert_eq!(widen_xid(500, epoch + 400), epoch + 500);
        assert_eq!(widen_xid(u32::MAX, epoch + 5), epoch - 1);
        assert_eq!(widen_xid(3, epoch - 2), epoch + 3);
    }
}
