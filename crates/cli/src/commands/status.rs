//! `tidemark status`.

mod held;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use tidemark_shared::config::Settings;
use tidemark_shared::db;
use tidemark_shared::db::chunk::OpenChunks;
use tidemark_shared::db::process::Process;
use tidemark_shared::db::source_watch::SourceWatch;
use tidemark_shared::fence::Holder;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunReport;
use tidemark_shared::tenant::Tenant;

use self::held::{Known, held_by};
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
    sources: Vec<SourceStatus>,
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
    /// What is in the way of its rows; `None`: nothing.
    held_by: Option<String>,
}

/// A source as a producer last sampled it.
#[derive(Debug, Serialize)]
struct SourceStatus {
    #[serde(flatten)]
    watch: SourceWatch,
    /// How far watermarks were held behind the source's clock; `None` when that is not known.
    fence_lag_ms: Option<i64>,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        loop {
            let status = load(&db, &app.settings).await?;
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

async fn load(db: &PgPool, settings: &Settings) -> anyhow::Result<Status> {
    let watermarks = db::watermark::list(db).await?;
    let open = db::chunk::count_open(db).await?;
    let sources = db::source_watch::list(db).await?;
    let processes = db::process::list_live(db).await?;
    let all = db::tenant::list(db).await?;
    let in_flight = |of: &dyn Fn(&Tenant) -> bool| -> i64 {
        let tenants = all.iter().filter(|tenant| of(tenant));
        let open = tenants.filter_map(|tenant| open.iter().find(|open| open.tenant_id == tenant.id));
        open.map(|open| open.queued + open.running).sum()
    };
    let mut tenants = Vec::new();
    for tenant in &all {
        let at = watermarks.iter().find(|at| at.tenant_id == tenant.id);
        let chunks = open.iter().find(|open| open.tenant_id == tenant.id);
        let chunks = chunks.copied().unwrap_or(OpenChunks::none(tenant.id));
        let failures = at.map_or(0, |at| at.consecutive_failures);
        let last = db::run::list_ids(db, Some(tenant.id), 1).await?;
        let last_run = db::run::reports(db, &last).await?.pop();
        let source_settings = settings.sources.get(&tenant.source);
        let held_by = held_by(&Known {
            tenant,
            open: chunks,
            failures,
            last_run: last_run.as_ref(),
            source: sources.iter().find(|source| source.source == tenant.source),
            processes: &processes,
            source_in_flight: in_flight(&|other| other.source == tenant.source),
            fleet_in_flight: in_flight(&|_| true),
            source_limit: source_settings.map(|source| source.max_in_flight),
            fleet_limit: settings.producer.max_in_flight,
        });
        tenants.push(TenantStatus {
            tenant_id: tenant.id,
            name: tenant.name.clone(),
            watermark: at.and_then(|at| at.watermark),
            consecutive_failures: failures,
            next_due_at: at.map(|at| at.next_due_at),
            chunks_pending: chunks.pending,
            chunks_queued: chunks.queued,
            chunks_running: chunks.running,
            last_run,
            held_by,
        });
    }
    Ok(Status {
        tenants,
        sources: sources
            .into_iter()
            .map(|watch| SourceStatus {
                fence_lag_ms: watch.fence_lag().map(|lag| lag.num_milliseconds()),
                watch,
            })
            .collect(),
        processes,
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
                tenant.held_by.clone().unwrap_or_else(|| "-".to_owned()),
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
        "held by",
    ];
    output::table(&header, &[0, 4, 5, 6, 7], rows)?;
    output::line("")?;
    print_sources(&status.sources)?;
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
                process.http_address.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    output::line("")?;
    let header = ["process", "instance", "version", "started", "seen", "http"];
    output::table(&header, &[], rows)
}

fn print_sources(sources: &[SourceStatus]) -> anyhow::Result<()> {
    let rows = sources
        .iter()
        .map(|source| {
            let watch = &source.watch;
            vec![
                watch.source.clone(),
                output::time(watch.looked_at),
                output::time(watch.fence_at),
                source
                    .fence_lag_ms
                    .map_or_else(|| "-".to_owned(), output::duration_ms),
                watch
                    .holder
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |holder| holder_text(&holder.0)),
                watch.error.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let header = ["source", "seen", "fence", "lag", "oldest writer", "error"];
    output::table(&header, &[3], rows)
}

/// Such as `pid 4711 (rails, puma), idle in transaction since …`, with what the login may see.
fn holder_text(holder: &Holder) -> String {
    let who = match (holder.pid, &holder.prepared) {
        (Some(pid), _) => format!("pid {pid}"),
        (None, Some(name)) => format!("prepared transaction {name}"),
        (None, None) => "unknown".to_owned(),
    };
    let names = [&holder.user, &holder.application];
    let names: Vec<&str> = names
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let state = match (&holder.state, holder.prepared.is_some()) {
        (Some(state), false) => format!(", {state}"),
        _ => String::new(),
    };
    let since = match holder.since {
        Some(since) => format!(" since {}", output::time(Some(since))),
        None => String::new(),
    };
    format!("{who} ({}){state}{since}", names.join(", "))
}
