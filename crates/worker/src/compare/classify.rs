//! Classifies rows that differ between source and target.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use tidemark_ledger::impossible::Impossible;
use tidemark_ledger::stored::Stored;
use tidemark_shared::fence::{ReadVersion, SourceVersion};
use tidemark_shared::ids::TenantId;
use tidemark_shared::verification::FaultKind;

use crate::row::columns::{RELATED_DIGEST, SOURCE_DIGEST};

/// The circumstances of a comparison that the classification depends on.
#[derive(Debug)]
pub(super) struct Criteria<'a> {
    pub tenant: TenantId,
    pub watermark: Option<DateTime<Utc>>,
    /// The version of the snapshot that the target is compared with.
    pub version: &'a SourceVersion,
    /// Whether a row that was read later than the snapshot may be right. False when the source was restored.
    pub trusts_newer: bool,
    /// Whether the snapshot is of a primary that was not restored: it has every change that was read before.
    pub is_latest: bool,
    /// Rows that existed before the snapshot and have a later version than it. `None`: not looked up; such rows are
    /// compared again.
    pub impossible: Option<&'a Impossible>,
    /// In the second pass, the version of the first pass: a sync has written the rows that were read later.
    pub since: Option<&'a SourceVersion>,
    /// Inboxes whose history a backfill has yet to load.
    pub unfetched: &'a [i32],
}

/// A conversation whose rows are not proven equal: the staged row joined with the target's.
#[derive(Debug, FromRow)]
pub(super) struct PairedRow {
    pub id: i64,
    staged: bool,
    live: bool,
    /// Content columns that differ, and `row_hash` when it differs.
    columns: Vec<String>,
    source_differs: bool,
    related_differs: bool,
    /// The version of the read that the target's row comes from.
    #[sqlx(flatten, try_from = "Stored<ReadVersion>")]
    version: ReadVersion,
    /// The target's row has no digest.
    no_digest: bool,
    /// The target's row does not match its digest: something other than a load has changed it.
    digest_mismatch: bool,
    /// The target's row was read later than the snapshot.
    newer: bool,
    /// The target's row was read later than the first pass.
    read_after_first_pass: bool,
    /// By the source's timestamps it changed after the watermark, and not in the future.
    is_recent: bool,
    is_unfetched: bool,
}

/// The result for one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classification {
    Fault(FaultKind, Vec<String>),
    /// The next sync or backfill will load it.
    Pending,
    /// Written after the snapshot. It has to be compared again.
    NewerThanSnapshot,
    /// Written after the snapshot, and equal.
    Equal,
}

impl PairedRow {
    /// Classifies the row. `rejected` are conversations that exist in the source and cannot be loaded.
    pub(super) fn classify(self, criteria: &Criteria<'_>, rejected: &HashSet<i64>) -> Classification {
        let in_source = self.staged || rejected.contains(&self.id);
        // the version of a row that something other than a load has changed means nothing
        if self.newer && criteria.trusts_newer && !self.digest_mismatch {
            return match criteria.impossible {
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
        // a row with a valid digest is as a load wrote it, so the source has changed; without one, only the source's
        // digests show that
        let source_changed = self.source_differs || self.related_differs || !self.no_digest;
        match (source_changed, self.is_recent) {
            (true, true) => Classification::Pending,
            (true, false) => Classification::Fault(FaultKind::Stale, self.columns),
            (false, _) => Classification::Fault(FaultKind::Different, self.columns),
        }
    }

    /// The columns that differ, including the digests. Where none differs, a bookkeeping column was changed:
    /// `row_digest`.
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

    /// Whether both rows are proven equal, apart from the version of the read.
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
        let criteria = Criteria {
            tenant: TenantId(1),
            watermark: None,
            version: &VERSION,
            trusts_newer: true,
            is_latest: true,
            impossible,
            since: None,
            unfetched: &[],
        };
        row.classify(&criteria, &HashSet::from([9]))
    }

    fn fault(kind: FaultKind) -> impl Fn(Classification) -> bool {
        move |classification| matches!(classification, Classification::Fault(found, _) if found == kind)
    }

    #[test]
    fn a_row_that_a_load_wrote_is_stale_and_one_that_something_else_wrote_is_different() {
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
    fn a_change_after_the_watermark_is_pending_unless_something_other_than_a_load_wrote_the_row() {
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
        // a rejected conversation is in the source
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
    fn a_row_that_a_sync_wrote_after_the_first_pass_is_no_fault_in_the_second() {
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
    fn a_later_row_that_existed_before_the_snapshot_is_of_another_source() {
        let version = ReadVersion {
            epoch: 1,
            xmax: 2,
            in_progress: 0,
        };
        let row = ReadRow {
            conversation_id: 1,
            version,
        };
        let existed_before = Impossible::of_rows(vec![row]).beyond(&VERSION);
        let newer = |row: &mut PairedRow| row.newer = true;
        assert!(fault(FaultKind::Impossible)(classified_with(
            Some(&existed_before),
            newer
        )));
        // also where it is equal: later changes would never be loaded into it
        let same = |row: &mut PairedRow| {
            row.newer = true;
            row.columns.clear();
        };
        assert!(fault(FaultKind::Impossible)(classified_with(
            Some(&existed_before),
            same
        )));
        // written again meanwhile
        let rewritten = |row: &mut PairedRow| {
            row.newer = true;
            row.version.xmax = 3;
        };
        assert_eq!(
            classified_with(Some(&existed_before), rewritten),
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
    fn a_row_that_was_written_meanwhile_is_compared_again_unless_its_digest_is_wrong() {
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
