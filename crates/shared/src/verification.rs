//! The result of comparing a tenant's rows with its source.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, TenantId};

/// The limit for faults that an answer lists. The counts have no limit.
pub const MAX_LISTED_FAULTS: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// Only in the source; also when the target's row is marked deleted.
    Missing,
    /// Only in the target.
    Extra,
    /// As a load wrote it, but the source has changed since.
    Stale,
    /// Not as a load wrote it: something else has changed the row.
    Different,
    /// With a version that this source cannot have had: the row comes from another source.
    Impossible,
    /// No fault: equal column by column, but without digests that prove it. Examples are rows of an older release, or
    /// rows read from tables that are now compared with a view. Every comparison has to read such a row until a load
    /// writes it again.
    Unproven,
}

impl FaultKind {
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Extra,
        Self::Stale,
        Self::Different,
        Self::Impossible,
        Self::Unproven,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Stale => "stale",
            Self::Different => "different",
            Self::Impossible => "impossible",
            Self::Unproven => "unproven",
        }
    }
}

/// One row at fault, or unproven. It has the names of the columns that differ, and not their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub conversation_id: i64,
    pub kind: FaultKind,
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Equal,
    Different,
}

impl Verdict {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Different => "different",
        }
    }
}

/// The counts of a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    pub source_rows: i64,
    pub target_rows: i64,
    pub missing: i64,
    pub extra: i64,
    pub stale: i64,
    pub different: i64,
    #[serde(default)]
    pub impossible: i64,
    /// Different on both sides, and expected to be fixed by the next sync.
    pub pending: i64,
    /// Equal, but without digests that prove it.
    pub unproven: i64,
}

impl Compared {
    pub const fn count(&mut self, kind: FaultKind) {
        *match kind {
            FaultKind::Missing => &mut self.missing,
            FaultKind::Extra => &mut self.extra,
            FaultKind::Stale => &mut self.stale,
            FaultKind::Different => &mut self.different,
            FaultKind::Impossible => &mut self.impossible,
            FaultKind::Unproven => &mut self.unproven,
        } += 1;
    }

    /// Rows at fault.
    #[must_use]
    pub const fn fault_count(&self) -> i64 {
        self.missing + self.extra + self.stale + self.different + self.impossible
    }

    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self.fault_count() {
            0 => Verdict::Equal,
            _ => Verdict::Different,
        }
    }
}

impl AddAssign for Compared {
    fn add_assign(&mut self, other: Self) {
        self.source_rows += other.source_rows;
        self.target_rows += other.target_rows;
        self.missing += other.missing;
        self.extra += other.extra;
        self.stale += other.stale;
        self.different += other.different;
        self.impossible += other.impossible;
        self.pending += other.pending;
        self.unproven += other.unproven;
    }
}

/// A tenant's comparison. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    pub tenant_id: TenantId,
    #[serde(flatten)]
    pub compared: Compared,
    pub verdict: Verdict,
    /// Ascending by conversation; only the first ones when there are very many.
    pub faults: Vec<Fault>,
    /// The verify run; `None` when the command itself compared.
    pub run_id: Option<RunId>,
}

impl Verification {
    #[must_use]
    pub fn new(tenant_id: TenantId, compared: Compared, mut faults: Vec<Fault>) -> Self {
        faults.sort_unstable_by_key(|fault| fault.conversation_id);
        Self {
            tenant_id,
            compared,
            verdict: compared.verdict(),
            faults,
            run_id: None,
        }
    }
}
