//! `tidemark plan`: what a run would do. Writes nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_producer::plan::{Plan, Planner};
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunType;
use tidemark_shared::source::catalog::ReadEstimate;

use super::ask;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant's id
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// Everything instead of what changed
    #[arg(long, alias = "force-full")]
    full: bool,
}

/// What holds a watermark where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum HeldBy {
    /// The newest instant before which everything is visible.
    Fence,
    /// The source's clock less the safety lag.
    SafetyLag,
    /// A transaction that is older than every sample: it stays where it is.
    OpenTransaction,
}

/// A plan as it is printed; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
struct PlanReport {
    tenant_id: TenantId,
    #[serde(rename = "type")]
    run_type: RunType,
    keys: i64,
    chunks: i32,
    /// Hits of each change signal.
    signals: BTreeMap<String, i64>,
    watermark_start: Option<DateTime<Utc>>,
    watermark_end: Option<DateTime<Utc>>,
    watermark_held_by: HeldBy,
    /// Inboxes, accounts, users and teams with a new name, whose rows a backfill would take.
    renamed: usize,
    cost: ReadEstimate,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = ask::ready_tenant(app, &db, self.tenant).await?;
        let planner = Planner {
            db,
            sources: app.sources()?,
            settings: app.settings.producer.clone(),
        };
        let source = planner.sources.get(&tenant.source)?;
        source.check().await?;
        let run_type = if self.full {
            RunType::Full
        } else {
            RunType::Incremental
        };
        let plan = planner.preview(&tenant, run_type).await?;
        let keys = plan.chunks.iter().map(|chunk| chunk.key_count).sum();
        let report = report(tenant.id, plan, keys, source.estimate(keys).await?);
        if app.json {
            output::json(&report)?;
        } else {
            print(&report)?;
        }
        Ok(Exit::Done)
    }
}

fn report(tenant_id: TenantId, plan: Plan, keys: i64, cost: ReadEstimate) -> PlanReport {
    let held_by = match plan.reach.map(|reach| (reach.fence, reach.safety)) {
        Some((Some(fence), safety)) if safety < fence => HeldBy::SafetyLag,
        Some((Some(_), _)) => HeldBy::Fence,
        _ => HeldBy::OpenTransaction,
    };
    PlanReport {
        tenant_id,
        run_type: plan.run_type,
        keys,
        chunks: plan.record.chunks_total,
        renamed: plan.renamed_count(),
        signals: plan.record.signals,
        watermark_start: plan.record.watermark_start,
        watermark_end: plan.record.watermark_end,
        watermark_held_by: held_by,
        cost,
    }
}

fn print(plan: &PlanReport) -> anyhow::Result<()> {
    let why = match plan.watermark_held_by {
        HeldBy::Fence => "the fence: what was written later may not be visible yet",
        HeldBy::SafetyLag => "the safety lag behind the source's clock",
        HeldBy::OpenTransaction => "a transaction is open that is older than every sample",
    };
    let cost = match plan.cost.messages {
        Some(messages) => format!(
            "about {} conversations, {} messages",
            output::count(plan.cost.conversations),
            output::count(messages)
        ),
        None => format!(
            "about {} conversations; the source has no statistics on messages",
            output::count(plan.cost.conversations)
        ),
    };
    let mut rows = vec![
        ("type", plan.run_type.as_str().to_owned()),
        ("keys", output::count(plan.keys)),
        ("chunks", plan.chunks.to_string()),
        (
            "watermark",
            format!(
                "{} → {}",
                output::time(plan.watermark_start),
                output::time(plan.watermark_end)
            ),
        ),
        ("held by", why.to_owned()),
        ("reads", cost),
    ];
    rows.extend(
        plan.signals
            .iter()
            .map(|(signal, hits)| (signal.as_str(), output::count(*hits))),
    );
    if plan.renamed > 0 {
        rows.push(("renamed", format!("{}, taken by a backfill", plan.renamed)));
    }
    output::table(
        &["plan", ""],
        &[],
        rows.into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect(),
    )
}
