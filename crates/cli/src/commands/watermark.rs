//! `tidemark watermark …`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::watermark::{Move, Watermark};
use tidemark_operations::{lists, tenants, watermarks};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::{RunId, TenantId};

use super::bounds;
use super::resync::instant;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

/// Moves shown without --limit.
const MOVES_SHOWN: i64 = 20;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show watermarks; with --tenant also who moved it and why
    Show {
        /// Only this tenant, with the newest moves of its watermark
        #[arg(long, alias = "tenant-id", value_name = "N", conflicts_with = "behind")]
        tenant: Option<TenantId>,
        /// Only tenants further behind than this, such as 15m, and those never synced
        #[arg(long, value_name = "DUR", value_parser = bounds::age)]
        behind: Option<Duration>,
        /// Only moves before this one: the next part of a longer list
        #[arg(long, requires = "tenant", value_name = "ID")]
        before: Option<i64>,
        /// Show at most this many moves
        #[arg(long, default_value_t = MOVES_SHOWN, requires = "tenant", value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Set a tenant's watermark: the next run takes changes since then
    Set {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Time by the source's clock (RFC 3339), not in its future
        #[arg(long, value_name = "TIME", value_parser = instant)]
        to: DateTime<Utc>,
        /// Reason, stored in the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Serialize)]
struct WatermarkView {
    tenant_id: TenantId,
    watermark: Option<DateTime<Utc>>,
    run_id: Option<RunId>,
    advanced_at: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    consecutive_failures: i32,
    next_due_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moves: Option<Vec<Move>>,
}

impl WatermarkView {
    fn new(at: Watermark, moves: Option<Vec<Move>>) -> Self {
        Self {
            tenant_id: at.tenant_id,
            watermark: at.watermark,
            run_id: at.run_id,
            advanced_at: at.advanced_at,
            checked_at: at.checked_at,
            consecutive_failures: at.consecutive_failures,
            next_due_at: at.next_due_at,
            moves,
        }
    }
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::Show {
                tenant: None, behind, ..
            } => show_all(app, &db, behind).await,
            Self::Show {
                tenant: Some(tenant),
                before,
                limit,
                ..
            } => show(app, &db, tenant, before, limit).await,
            Self::Set { tenant, to, reason } => set(app, &db, tenant, to, &reason).await,
        }
    }
}

async fn show_all(app: &App, db: &DbPool, behind: Option<Duration>) -> anyhow::Result<Exit> {
    let tenants = ledger::tenant::list(db).await?;
    let mut watermarks = ledger::watermark::list(db, behind).await?;
    watermarks.retain(|at| tenants.iter().any(|tenant| tenant.id == at.tenant_id));
    let views: Vec<WatermarkView> = watermarks
        .into_iter()
        .map(|at| WatermarkView::new(at, None))
        .collect();
    if app.json {
        output::json(&views)?;
    } else {
        table(&views)?;
    }
    Ok(Exit::Done)
}

async fn show(
    app: &App,
    db: &DbPool,
    tenant: TenantId,
    before: Option<i64>,
    limit: i64,
) -> anyhow::Result<Exit> {
    tenants::load(db, tenant).await?;
    let page = lists::moves(db, tenant, before, limit).await?;
    let (shown, moves) = (page.items.len(), page.items);
    let view = WatermarkView::new(ledger::watermark::load(db, tenant).await?, Some(moves.clone()));
    if app.json {
        output::json(&view)?;
        output::note_next(shown, page.next, "moves", "--before");
        return Ok(Exit::Done);
    }
    table(&[view])?;
    let rows = moves
        .into_iter()
        .map(|moved| {
            let by_run = moved.run_id.map(|run| format!("run {run}"));
            vec![
                output::time(Some(moved.moved_at)),
                output::time(moved.old),
                output::time(moved.new),
                by_run.or(moved.actor).unwrap_or_else(|| "-".to_owned()),
                moved.reason.unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    output::line("")?;
    output::table(&["moved", "from", "to", "by", "reason"], &[], rows)?;
    output::note_next(shown, page.next, "moves", "--before");
    Ok(Exit::Done)
}

async fn set(
    app: &App,
    db: &DbPool,
    tenant: TenantId,
    to: DateTime<Utc>,
    reason: &str,
) -> anyhow::Result<Exit> {
    let tenant = tenants::load(db, tenant).await?;
    let sources = app.sources()?;
    let old = watermarks::set(db, &sources, &app.actor(), &tenant, to, reason).await?;
    output::note(match old {
        Some(old) if to > old => format!(
            "tenant {}: changes between {old} and {to} are no longer looked for; `tidemark verify` finds missing rows",
            tenant.id
        ),
        _ => format!("tenant {}: the next run takes changes since {to}", tenant.id),
    });
    show(app, db, tenant.id, None, MOVES_SHOWN).await
}

fn table(views: &[WatermarkView]) -> anyhow::Result<()> {
    let rows = views
        .iter()
        .map(|view| {
            vec![
                view.tenant_id.to_string(),
                output::time(view.watermark),
                view.run_id.map_or_else(|| "-".to_owned(), |run| run.to_string()),
                output::time(view.advanced_at),
                view.consecutive_failures.to_string(),
                output::time(Some(view.next_due_at)),
            ]
        })
        .collect();
    let header = ["tenant", "watermark", "run", "moved", "failures", "next sync"];
    output::table(&header, &[0, 2, 4], rows)
}
