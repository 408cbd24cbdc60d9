//! Writing a plan into the ledger: the part that requested and scheduled runs share.

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::run::PlanRecord;
use tidemark_runtime::telemetry;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::job::TraceContext;
use tidemark_shared::run::MAX_CHUNKS_PER_TRACE;
use tracing::Span;

use crate::planning::plan::Plan;

/// Inserts the chunks of a plan into the lane of its run.
pub(crate) async fn insert_chunks(
    tx: &mut PgTransaction<'_>,
    run: RunId,
    tenant: TenantId,
    plan: &Plan,
) -> Result<(), DbError> {
    let lane = plan.run_type.lane();
    ledger::chunk::insert_all(tx, run, tenant, lane, &plan.chunks, &chunk_context(plan)).await
}

/// The trace that the chunks of a plan continue: the one of this span, or none when there are many, so that each chunk
/// begins its own.
fn chunk_context(plan: &Plan) -> TraceContext {
    if plan.chunks.len() > MAX_CHUNKS_PER_TRACE {
        return TraceContext::default();
    }
    telemetry::context_of(&Span::current())
}

pub(crate) fn log_planned(plan: &PlanRecord) {
    tracing::info!(
        chunks = plan.chunks_total,
        watermark.start = plan.watermark_start.map(tracing::field::display),
        watermark.end = plan.watermark_end.map(tracing::field::display),
        "run planned"
    );
}
