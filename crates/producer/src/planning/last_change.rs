//! How late the change is that a signal has named, and which of the named conversations an earlier run has read since.
//!
//! A plan reads the lookback before the watermark again, since a row may be committed late or carry a time that is too
//! early. Most of what it finds there was read by an earlier run. `docs/design/fence.md` proves when that read has seen the
//! change.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use sqlx::FromRow;
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::{KnownRead, ReadQuery};
use tidemark_ledger::stored::Stored;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::ids::TenantId;

use crate::planning::covered::Covered;
use crate::planning::error::PlanError;
use crate::planning::member::Member;

/// A conversation that a signal names.
#[derive(Debug, Clone, Copy, FromRow)]
pub(crate) struct Hit {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub id: i64,
    #[sqlx(flatten)]
    pub change: LastChange,
}

/// The last of the rows by which signals name a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub(crate) struct LastChange {
    /// Transactions since the one that wrote the youngest of these rows; negative where that is unknown.
    pub age: i32,
    /// The latest time of these rows, at most `Inboxes::latest`. `None` where it is unknown.
    pub changed_at: Option<NaiveDateTime>,
}

impl LastChange {
    /// Of a row whose version the source does not show.
    pub(crate) const UNKNOWN: Self = Self {
        age: -1,
        changed_at: None,
    };

    const fn is_known(self) -> bool {
        self.age >= 0 && self.changed_at.is_some()
    }

    /// The later of two changes of one conversation.
    fn later(self, other: Self) -> Self {
        Self {
            age: self.age.min(other.age),
            changed_at: self
                .changed_at
                .zip(other.changed_at)
                .map(|(one, another)| one.max(another)),
        }
    }

    /// The transaction of the youngest row. `next_xid` is the one that ages are counted from.
    fn xid(self, next_xid: i64) -> i64 {
        next_xid - i64::from(self.age)
    }

    /// Whether this read has seen the change: all transactions below the `xmin` of its snapshot had ended, and it was not
    /// before the time that the change carries.
    fn is_seen_by(self, read: &KnownRead, next_xid: i64) -> bool {
        self.is_known()
            && self.xid(next_xid) < read.xmin
            && self
                .changed_at
                .is_some_and(|changed_at| changed_at <= read.clock.naive_utc())
    }
}

/// How the transaction of a row follows from its age: ages are counted from `next_xid`, in this epoch of the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    pub epoch: i32,
    pub next_xid: i64,
}

/// The last changes of a tenant's conversations.
#[derive(Debug, Default)]
pub(crate) struct LastChanges(BTreeMap<i64, LastChange>);

impl LastChanges {
    pub(crate) fn note(&mut self, id: i64, change: LastChange) {
        self.0
            .entry(id)
            .and_modify(|known| *known = known.later(change))
            .or_insert(change);
    }

    /// Takes out the conversations whose changes are all covered.
    fn take_covered(&mut self, covered: Covered) -> Vec<i64> {
        self.0
            .extract_if(.., |_, change| covered.has(change.age, change.changed_at))
            .map(|(id, _)| id)
            .collect()
    }

    /// Keeps those that may be left out: changes before the watermark. What is later was not planned yet, or an operator
    /// wants it once more.
    fn keep_before(&mut self, watermark: NaiveDateTime) {
        self.0.retain(|_, change| {
            change.is_known() && change.changed_at.is_some_and(|changed_at| changed_at < watermark)
        });
    }

    /// The conversations that one of these reads has seen as they are.
    fn seen_by(&self, reads: &[KnownRead], next_xid: i64) -> Vec<i64> {
        let mut ranges = Vec::new();
        let mut by_id: BTreeMap<i64, Vec<&KnownRead>> = BTreeMap::new();
        for read in reads {
            match &read.spec {
                ChunkSpec::Keys { ids } => {
                    for id in ids {
                        by_id.entry(*id).or_default().push(read);
                    }
                }
                ChunkSpec::KeyRange { .. } => ranges.push(read),
            }
        }
        let sees = |id: i64, change: LastChange| {
            let keyed = by_id.get(&id).into_iter().flatten().copied();
            let ranged = ranges.iter().copied().filter(|read| read.spec.covers(id));
            keyed.chain(ranged).any(|read| change.is_seen_by(read, next_xid))
        };
        self.0
            .iter()
            .filter(|(id, change)| sees(**id, **change))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// Finds the conversations of each member that earlier runs have read since their last change. Only scheduled plans leave
/// them out: a run that an operator requests reads the lookback again.
pub(crate) async fn find_already_read(
    db: &DbPool,
    members: &[Member],
    mut changes: BTreeMap<TenantId, LastChanges>,
    Ages { epoch, next_xid }: Ages,
) -> Result<BTreeMap<TenantId, Vec<i64>>, PlanError> {
    let mut queries = Vec::new();
    let mut already_read: BTreeMap<TenantId, Vec<i64>> = BTreeMap::new();
    for member in members.iter().filter(|member| !member.always_reads_target) {
        let (Some(watermark), Some(changes)) = (
            member.watermark.filter(|_| member.since.is_some()),
            changes.get_mut(&member.tenant.id),
        ) else {
            continue;
        };
        if let Some(covered) = member.covered {
            already_read.insert(member.tenant.id, changes.take_covered(covered));
        }
        changes.keep_before(watermark.naive_utc());
        if let Some(oldest) = changes.0.values().map(|change| change.xid(next_xid)).min() {
            queries.push(ReadQuery {
                tenant_id: member.tenant.id,
                mapping_version: member.tenant.mapping_version,
                after: oldest,
            });
        }
    }
    let mut reads: BTreeMap<TenantId, Vec<KnownRead>> = BTreeMap::new();
    for read in ledger::chunk::list_reads(db, epoch, &queries).await? {
        reads.entry(read.tenant_id).or_default().push(read);
    }
    for (tenant, reads) in reads {
        if let Some(changes) = changes.get(&tenant) {
            let ids = already_read.entry(tenant).or_default();
            ids.extend(changes.seen_by(&reads, next_xid));
            ids.sort_unstable();
        }
    }
    Ok(already_read)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn change(age: i32, second: i64) -> LastChange {
        LastChange {
            age,
            changed_at: Some(at(second).naive_utc()),
        }
    }

    fn read(spec: ChunkSpec, xmin: i64, second: i64) -> KnownRead {
        KnownRead {
            tenant_id: TenantId(1),
            spec,
            xmin,
            clock: at(second),
        }
    }

    fn seen(changes: &[(i64, LastChange)], reads: &[KnownRead]) -> Vec<i64> {
        let mut last = LastChanges::default();
        for (id, change) in changes {
            last.note(*id, *change);
        }
        last.keep_before(at(100).naive_utc());
        last.seen_by(reads, 1_000)
    }

    #[test]
    fn a_read_has_seen_a_change_whose_transaction_ended_before_it_and_whose_time_it_has_passed() {
        let keys = |ids: &[i64]| ChunkSpec::Keys { ids: ids.to_vec() };
        let reads = [read(keys(&[1, 2, 3, 4, 5]), 950, 60)];
        let changes = [
            (1, change(51, 50)),
            // open at the snapshot, or begun after it
            (2, change(50, 50)),
            // carries a later time than the read
            (3, change(51, 61)),
            // not before the watermark
            (4, change(51, 100)),
            // its version is unknown
            (5, change(-1, 50)),
            // not in the chunk
            (6, change(51, 50)),
        ];
        assert_eq!(seen(&changes, &reads), [1]);
        let range = [read(ChunkSpec::KeyRange { lo: 2, hi: 6 }, 960, 70)];
        assert_eq!(seen(&changes, &range), [2, 3, 6]);
    }

    #[test]
    fn the_youngest_row_and_the_latest_time_count_and_an_unknown_one_hides_the_others() {
        let reads = [read(ChunkSpec::KeyRange { lo: 1, hi: 9 }, 950, 60)];
        let unknown = LastChange {
            age: 60,
            changed_at: None,
        };
        let changes = [
            (1, change(60, 40)),
            (1, change(55, 50)),
            (2, change(60, 40)),
            (2, change(10, 30)),
            (3, change(60, 40)),
            (3, change(70, 61)),
            (4, change(60, 40)),
            (4, unknown),
            (5, change(60, 40)),
            (5, change(-1, 40)),
        ];
        assert_eq!(seen(&changes, &reads), [1]);
    }
}
