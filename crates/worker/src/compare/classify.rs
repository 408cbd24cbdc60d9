//! Column by column: staged rows, as the source makes them now, beside what the target stores.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use tidemark_ledger::impossible::Impossible;
use tidemark_ledger::stored::Stored;
use tidemark_shared::fence::{ReadVersion, SourceVersion};
use tidemark_shared::ids::TenantId;
use tidemark_shared::verification::FaultKind;

use crate::row::columns::{RELATED_DIGEST, SOURCE_DIGEST};

/// What rows are judged by.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub tenant: TenantId,
    pub watermark: Option<DateTime<Utc>>,
    /// The read that the target is compared with.
    pub version: &'a SourceVersion,
    /// Whether a row of the target that was read later than that can be believed: a source that went back has none.
    pub trusts_newer: bool,
    /// Whether none of its rows can have been read later before this snapshot was taken: it is of a primary.
    pub is_latest: bool,
    /// Rows that were there before the snapshot and are beyond it; `None`: not looked up, later rows are looked at again.
    pub impossible: Option<&'a Impossible>,
    /// At a second look, the read that was looked at first: a row that was read later has had its turn.
    pub since: Option<&'a SourceVersion>,
    /// Inboxes whose history is left to a backfill.
    pub unfetched: &'a [i32],
}

/// A conversation that is not the same, and proven to be, on both sides.
#[derive(Debug, FromRow)]
pub(super) struct Row {
    pub id: i64,
    staged: bool,
    live: bool,
    /// Columns of content that differ, and the hash over them.
    columns: Vec<String>,
    source_differs: bool,
    related_differs: bool,
    /// The version that the target's row was read at.
    #[sqlx(flatten, try_from = "Stored<ReadVersion>")]
    version: ReadVersion,
    /// It has no digest of its own.
    unsealed: bool,
    /// It has another than its own.
    broken: bool,
    /// The target's row was read later than what it is compared with.
    newer: bool,
    /// The target's row was read later than the first look.
    had_its_turn: bool,
    /// The source's own times say that it changed after the watermark, and not in the future.
    is_recent: bool,
    is_unfetched: bool,
}

/// What becomes of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    Fault(FaultKind, Vec<String>),
    /// The next sync's or backfill's to bring.
    Pending,
    /// Written since: to be looked at again.
    Overtaken,
    /// Written since, and the same.
    Equal,
}

impl Row {
    /// Judges the row; `rejected` are conversations that the source has and that cannot be taken.
    pub(super) fn judge(self, rules: &Rules<'_>, rejected: &HashSet<i64>) -> Judgement {
        let in_source = self.staged || rejected.contains(&self.id);
        // a row that is not as a load left it has no version to go by
        if self.newer && rules.trusts_newer && !self.broken {
            return match rules.impossible {
                Some(impossible) if impossible.has(self.id, self.version) => {
                    Judgement::Fault(FaultKind::Impossible, self.columns)
                }
                Some(_) if self.agrees() => Judgement::Equal,
                _ => Judgement::Overtaken,
            };
        }
        if self.had_its_turn && !self.broken && !self.columns_agree() {
            return Judgement::Pending;
        }
        if !in_source {
            return Judgement::Fault(FaultKind::Extra, Vec::new());
        }
        if !self.live {
            return if self.is_recent || self.is_unfetched {
                Judgement::Pending
            } else {
                Judgement::Fault(FaultKind::Missing, Vec::new())
            };
        }
        if !self.staged {
            return Judgement::Fault(FaultKind::Stale, Vec::new());
        }
        if self.broken {
            return Judgement::Fault(FaultKind::Different, self.all_columns());
        }
        if self.columns.is_empty() {
            return Judgement::Fault(FaultKind::Unproven, Vec::new());
        }
        // what a load wrote is another by now; of a row without digest only the source can tell
        let moved_on = self.source_differs || self.related_differs || !self.unsealed;
        match (moved_on, self.is_recent) {
            (true, true) => Judgement::Pending,
            (true, false) => Judgement::Fault(FaultKind::Stale, self.columns),
            (false, _) => Judgement::Fault(FaultKind::Different, self.columns),
        }
    }
}

impl Row {
    /// Those that differ, the digests too. Where none does, it is bookkeeping that only the row's own digest vouches for.
    fn all_columns(self) -> Vec<String> {
        let digests = [
            (self.source_differs, SOURCE_DIGEST.name),
            (self.related_differs, RELATED_DIGEST.name),
        ];
        let mut columns = self.columns;
        columns.extend(
            digests
                .into_iter()
                .filter(|(differs, _)| *differs)
                .map(|(_, name)| name.to_owned()),
        );
        if columns.is_empty() {
            columns.push("row_digest".to_owned());
        }
        columns
    }

    /// Whether it is the same and proven, apart from the moment of its read.
    const fn agrees(&self) -> bool {
        self.columns_agree() && !self.source_differs && !self.related_differs && !self.unsealed
    }

    const fn columns_agree(&self) -> bool {
        self.staged && self.live && self.columns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tidemark_ledger::impossible::ReadRow;
    use tidemark_shared::fence::SourceSnapshot;

    use super::*;

    const VERSION: SourceVersion = SourceVersion {
        epoch: 1,
        snapshot: SourceSnapshot {
            xmin: 1,
            xmax: 1,
            in_progress: 0,
            clock: DateTime::UNIX_EPOCH,
        },
    };

    fn judged(change: impl FnOnce(&mut Row)) -> Judgement {
        judged_beside(None, change)
    }

    fn judged_beside(impossible: Option<&Impossible>, change: impl FnOnce(&mut Row)) -> Judgement {
        let mut row = Row {
            id: 1,
            staged: true,
            live: true,
            columns: vec!["status".to_owned()],
            source_differs: false,
            related_differs: false,
            version: ReadVersion {
                epoch: 1,
                xmax: 2,
                in_progress: 0,
            },
            unsealed: false,
            broken: false,
            newer: false,
            had_its_turn: false,
            is_recent: false,
            is_unfetched: false,
        };
        change(&mut row);
        let rules = Rules {
            tenant: TenantId(1),
            watermark: None,
            version: &VERSION,
            trusts_newer: true,
            is_latest: true,
            impossible,
            since: None,
            unfetched: &[],
        };
        row.judge(&rules, &HashSet::from([9]))
    }

    fn fault(kind: FaultKind) -> impl Fn(Judgement) -> bool {
        move |judgement| matches!(judgement, Judgement::Fault(found, _) if found == kind)
    }

    #[test]
    fn a_row_that_a_load_wrote_is_stale_and_one_that_another_hand_wrote_is_different() {
        assert!(fault(FaultKind::Stale)(judged(|_| {})));
        assert!(fault(FaultKind::Different)(judged(|row| row.broken = true)));
        assert_eq!(
            judged(|row| {
                row.broken = true;
                row.columns.clear();
            }),
            Judgement::Fault(FaultKind::Different, vec!["row_digest".to_owned()])
        );
        assert!(fault(FaultKind::Different)(judged(|row| row.unsealed = true)));
        assert!(fault(FaultKind::Unproven)(judged(|row| row.columns.clear())));
    }

    #[test]
    fn what_changed_after_the_watermark_is_the_next_syncs_and_what_another_hand_changed_is_not() {
        assert_eq!(judged(|row| row.is_recent = true), Judgement::Pending);
        assert_eq!(
            judged(|row| {
                row.is_recent = true;
                row.live = false;
            }),
            Judgement::Pending
        );
        assert!(fault(FaultKind::Different)(judged(|row| {
            row.is_recent = true;
            row.broken = true;
        })));
    }

    #[test]
    fn a_row_on_one_side_only_is_missing_or_extra() {
        assert!(fault(FaultKind::Missing)(judged(|row| row.live = false)));
        assert!(fault(FaultKind::Extra)(judged(|row| row.staged = false)));
        // it is in the source all the same
        let rejected = |live: bool| {
            judged(move |row| {
                row.id = 9;
                row.staged = false;
                row.live = live;
            })
        };
        assert!(fault(FaultKind::Missing)(rejected(false)));
        assert!(fault(FaultKind::Stale)(rejected(true)));
    }

    #[test]
    fn a_row_that_a_sync_wrote_after_the_first_look_is_no_fault_at_the_second() {
        assert_eq!(judged(|row| row.had_its_turn = true), Judgement::Pending);
        assert!(fault(FaultKind::Different)(judged(|row| {
            row.had_its_turn = true;
            row.broken = true;
        })));
    }

    #[test]
    fn a_later_row_that_was_there_before_the_snapshot_is_of_another_source() {
        let version = ReadVersion {
            epoch: 1,
            xmax: 2,
            in_progress: 0,
        };
        let row = ReadRow {
            conversation_id: 1,
            version,
        };
        let was_there = Impossible::of_rows(vec![row]).beyond(&VERSION);
        let newer = |row: &mut Row| row.newer = true;
        assert!(fault(FaultKind::Impossible)(judged_beside(
            Some(&was_there),
            newer
        )));
        // also where it is the same: what changes later would never reach it
        let same = |row: &mut Row| {
            row.newer = true;
            row.columns.clear();
        };
        assert!(fault(FaultKind::Impossible)(judged_beside(
            Some(&was_there),
            same
        )));
        // somebody has written it since
        let rewritten = |row: &mut Row| {
            row.newer = true;
            row.version.xmax = 3;
        };
        assert_eq!(judged_beside(Some(&was_there), rewritten), Judgement::Overtaken);
        let nothing = Impossible::default();
        assert_eq!(judged_beside(Some(&nothing), newer), Judgement::Overtaken);
        assert_eq!(judged_beside(Some(&nothing), same), Judgement::Equal);
    }

    #[test]
    fn a_row_that_was_written_meanwhile_is_looked_at_again_unless_nobody_knows_who_wrote_it() {
        assert_eq!(judged(|row| row.newer = true), Judgement::Overtaken);
        assert!(fault(FaultKind::Different)(judged(|row| {
            row.newer = true;
            row.broken = true;
        })));
    }
}
