//! `tidemark plan`, and `resync --dry-run`: what runs would do. Writes nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_producer::planning::error::PlanError;
use tidemark_producer::planning::plan::Plan;
use tidemark_producer::planning::planner::Planner;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};
use tidemark_source::catalog::ReadEstimate;

use super::ask::Tenants;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tenants: Tenants,
    /// Everything instead of what changed
    #[arg(long, alias = "force-full")]
    full: bool,
    /// Conversations a chunk, instead of the tenant's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
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
    /// `None`: such a run leaves the watermark where it is.
    watermark_held_by: Option<HeldBy>,
    /// Inboxes, accounts, users and teams with a new name, whose rows a backfill would take.
    renamed: usize,
    warnings: Vec<String>,
    cost: ReadEstimate,
}

/// A plan of one of several tenants that cannot be made.
#[derive(Debug, Serialize)]
struct Refused {
    tenant_id: TenantId,
    error: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Planned(Box<PlanReport>),
    Refused(Refused),
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenants = self.tenants.ready(app, &db).await?;
        let run_type = if self.full {
            RunType::Full
        } else {
            RunType::Incremental
        };
        let request = RunRequest {
            chunk_size: self.chunk_size,
            ..RunRequest::default()
        };
        let parts = tenants
            .into_iter()
            .map(|tenant| (tenant, request.clone()))
            .collect();
        dry_run(app, &db, run_type, parts, self.tenants.are_several()).await
    }
}

/// Plans these runs and shows what they would do. Of several, what refuses to be planned is told and the others go on.
pub(super) async fn dry_run(
    app: &App,
    db: &DbPool,
    run_type: RunType,
    parts: Vec<(Tenant, RunRequest)>,
    several: bool,
) -> anyhow::Result<Exit> {
    let planner = planner(app, db)?;
    let mut checked: Vec<&str> = Vec::new();
    for (tenant, _) in &parts {
        if !checked.contains(&tenant.source.as_str()) {
            planner.sources.get(&tenant.source)?.check().await?;
            checked.push(&tenant.source);
        }
    }
    let mut outcomes = Vec::with_capacity(parts.len());
    for (tenant, request) in &parts {
        let outcome = match one(&planner, tenant, run_type, request).await {
            Ok(planned) => Outcome::Planned(Box::new(planned)),
            Err(error) if several && !error.is_unavailable() => Outcome::Refused(Refused {
                tenant_id: tenant.id,
                error: report(&error),
            }),
            Err(error) => return Err(error.into()),
        };
        outcomes.push(outcome);
    }
    match outcomes.as_slice() {
        several_outcomes if app.json && several => output::json(&several_outcomes)?,
        [Outcome::Planned(plan)] if app.json => output::json(plan)?,
        [Outcome::Planned(plan)] if !several => print(plan)?,
        outcomes => table(outcomes)?,
    }
    let refused = outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::Refused(_)));
    Ok(if refused { Exit::Failed } else { Exit::Done })
}

/// Plans as a producer would.
pub(super) fn planner(app: &App, db: &DbPool) -> anyhow::Result<Planner> {
    Ok(Planner {
        db: db.clone(),
        sources: app.sources()?,
        settings: app.settings.producer.clone(),
    })
}

async fn one(
    planner: &Planner,
    tenant: &Tenant,
    run_type: RunType,
    request: &RunRequest,
) -> Result<PlanReport, PlanError> {
    let plan = planner.preview(tenant, run_type, request).await?;
    let keys = plan.chunks.iter().map(|chunk| chunk.key_count).sum();
    let cost = planner.sources.get(&tenant.source)?.estimate(keys).await?;
    Ok(of(tenant.id, plan, keys, cost))
}

fn of(tenant_id: TenantId, plan: Plan, keys: i64, cost: ReadEstimate) -> PlanReport {
    let held_by = plan.run_type.moves_watermark().then(|| {
        match plan.watermark_bounds.map(|bounds| (bounds.fence, bounds.safety)) {
            Some((Some(fence), safety)) if safety < fence => HeldBy::SafetyLag,
            Some((Some(_), _)) => HeldBy::Fence,
            _ => HeldBy::OpenTransaction,
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
        watermark_held_by: held_by,
        warnings: plan.record.warnings,
        cost,
    }
}

fn print(plan: &PlanReport) -> anyhow::Result<()> {
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
    ];
    match plan.watermark_held_by {
        Some(held_by) => rows.extend([
            (
                "watermark",
                format!(
                    "{} → {}",
                    output::time(plan.watermark_start),
                    output::time(plan.watermark_end)
                ),
            ),
            ("held by", held_by_text(held_by).to_owned()),
        ]),
        None => rows.push(("watermark", "stays where it is".to_owned())),
    }
    rows.push(("reads", cost));
    rows.extend(
        plan.signals
            .iter()
            .map(|(signal, hits)| (signal.as_str(), output::count(*hits))),
    );
    if plan.renamed > 0 {
        rows.push(("renamed", format!("{}, taken by a backfill", plan.renamed)));
    }
    rows.extend(plan.warnings.iter().map(|warning| ("warning", warning.clone())));
    output::table(
        &["plan", ""],
        &[],
        rows.into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect(),
    )
}

const fn held_by_text(held_by: HeldBy) -> &'static str {
    match held_by {
        HeldBy::Fence => "the fence: what was written later may not be visible yet",
        HeldBy::SafetyLag => "the safety lag behind the source's clock",
        HeldBy::OpenTransaction => "a transaction is open that is older than every sample",
    }
}

/// A plan a line, and their sum.
fn table(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let planned = || {
        outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Planned(plan) => Some(plan),
            Outcome::Refused(_) => None,
        })
    };
    let messages = |messages: Option<i64>| messages.map_or_else(|| "-".to_owned(), output::count);
    let mut rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Planned(plan) => vec![
                plan.tenant_id.to_string(),
                plan.run_type.as_str().to_owned(),
                output::count(plan.keys),
                plan.chunks.to_string(),
                messages(plan.cost.messages),
                plan.signals
                    .iter()
                    .filter(|(_, hits)| **hits > 0)
                    .map(|(signal, hits)| format!("{signal} {}", output::count(*hits)))
                    .collect::<Vec<_>>()
                    .join(", "),
            ],
            Outcome::Refused(refused) => {
                let mut row = vec![refused.tenant_id.to_string(), "refused".to_owned()];
                row.extend(std::iter::repeat_n("-".to_owned(), 3));
                row.push(refused.error.clone());
                row
            }
        })
        .collect();
    rows.push(vec![
        "all".to_owned(),
        String::new(),
        output::count(planned().map(|plan| plan.keys).sum()),
        output::count(planned().map(|plan| i64::from(plan.chunks)).sum()),
        messages(planned().map(|plan| plan.cost.messages).sum()),
        String::new(),
    ]);
    let header = ["tenant", "type", "keys", "chunks", "messages, about", "signals"];
    output::table(&header, &[0, 2, 3, 4], rows)
}
