//! `tidemark watermark …`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::watermark::{Move, Set, Watermark};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::{RunId, TenantId};

use super::bounds;
use super::resync::instant;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

/// Newest moves that are shown when nobody says how many.
const MOVES_SHOWN: i64 = 20;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show how far tenants are; with --tenant also who moved its watermark
    Show {
        /// Only of this tenant, with its newest moves
        #[arg(long, alias = "tenant-id", value_name = "N", conflicts_with = "behind")]
        tenant: Option<TenantId>,
        /// Only those that are further behind than this, such as 15m, or were never set
        #[arg(long, value_name = "DUR", value_parser = bounds::age)]
        behind: Option<Duration>,
        /// Newest moves to show
        #[arg(long, default_value_t = MOVES_SHOWN, requires = "tenant", value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Put a tenant's watermark elsewhere: the next run takes what changed from there on
    Set {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// An instant of the source's clock (RFC 3339), not in its future
        #[arg(long, value_name = "TIME", value_parser = instant)]
        to: DateTime<Utc>,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Serialize)]
struct View {
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

impl View {
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
                limit,
                ..
            } => show(app, &db, tenant, limit).await,
            Self::Set { tenant, to, reason } => set(app, &db, tenant, to, &reason).await,
        }
    }
}

async fn show_all(app: &App, db: &DbPool, behind: Option<Duration>) -> anyhow::Result<Exit> {
    let tenants = ledger::tenant::list(db).await?;
    let mut watermarks = ledger::watermark::list(db, behind).await?;
    watermarks.retain(|at| tenants.iter().any(|tenant| tenant.id == at.tenant_id));
    let views: Vec<View> = watermarks.into_iter().map(|at| View::new(at, None)).collect();
    if app.json {
        output::json(&views)?;
    } else {
        table(&views)?;
    }
    Ok(Exit::Done)
}

async fn show(app: &App, db: &DbPool, tenant: TenantId, limit: i64) -> anyhow::Result<Exit> {
    app.tenant(db, tenant).await?;
    let moves = ledger::watermark::list_moves(db, tenant, limit).await?;
    let view = View::new(ledger::watermark::load(db, tenant).await?, Some(moves.clone()));
    if app.json {
        output::json(&view)?;
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
    Ok(Exit::Done)
}

async fn set(
    app: &App,
    db: &DbPool,
    tenant: TenantId,
    to: DateTime<Utc>,
    reason: &str,
) -> anyhow::Result<Exit> {
    if reason.trim().is_empty() {
        return Err(UsageError("setting a watermark needs a reason".to_owned()).into());
    }
    let tenant = app.tenant(db, tenant).await?;
    let sources = app.sources()?;
    let now = sources.get(&tenant.source)?.observe().await?.sample.sampled_at;
    if to > now {
        let text = format!("--to {to} is in the future: the source's clock is at {now}");
        return Err(UsageError(text).into());
    }
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let old = match ledger::watermark::set(&mut tx, tenant.id, to, &app.actor(), reason).await? {
        Set::From { old } => old,
        Set::Open(run) => {
            let text = format!(
                "tenant {} has run {run} open, which moves the watermark when it ends: wait for it \
                 (`tidemark run watch {run}`) or end it (`tidemark run cancel {run}`)",
                tenant.id
            );
            return Err(UsageError(text).into());
        }
    };
    tx.commit().await.attempt("set the watermark")?;
    output::note(match old {
        Some(old) if to > old => format!(
            "tenant {}: what changed between {old} and {to} is not looked for any more, `tidemark verify` finds what is missing",
            tenant.id
        ),
        _ => format!("tenant {}: the next run takes what changed since {to}", tenant.id),
    });
    show(app, db, tenant.id, MOVES_SHOWN).await
}

fn table(views: &[View]) -> anyhow::Result<()> {
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
