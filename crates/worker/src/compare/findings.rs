//! The result of a comparison.

use tidemark_shared::verification::{Compared, Fault, FaultKind};

/// The limit for listed faults. The counts have no limit.
pub(super) const MAX_FAULTS: usize = 5_000;

/// The result of a comparison.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub compared: Compared,
    /// At most [`MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// Rows that were written after the snapshot. They have to be compared in a later one.
    pub newer_rows: Vec<i64>,
    /// Conversations of forgotten contacts. They count on neither side.
    pub withheld: i64,
}

impl Findings {
    pub(super) fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.faults.extend(other.faults);
        self.faults.truncate(MAX_FAULTS);
        self.newer_rows.extend(other.newer_rows);
        self.withheld += other.withheld;
    }

    /// Adds the findings of conversations whose rows are already counted.
    pub(super) fn add_counted(&mut self, mut other: Self) {
        other.compared.source_rows = 0;
        other.compared.target_rows = 0;
        self.compared.source_rows -= other.withheld;
        self.add(other);
    }

    /// Counts the faults that a sync may fix as pending.
    pub(super) fn count_as_pending(&mut self) {
        self.faults.retain(|fault| !can_sync_fix(fault.kind));
        let compared = &mut self.compared;
        compared.pending += compared.missing + compared.extra + compared.stale;
        compared.missing = 0;
        compared.extra = 0;
        compared.stale = 0;
    }

    pub(super) fn add_fault(&mut self, conversation_id: i64, kind: FaultKind, columns: Vec<String>) {
        self.compared.count(kind);
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault {
                conversation_id,
                kind,
                columns,
            });
        }
    }
}

/// Whether a sync may fix the fault. It does not fix a row that something other than a load has changed.
pub(super) const fn can_sync_fix(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Missing | FaultKind::Extra | FaultKind::Stale)
}
