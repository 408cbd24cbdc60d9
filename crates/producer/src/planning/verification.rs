//! Verification runs: plans ranges over all ids of source and target, and requests runs when a tenant's schedule is due.

use std::collections::BTreeMap;

use tidemark_ledger as ledger;
use tidemark_ledger::run::{NewRun, PlanRecord, Requested};
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_ledger::{Attempt, DbError};
use tidemark_postgres::DbPool;
use tidemark_runtime::telemetry;
use tidemark_shared::chunk::{ChunkSpec, CountedRange, PlannedChunk, range_chunks};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::Source;

use crate::planning::error::PlanError;
use crate::planning::fence_sample::{SampleMode, take_sample};
use crate::planning::names::NameChanges;
use crate::planning::plan::Plan;
use crate::planning::signals::Signals;

/// Conversations a chunk. For most of them only sums are read, and each chunk costs both servers a few statements.
const CHUNK_SIZE: i32 = 20_000;

/// Plans a verification run. Its chunks cover all ids without a gap, so that rows that should not exist are found, too.
pub(crate) async fn plan_verification(
    db: &DbPool,
    source: &Source,
    tenant: &Tenant,
    request: &RunRequest,
) -> Result<Plan, PlanError> {
    let to_plan = ledger::tenant::list_to_plan(db, &[tenant.id]).await?.pop();
    let TenantToPlan { tenant, inboxes, .. } = to_plan.ok_or(PlanError::Removed(tenant.id))?;
    if inboxes.is_empty() {
        return Err(PlanError::NoInboxes(tenant.id, tenant.source));
    }
    // the sample is only taken to detect a source that went back in time
    take_sample(db, source, SampleMode::Store).await?;
    let mut tx = source.begin(&format!("plan tenant {}", tenant.id)).await?;
    let shape = source.check_catalog(tx.connection()).await?;
    let mut signals = Signals::new(source, &shape, &mut tx);
    let size = request.chunk_size.unwrap_or(CHUNK_SIZE);
    let stretches = signals.stretches(&inboxes, size).await?;
    let warnings = source.shape_warnings(tx.connection(), &shape, &[]).await;
    tx.finish().await;
    let mut target = ledger::target::begin(db, tenant.id).await?;
    let last = ledger::target::find_last_live(&mut target, tenant.id).await?;
    target.rollback().await.attempt("end the transaction")?;
    let chunks = cover_all_ids(&stretches, last.unwrap_or(0));
    Ok(Plan {
        run_type: RunType::Verify,
        record: PlanRecord {
            mapping_version: tenant.mapping_version,
            watermark_start: None,
            watermark_end: None,
            signals: BTreeMap::new(),
            warnings,
            chunks_total: i32::try_from(chunks.len()).expect("chunks of a plan fit in 31 bits"),
            compares_digests: false,
            undecided: None,
            coverage: None,
        },
        waiting: Vec::new(),
        chunks,
        watermark_bounds: None,
        names: NameChanges::default(),
        upgrade: None,
        matched_totals: None,
    })
}

/// At least one range; together they cover all ids.
fn cover_all_ids(stretches: &[(i64, i64, i64)], last: i64) -> Vec<PlannedChunk> {
    let ranges: Vec<CountedRange> = stretches
        .iter()
        .map(|&(first, last, count)| CountedRange { first, last, count })
        .collect();
    let mut chunks = range_chunks(&ranges, last.max(1));
    if let Some(ChunkSpec::KeyRange { lo, .. }) = chunks.first_mut().map(|chunk| &mut chunk.spec) {
        *lo = i64::MIN;
    }
    if let Some(ChunkSpec::KeyRange { hi, .. }) = chunks.last_mut().map(|chunk| &mut chunk.spec) {
        *hi = i64::MAX;
    }
    chunks
}

/// Requests the verification runs that are due; returns those that were not open before.
pub async fn request_due(db: &DbPool) -> Result<Vec<RunId>, DbError> {
    let mut requested = Vec::new();
    for tenant in ledger::verification::list_due(db).await? {
        if let Requested::Created(id) = request(db, tenant).await? {
            tracing::info!(tenant.id = %tenant, run.id = %id, "verification requested");
            requested.push(id);
        }
    }
    Ok(requested)
}

async fn request(db: &DbPool, tenant: TenantId) -> Result<Requested, DbError> {
    let span = tracing::info_span!(parent: None, "run", tenant.id = %tenant, run.id = tracing::field::Empty);
    let run = NewRun {
        tenant_id: tenant,
        run_type: RunType::Verify,
        triggered_by: "scheduler".to_owned(),
        reason: Some("its verify interval is over".to_owned()),
        request: RunRequest::default(),
        trace_id: telemetry::trace_id(&span),
        traceparent: telemetry::context_of(&span).traceparent,
    };
    let requested = ledger::run::request(db, &run).await?;
    span.record("run.id", tracing::field::display(requested.run_id()));
    Ok(requested)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_has_no_end_on_either_side() {
        let spec = |stretches: &[(i64, i64, i64)], last| {
            cover_all_ids(stretches, last)
                .into_iter()
                .map(|chunk| chunk.spec)
                .collect::<Vec<_>>()
        };
        let (lo, hi) = (i64::MIN, i64::MAX);
        assert_eq!(spec(&[], 0), [ChunkSpec::KeyRange { lo, hi }]);
        assert_eq!(
            spec(&[(5, 9, 3), (12, 20, 3)], 90),
            [
                ChunkSpec::KeyRange { lo, hi: 11 },
                ChunkSpec::KeyRange { lo: 12, hi }
            ]
        );
    }
}
