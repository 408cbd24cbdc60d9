//! `tidemark status`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use tidemark_shared::db;
use tidemark_shared::db::process::Process;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunReport;

use crate::app::App;
use crate::exit::Exit;
use crate::output;

const WATCH_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show it again every two seconds
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    tenants: Vec<TenantStatus>,
    processes: Vec<Process>,
}

#[derive(Debug, Serialize)]
struct TenantStatus {
    tenant_id: TenantId,
    name: String,
    watermark: Option<DateTime<Utc>>,
    consecutive_failures: i32,
    next_due_at: Option<DateTime<Utc>>,
    chunks_pending: i64,
    chunks_queued: i64,
    chunks_running: i64,
    last_run: Option<RunReport>,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        loop {
            let status = load(&db).await?;
            if app.json {
                output::json(&status)?;
            } else {
                if self.watch {
                    // clears the screen and goes to its corner
                    output::line("\x1b[2J\x1b[H")?;
                }
                print(&status)?;
            }
            if !self.watch {
                return Ok(Exit::Done);
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
                () = tokio::time::sleep(WATCH_EVERY) => {}
            }
        }
    }
}

async fn load(db: &PgPool) -> anyhow::Result<Status> {
    let watermarks = db::watermark::list(db).await?;
    let open = db::chunk::count_open(db).await?;
    let mut tenants = Vec::new();
    for tenant in db::tenant::list(db).await? {
        let at = watermarks.iter().find(|at| at.tenant_id == tenant.id);
        let chunks = open.iter().find(|open| open.tenant_id == tenant.id);
        let last = db::run::list_ids(db, Some(tenant.id), 1).await?;
        tenants.push(TenantStatus {
            tenant_id: tenant.id,
            name: tenant.name,
            watermark: at.and_then(|at| at.watermark),
            consecutive_failures: at.map_or(0, |at| at.consecutive_failures),
            next_due_at: at.map(|at| at.next_due_at),
            chunks_pending: chunks.map_or(0, |open| open.pending),
            chunks_queued: chunks.map_or(0, |open| open.queued),
            chunks_running: chunks.map_or(0, |open| open.running),
            last_run: db::run::reports(db, &last).await?.pop(),
        });
    }
    Ok(Status {
        tenants,
        processes: db::process::list_live(db).await?,
    })
}

fn print(status: &Status) -> anyhow::Result<()> {
    let rows = status
        .tenants
        .iter()
        .map(|tenant| {
            let last = tenant.last_run.as_ref().map_or_else(
                || "-".to_owned(),
                |run| format!("{} {} {}", run.run_id, run.run_type.as_str(), run.status.as_str()),
            );
            vec![
                tenant.tenant_id.to_string(),
                tenant.name.clone(),
                output::time(tenant.watermark),
                last,
                tenant.chunks_pending.to_string(),
                tenant.chunks_queued.to_string(),
                tenant.chunks_running.to_string(),
                tenant.consecutive_failures.to_string(),
                output::time(tenant.next_due_at),
            ]
        })
        .collect();
    let header = [
        "tenant",
        "name",
        "watermark",
        "last run",
        "pending",
        "queued",
        "running",
        "failures",
        "next sync",
    ];
    output::table(&header, &[0, 4, 5, 6, 7], rows)?;
    let rows = status
        .processes
        .iter()
        .map(|process| {
            vec![
                process.role.clone(),
                process.instance.clone(),
                process.version.clone(),
                output::time(Some(process.started_at)),
                output::time(Some(process.last_seen_at)),
            ]
        })
        .collect();
    output::line("")?;
    output::table(&["process", "instance", "version", "started", "seen"], &[], rows)
}
