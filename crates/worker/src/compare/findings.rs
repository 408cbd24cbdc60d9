//! What a comparison found.

use tidemark_shared::verification::{Compared, Fault, FaultKind};

/// Faults that are listed; the counts are of all.
pub(super) const LISTED: usize = 5_000;

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub compared: Compared,
    /// At most [`LISTED`].
    pub faults: Vec<Fault>,
    /// Rows that were written since the snapshot: to be looked at in a later one.
    pub overtaken: Vec<i64>,
    /// Conversations of forgotten contacts, which are in neither side.
    pub withheld: i64,
}

impl Found {
    pub(super) fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.faults.extend(other.faults);
        self.faults.truncate(LISTED);
        self.overtaken.extend(other.overtaken);
        self.withheld += other.withheld;
    }

    /// The same of conversations that are counted already.
    pub(super) fn add_counted(&mut self, mut other: Self) {
        other.compared.source_rows = 0;
        other.compared.target_rows = 0;
        self.compared.source_rows -= other.withheld;
        self.add(other);
    }

    /// What a sync may bring is its to bring.
    pub(super) fn leave_to_a_sync(&mut self) {
        self.faults.retain(|fault| !is_for_a_sync(fault.kind));
        let compared = &mut self.compared;
        compared.pending += compared.missing + compared.extra + compared.stale;
        compared.missing = 0;
        compared.extra = 0;
        compared.stale = 0;
    }

    pub(super) fn fault(&mut self, conversation_id: i64, kind: FaultKind, columns: Vec<String>) {
        self.compared.count(kind);
        if self.faults.len() < LISTED {
            self.faults.push(Fault {
                conversation_id,
                kind,
                columns,
            });
        }
    }
}

/// Whether a sync may bring what is at fault: a row that another hand has changed is none of its business.
pub(super) const fn is_for_a_sync(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Missing | FaultKind::Extra | FaultKind::Stale)
}
