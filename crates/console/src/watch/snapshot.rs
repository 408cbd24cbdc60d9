//! The installation at one moment.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tidemark_broker::QueueDepth;
use tidemark_ledger as ledger;
use tidemark_ledger::DbResult;
use tidemark_ledger::chunk_report::{ChunkFilter, ChunkReport};
use tidemark_ledger::console::view::{GridCell, LongChunk};
use tidemark_ledger::run::RunFilter;
use tidemark_operations::bulk::{self, BulkView};
use tidemark_operations::status::{Overview, TenantOverview};
use tidemark_postgres::DbPool;
use tidemark_runtime::config::Settings;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::progress::Progress;
use tidemark_shared::run::{RunReport, RunStatus};
use tidemark_shared::tenant::Tenant;

/// Open runs that are shown with their progress.
const OPEN_RUNS: i64 = 200;
/// Dead chunks that are counted one by one; more are shown as "or more".
pub const DEAD_CHUNKS: i64 = 500;
/// Jobs that are followed at once.
const JOBS: i64 = 10;
/// Cells of a grid: a chunk each up to here, several chunks a cell above.
const GRID_CELLS: i32 = 2_000;
/// Slow chunks that the page of a run shows.
pub const SLOWEST: i32 = 12;

#[derive(Debug)]
pub struct Snapshot {
    /// By the ledger's clock.
    pub at: DateTime<Utc>,
    pub overview: Overview,
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// Open runs, newest first.
    pub open_runs: Vec<RunView>,
    /// Open rejects of each tenant that has any.
    pub rejects: BTreeMap<TenantId, i64>,
    /// The newest dead chunks, at most [`DEAD_CHUNKS`].
    pub dead_chunks: Vec<ChunkReport>,
    /// `None`: the broker does not answer.
    pub queues: Option<Vec<QueueDepth>>,
    /// Runs that somebody looks at.
    pub runs: BTreeMap<RunId, RunView>,
    /// Jobs that run, or have ended a moment ago.
    pub jobs: BTreeMap<i64, JobView>,
}

#[derive(Debug)]
pub struct JobView {
    pub view: BulkView,
    /// What it acts on.
    pub tenants: Vec<TenantId>,
}

#[derive(Debug, Clone)]
pub struct RunView {
    pub report: RunReport,
    pub progress: Option<Progress>,
    pub grid: Vec<GridCell>,
    pub slowest: Vec<LongChunk>,
}

impl Snapshot {
    pub async fn load(db: &DbPool, settings: &Settings, watched: &[RunId]) -> DbResult<Self> {
        let (overview, (tenants, rejects, jobs), (open, mut views, dead_chunks)) = tokio::try_join!(
            Overview::load(db, settings),
            async {
                Ok((
                    ledger::tenant::list(db).await?,
                    ledger::console::view::open_rejects(db).await?,
                    load_jobs(db).await?,
                ))
            },
            load_open(db, settings, watched),
        )?;
        Ok(Self {
            at: ledger::console::view::now(db).await?,
            overview,
            tenants: tenants.into_iter().map(|tenant| (tenant.id, tenant)).collect(),
            open_runs: open.iter().filter_map(|id| views.get(id).cloned()).collect(),
            rejects: rejects.into_iter().collect(),
            dead_chunks,
            queues: None,
            jobs,
            runs: watched
                .iter()
                .filter_map(|id| views.remove(id).map(|view| (*id, view)))
                .collect(),
        })
    }

    pub fn tenant(&self, id: TenantId) -> Option<&TenantOverview> {
        self.overview.tenant(id)
    }

    pub fn name(&self, id: TenantId) -> &str {
        self.tenants.get(&id).map_or("", |tenant| tenant.name.as_str())
    }

    pub fn has_live(&self, role: &str) -> bool {
        let mut live = self.overview.processes.iter();
        live.any(|process| process.role == role || process.role == "up")
    }
}

/// Open runs, newest first; what is shown of them and of those that somebody looks at; dead chunks.
async fn load_open(
    db: &DbPool,
    settings: &Settings,
    watched: &[RunId],
) -> DbResult<(Vec<RunId>, BTreeMap<RunId, RunView>, Vec<ChunkReport>)> {
    let open = RunFilter {
        statuses: vec![RunStatus::Requested, RunStatus::Planning, RunStatus::Running],
        ..RunFilter::default()
    };
    let open = ledger::run::list_ids(db, &open, None, OPEN_RUNS).await?;
    let wanted: Vec<RunId> = open.iter().chain(watched).copied().collect();
    let views = load_runs(db, settings, &wanted, watched).await?;
    let dead = ChunkFilter {
        statuses: vec![ChunkStatus::Dead],
        ..ChunkFilter::default()
    };
    let dead = ledger::chunk_report::list(db, &dead, None, DEAD_CHUNKS).await?;
    Ok((open, views, dead))
}

async fn load_jobs(db: &DbPool) -> DbResult<BTreeMap<i64, JobView>> {
    let mut jobs = BTreeMap::new();
    for job in ledger::bulk::list_recent(db, JOBS).await? {
        let id = job.id;
        let view = JobView {
            tenants: ledger::bulk::list_tenants(db, id).await?,
            view: bulk::view_of(db, job).await?,
        };
        jobs.insert(id, view);
    }
    Ok(jobs)
}

/// One run with its grid.
pub async fn load_run(db: &DbPool, settings: &Settings, id: RunId) -> DbResult<Option<RunView>> {
    Ok(load_runs(db, settings, &[id], &[id]).await?.remove(&id))
}

async fn load_runs(
    db: &DbPool,
    settings: &Settings,
    ids: &[RunId],
    with_grid: &[RunId],
) -> DbResult<BTreeMap<RunId, RunView>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let reports = ledger::run::reports(db, ids).await?;
    let mut progress: BTreeMap<RunId, Progress> = BTreeMap::new();
    for mut one in ledger::progress::list(db, ids).await? {
        let source = settings.sources.get(&one.source.name);
        one.source.max_in_flight = source.map(|source| source.max_in_flight);
        progress.insert(one.run_id, one);
    }
    let mut views = BTreeMap::new();
    for report in reports {
        let id = report.run_id;
        let (grid, slowest) = match with_grid.contains(&id) && report.chunks.total > 0 {
            true => (
                ledger::console::view::grid(db, id, report.chunks.total, GRID_CELLS).await?,
                ledger::console::view::slowest(db, id, SLOWEST).await?,
            ),
            false => (Vec::new(), Vec::new()),
        };
        let view = RunView {
            progress: progress.remove(&id),
            grid,
            slowest,
            report,
        };
        views.insert(id, view);
    }
    Ok(views)
}
