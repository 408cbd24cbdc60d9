//! What a comparison of a tenant's rows with its source can find.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, TenantId};

/// Faults that an answer lists; the counts are of all.
pub const FAULTS_LISTED: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// Only in the source, also where the target has the row marked deleted.
    Missing,
    /// Only in the target.
    Extra,
    /// As a load wrote it, and the source is another by now.
    Stale,
    /// Not as a load wrote it: somebody else did.
    Different,
    /// Of a version that this source cannot have had: read from another one.
    Impossible,
    /// No fault: equal column by column, but without digests that say so, such as a row of an older release or one that was
    /// read in the other mode. Every comparison takes it the long way until it is written anew.
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

/// One row at fault, or unproven. The columns that differ are named, what is in them is not told.
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

/// Rows that a comparison counted.
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
    /// Not the same on both sides, and the next sync's to bring.
    pub pending: i64,
    /// Equal, but without digests that say so.
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

/// A tenant's comparison; the field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    pub tenant_id: TenantId,
    #[serde(flatten)]
    pub compared: Compared,
    pub verdict: Verdict,
    /// Ascending; where they are very many, the first of them.
    pub faults: Vec<Fault>,
    /// The run that compared; `None`: the command itself did.
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
