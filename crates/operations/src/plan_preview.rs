//! Shows what runs would do, and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_producer::planning::error::PlanError;
use tidemark_producer::planning::plan::Plan;
use tidemark_producer::planning::planner::Planner;
use tidemark_runtime::config::Settings;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::Sources;
use tidemark_source::catalog::ReadEstimate;

use crate::error::OperationResult;

/// The reason why a run would end its watermark where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WatermarkLimit {
    /// The newest instant before which everything is visible.
    Fence,
    /// The source's clock less the safety lag.
    SafetyLag,
    /// A transaction is older than every sample: the watermark stays.
    OpenTransaction,
}

/// One plan; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    pub tenant_id: TenantId,
    #[serde(rename = "type")]
    pub run_type: RunType,
    pub keys: i64,
    pub chunks: i32,
    /// Hits of each change signal.
    pub signals: BTreeMap<String, i64>,
    pub watermark_start: Option<DateTime<Utc>>,
    pub watermark_end: Option<DateTime<Utc>>,
    /// `None`: a run of this type does not move the watermark.
    pub watermark_held_by: Option<WatermarkLimit>,
    /// Inboxes, accounts, users and teams with a new name. A backfill would rewrite their rows.
    pub renamed: usize,
    pub warnings: Vec<String>,
    pub cost: ReadEstimate,
}

/// A tenant whose plan is refused.
#[derive(Debug, Serialize)]
pub struct RefusedPlan {
    pub tenant_id: TenantId,
    pub error: String,
    #[serde(skip)]
    pub cause: PlanError,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Preview {
    Planned(Box<PlanReport>),
    Refused(RefusedPlan),
}

/// A planner like the one of a producer.
#[must_use]
pub fn planner(db: &DbPool, sources: Arc<Sources>, settings: &Settings) -> Planner {
    Planner {
        db: db.clone(),
        sources,
        settings: settings.producer.clone(),
    }
}

/// Plans these runs. With `several`, a refused plan is listed and the others are still made; else it is an error.
pub async fn preview(
    planner: &Planner,
    run_type: RunType,
    parts: &[(Tenant, RunRequest)],
    several: bool,
) -> OperationResult<Vec<Preview>> {
    let mut checked: Vec<&str> = Vec::new();
    for (tenant, _) in parts {
        if !checked.contains(&tenant.source.as_str()) {
            planner.sources.get(&tenant.source)?.check().await?;
            checked.push(&tenant.source);
        }
    }
    let mut previews = Vec::with_capacity(parts.len());
    for (tenant, request) in parts {
        previews.push(match preview_one(planner, tenant, run_type, request).await {
            Ok(planned) => Preview::Planned(Box::new(planned)),
            Err(error) if several && !error.is_unavailable() => Preview::Refused(RefusedPlan {
                tenant_id: tenant.id,
                error: report(&error),
                cause: error,
            }),
            Err(error) => return Err(error.into()),
        });
    }
    Ok(previews)
}

async fn preview_one(
    planner: &Planner,
    tenant: &Tenant,
    run_type: RunType,
    request: &RunRequest,
) -> Result<PlanReport, PlanError> {
    let plan = planner.preview(tenant, run_type, request).await?;
    let keys = plan.chunks.iter().map(|chunk| chunk.key_count).sum();
    let cost = planner.sources.get(&tenant.source)?.estimate(keys).await?;
    Ok(report_of(tenant.id, plan, keys, cost))
}

fn report_of(tenant_id: TenantId, plan: Plan, keys: i64, cost: ReadEstimate) -> PlanReport {
    let watermark_held_by = plan.run_type.moves_watermark().then(|| {
        match plan.watermark_bounds.map(|reach| (reach.fence, reach.safety)) {
            Some((Some(fence), safety)) if safety < fence => WatermarkLimit::SafetyLag,
            Some((Some(_), _)) => WatermarkLimit::Fence,
            _ => WatermarkLimit::OpenTransaction,
        }
    });
    PlanReport {
        tenant_id,
        run_type: plan.run_type,
        keys,
        chunks: plan.record.chunks_total,
        renamed: plan.renamed_count(),
        signals: plan.record.signals,
        watermark_start: plan.record.watermark_start,
        watermark_end: plan.record.watermark_end,
        watermark_held_by,
        warnings: plan.record.warnings,
        cost,
    }
}
