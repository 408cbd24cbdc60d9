//! What planning makes.

use std::sync::Arc;

use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::run::PlanRecord;
use tidemark_shared::chunk::PlannedChunk;
use tidemark_shared::fence::WatermarkBounds;
use tidemark_shared::run::RunType;
use tidemark_shared::tenant::Tenant;

use crate::planning::error::PlanError;
use crate::planning::names::NameChanges;

/// A plan, not yet written.
#[derive(Debug)]
pub struct Plan {
    /// What was asked for, or `Full` for a tenant that has no watermark.
    pub run_type: RunType,
    pub chunks: Vec<PlannedChunk>,
    pub record: PlanRecord,
    /// What decided where the watermark may go; `None` for a run that leaves it where it is.
    pub watermark_bounds: Option<WatermarkBounds>,
    pub(crate) names: NameChanges,
    /// Source and target were seen equal; to be noted when nothing else comes of the plan.
    pub(crate) matched_totals: Option<MatchedTotals>,
}

/// A tenant of a group with its plan, or why it has none: often everybody's reason.
pub type Planned = (Tenant, Result<Plan, Arc<PlanError>>);

impl Plan {
    /// How many inboxes, accounts, users and teams are called otherwise than before; a backfill takes their rows.
    #[must_use]
    pub const fn renamed_count(&self) -> usize {
        self.names.renamed.len()
    }
}

/// A chunk size as the ledger has it.
pub(crate) fn as_size(chunk_size: i32) -> usize {
    usize::try_from(chunk_size).expect("the ledger checks that a chunk size is positive")
}
