//! The result of planning.

use std::sync::Arc;

use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::run::PlanRecord;
use tidemark_shared::chunk::PlannedChunk;
use tidemark_shared::fence::WatermarkBounds;
use tidemark_shared::inbox::WaitingInbox;
use tidemark_shared::run::RunType;
use tidemark_shared::tenant::Tenant;

use crate::planning::error::PlanError;
use crate::planning::names::NameChanges;

/// A plan, not yet written.
#[derive(Debug)]
pub struct Plan {
    /// The requested type, or `Full` for a tenant that has no watermark.
    pub run_type: RunType,
    pub chunks: Vec<PlannedChunk>,
    pub record: PlanRecord,
    /// What limits the watermark; `None` for a run that does not move it.
    pub watermark_bounds: Option<WatermarkBounds>,
    pub(crate) names: NameChanges,
    /// Set when the source lacks other tables and columns than at the last plan.
    pub(crate) upgrade: Option<Upgrade>,
    /// Inboxes with rows that wait for an operator. Recorded when the plan is made.
    pub(crate) waiting: Vec<WaitingInbox>,
    /// Set when source and target are equal. Recorded when the plan has no chunks.
    pub(crate) matched_totals: Option<MatchedTotals>,
}

/// Chatwoot was upgraded, or went back to an earlier version.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// What the source lacks now.
    pub absent_columns: Vec<String>,
    /// Whether the tenant has rows that were read before.
    pub has_rows: bool,
}

/// A tenant of a group with its plan or its error. Tenants of a group often share one error.
pub type Planned = (Tenant, Result<Plan, Arc<PlanError>>);

impl Plan {
    /// Number of inboxes, accounts, users and teams that were renamed. A backfill rewrites their rows.
    #[must_use]
    pub const fn renamed_count(&self) -> usize {
        self.names.renamed.len()
    }
}

/// Converts a chunk size of the ledger.
pub(crate) fn as_size(chunk_size: i32) -> usize {
    usize::try_from(chunk_size).expect("the ledger checks that a chunk size is positive")
}
