//! Writing a plan into the ledger: the part that requested and scheduled runs share.

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::chunk::NewChunks;
use tidemark_ledger::run::PlanRecord;
use tidemark_runtime::telemetry;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::job::TraceContext;
use tidemark_shared::run::MAX_CHUNKS_PER_TRACE;
use tracing::Span;

use crate::planning::plan::Plan;

/// Inserts the chunks of plans into the lanes of their runs.
pub(crate) async fn insert_chunks(
    tx: &mut PgTransaction<'_>,
    plans: &[(RunId, TenantId, &Plan, &Span)],
) -> Result<(), DbError> {
    let contexts: Vec<TraceContext> = plans
        .iter()
        .map(|(.., plan, span)| chunk_context(plan, span))
        .collect();
    let runs: Vec<NewChunks<'_>> = plans
        .iter()
        .zip(&contexts)
        .map(|((run, tenant, plan, _), context)| NewChunks {
            run_id: *run,
            tenant_id: *tenant,
            lane: plan.run_type.lane(),
            chunks: &plan.chunks,
            context,
        })
        .collect();
    ledger::chunk::insert_all(tx, &runs).await
}

/// The trace that the chunks of a plan continue: the one of its span, or none when there are many, so that each chunk
/// begins its own.
fn chunk_context(plan: &Plan, span: &Span) -> TraceContext {
    if plan.chunks.len() > MAX_CHUNKS_PER_TRACE {
        return TraceContext::default();
    }
    telemetry::context_of(span)
}

pub(crate) fn log_planned(plan: &PlanRecord) {
    tracing::info!(
        chunks = plan.chunks_total,
        watermark.start = plan.watermark_start.map(tracing::field::display),
        watermark.end = plan.watermark_end.map(tracing::field::display),
        "run planned"
    );
}
