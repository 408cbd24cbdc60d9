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

/// What rows are classified by.
#[derive(Debug)]
pub(super) struct Criteria<'a> {
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
pub(super) struct PairedRow {
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
    no_digest: bool,
    /// It has another than its own.
    digest_mismatch: bool,
    /// The target's row was read later than what it is compared with.
    newer: bool,
    /// The target's row was read later than the first look.
    read_after_first_pass: bool,
    /// The source's own times say that it changed after the watermark, and not in the future.
    is_recent: bool,
    is_unfetched: bool,
}

/// What becomes of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classification {
    Fault(FaultKind, Vec<String>),
    /// The next sync's or backfill's to bring.
    Pending,
    /// Written since: to be looked at again.
    NewerThanSnapshot,
    /// Written since, and the same.
    Equal,
}

impl PairedRow {
    /// Judges the row; `rejected` are conversations that the source has and that cannot be taken.
    pub(super) fn classify(self, rules: &Criteria<'_>, rejected: &HashSet<i64>) -> Classification {
        let in_source = self.staged || rejected.contains(&self.id);
        // a row that is not as a load left it has no version to go by
        if self.newer && rules.trusts_newer && !self.digest_mismatch {
            return match rules.impossible {
                Some(impossible) if impossible.has(self.id, self.version) => {
                    Classification::Fault(FaultKind::Impossible, self.columns)
                }
                Some(_) if self.agrees() => Classification::Equal,
                _ => Classification::NewerThanSnapshot,
            };
        }
        if self.read_after_first_pass && !self.digest_mismatch && !self.columns_agree() {
            return Classification::Pending;
        }
        if !in_source {
            return Classification::Fault(FaultKind::Extra, Vec::new());
        }
        if !self.live {
            return if self.is_recent || self.is_unfetched {
                Classification::Pending
            } else {
                Classification::Fault(FaultKind::Missing, Vec::new())
            };
        }
        if !self.staged {
            return Classification::Fault(FaultKind::Stale, Vec::new());
        }
        if self.digest_mismatch {
            return Classification::Fault(FaultKind::Different, self.all_columns());
        }
        if self.columns.is_empty() {
            return Classification::Fault(FaultKind::Unproven, Vec::new());
        }
        // what a load wrote is another by now; of a row without digest only the source can tell
        let moved_on = self.source_differs || self.related_differs || !self.no_digest;
        match (moved_on, self.is_recent) {
            (true, true) => Classification::Pending,
            (true, false) => Classification::Fault(FaultKind::Stale, self.columns),
            (false, _) => Classification::Fault(FaultKind::Different, self.columns),
        }
    }
}

impl PairedRow {
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
        self.columns_agree() && !self.source_differs && !self.related_differs && !self.no_digest
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

    fn classified(change: impl FnOnce(&mut PairedRow)) -> Classification {
        classified_with(None, change)
    }

    fn classified_with(
        impossible: Option<&Impossible>,
        change: impl FnOnce(&mut PairedRow),
    ) -> Classification {
        let mut row = PairedRow {
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
            no_digest: false,
            digest_mismatch: false,
            newer: false,
            read_after_first_pass: false,
            is_recent: false,
            is_unfetched: false,
        };
        change(&mut row);
        let rules = Criteria {
            tenant: TenantId(1),
            watermark: None,
            version: &VERSION,
            trusts_newer: true,
            is_latest: true,
            impossible,
            since: None,
            unfetched: &[],
        };
        row.classify(&rules, &HashSet::from([9]))
    }

    fn fault(kind: FaultKind) -> impl Fn(Classification) -> bool {
        move |classification| matches!(classification, Classification::Fault(found, _) if found == kind)
    }

    #[test]
    fn a_row_that_a_load_wrote_is_stale_and_one_that_another_hand_wrote_is_different() {
        assert!(fault(FaultKind::Stale)(classified(|_| {})));
        assert!(fault(FaultKind::Different)(classified(|row| row
            .digest_mismatch =
            true)));
        assert_eq!(
            classified(|row| {
                row.digest_mismatch = true;
                row.columns.clear();
            }),
            Classification::Fault(FaultKind::Different, vec!["row_digest".to_owned()])
        );
        assert!(fault(FaultKind::Different)(
            classified(|row| row.no_digest = true)
        ));
        assert!(fault(FaultKind::Unproven)(classified(|row| row.columns.clear())));
    }

    #[test]
    fn what_changed_after_the_watermark_is_the_next_syncs_and_what_another_hand_changed_is_not() {
        assert_eq!(classified(|row| row.is_recent = true), Classification::Pending);
        assert_eq!(
            classified(|row| {
                row.is_recent = true;
                row.live = false;
            }),
            Classification::Pending
        );
        assert!(fault(FaultKind::Different)(classified(|row| {
            row.is_recent = true;
            row.digest_mismatch = true;
        })));
    }

    #[test]
    fn a_row_on_one_side_only_is_missing_or_extra() {
        assert!(fault(FaultKind::Missing)(classified(|row| row.live = false)));
        assert!(fault(FaultKind::Extra)(classified(|row| row.staged = false)));
        // it is in the source all the same
        let rejected = |live: bool| {
            classified(move |row| {
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
        assert_eq!(
            classified(|row| row.read_after_first_pass = true),
            Classification::Pending
        );
        assert!(fault(FaultKind::Different)(classified(|row| {
            row.read_after_first_pass = true;
            row.digest_mismatch = true;
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
        let newer = |row: &mut PairedRow| row.newer = true;
        assert!(fault(FaultKind::Impossible)(classified_with(
            Some(&was_there),
            newer
        )));
        // also where it is the same: what changes later would never reach it
        let same = |row: &mut PairedRow| {
            row.newer = true;
            row.columns.clear();
        };
        assert!(fault(FaultKind::Impossible)(classified_with(
            Some(&was_there),
            same
        )));
        // somebody has written it since
        let rewritten = |row: &mut PairedRow| {
            row.newer = true;
            row.version.xmax = 3;
        };
        assert_eq!(
            classified_with(Some(&was_there), rewritten),
            Classification::NewerThanSnapshot
        );
        let nothing = Impossible::default();
        assert_eq!(
            classified_with(Some(&nothing), newer),
            Classification::NewerThanSnapshot
        );
        assert_eq!(classified_with(Some(&nothing), same), Classification::Equal);
    }

    #[test]
    fn a_row_that_was_written_meanwhile_is_looked_at_again_unless_nobody_knows_who_wrote_it() {
        assert_eq!(
            classified(|row| row.newer = true),
            Classification::NewerThanSnapshot
        );
        assert!(fault(FaultKind::Different)(classified(|row| {
            row.newer = true;
            row.digest_mismatch = true;
        })));
    }
}
