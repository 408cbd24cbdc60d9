//! `tidemark plan`, and `resync --dry-run`.

use tidemark_operations::plan_preview::{PlanReport, Preview, WatermarkLimit, planner, preview};
use tidemark_postgres::DbPool;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};

use super::requests::Tenants;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    tenants: Tenants,
    /// Take all conversations, not only changed ones
    #[arg(long, alias = "force-full")]
    full: bool,
    /// Conversations per chunk, instead of the tenant's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenants = self.tenants.load_ready(&db).await?;
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
            .collect::<Vec<_>>();
        dry_run(app, &db, run_type, &parts, self.tenants.are_several()).await
    }
}

/// Plans these runs and prints what they would do.
pub(super) async fn dry_run(
    app: &App,
    db: &DbPool,
    run_type: RunType,
    parts: &[(Tenant, RunRequest)],
    several: bool,
) -> anyhow::Result<Exit> {
    let planner = planner(db, app.sources()?, &app.settings);
    let previews = preview(&planner, run_type, parts, several).await?;
    match previews.as_slice() {
        list if app.json && several => output::json(&list)?,
        [Preview::Planned(plan)] if app.json => output::json(plan)?,
        [Preview::Planned(plan)] if !several => print(plan)?,
        previews => table(previews)?,
    }
    let refused = previews
        .iter()
        .any(|preview| matches!(preview, Preview::Refused(_)));
    Ok(if refused { Exit::Failed } else { Exit::Done })
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
        None => rows.push(("watermark", "stays".to_owned())),
    }
    rows.push(("reads", cost));
    rows.extend(
        plan.signals
            .iter()
            .map(|(signal, hits)| (signal.as_str(), output::count(*hits))),
    );
    if plan.renamed > 0 {
        rows.push(("renamed", format!("{}, rewritten by a backfill", plan.renamed)));
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

const fn held_by_text(held_by: WatermarkLimit) -> &'static str {
    match held_by {
        WatermarkLimit::Fence => "the fence: later changes may not be visible yet",
        WatermarkLimit::SafetyLag => "the safety lag behind the source's clock",
        WatermarkLimit::OpenTransaction => "an open transaction that is older than every sample",
    }
}

/// One line a plan, then their sum.
fn table(previews: &[Preview]) -> anyhow::Result<()> {
    let planned = || {
        previews.iter().filter_map(|preview| match preview {
            Preview::Planned(plan) => Some(plan),
            Preview::Refused(_) => None,
        })
    };
    let messages = |messages: Option<i64>| messages.map_or_else(|| "-".to_owned(), output::count);
    let mut rows: Vec<Vec<String>> = previews
        .iter()
        .map(|preview| match preview {
            Preview::Planned(plan) => vec![
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
            Preview::Refused(refused) => {
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
