//! `tidemark sync`: requests runs, and with `--local` executes them in this process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidemark_broker::MemoryQueue;
use tidemark_finalizer::{analyze, daily};
use tidemark_ledger as ledger;
use tidemark_operations::run_requests;
use tidemark_postgres::DbPool;
use tidemark_producer::planning::backfill;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunReport, RunRequest, RunType};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};
use tidemark_source::Sources;

use super::requests::request;
use super::run::print;
use crate::app::{App, check_isolation};
use crate::exit::Exit;
use crate::output;
use crate::progress::{self, Watch};
use crate::roles::Roles;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant id
    #[arg(
        long,
        alias = "tenant-id",
        value_name = "N",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    tenant: Option<TenantId>,
    /// All active tenants that have inboxes
    #[arg(long)]
    all: bool,
    /// Take all conversations, not only changed ones
    #[arg(long, alias = "force-full")]
    full: bool,
    /// Conversations per chunk, instead of the tenant's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Wait until the runs have ended; the exit code shows the outcome
    #[arg(long)]
    wait: bool,
    /// Execute the runs in this process, without RabbitMQ, and wait for them
    #[arg(long)]
    local: bool,
    /// Reason, stored with the run
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Mark rows deleted even when unusually many are gone from the source at once
    #[arg(long)]
    allow_mass_delete: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let concurrency = app.settings.worker.concurrency;
        let db = app.database(concurrency).await?;
        let tenants = self.tenants(&db).await?;
        let sources = self.local.then(|| app.sources()).transpose()?;
        if let Some(sources) = &sources {
            tokio::try_join!(check_isolation(&db), check(sources, &tenants))?;
        }
        let mut runs = Vec::with_capacity(tenants.len());
        for tenant in &tenants {
            runs.push(self.request(app, &db, tenant).await?);
        }
        let mut backfills = Vec::new();
        let reports = if let Some(sources) = &sources {
            let reports = execute_here(app, &db, sources, &runs).await?;
            if reports.iter().all(|run| run.status.is_terminal()) {
                analyze::analyze(&db).await;
                backfills = backfill_here(app, &db, sources, &tenants).await?;
                daily::summarize(&db).await;
            }
            reports
        } else if self.wait {
            Watch::new(app, &db).wait(&runs).await?
        } else {
            ledger::run::reports(&db, &runs).await?
        };
        print::runs(app, &reports, self.all)?;
        Ok(if self.local || self.wait {
            Exit::of_runs(&[reports, backfills].concat())
        } else {
            Exit::Done
        })
    }

    async fn tenants(&self, db: &DbPool) -> anyhow::Result<Vec<Tenant>> {
        let Some(id) = self.tenant else {
            return Ok(run_requests::list_ready(db).await?);
        };
        Ok(vec![run_requests::load_ready(db, id).await?])
    }

    async fn request(&self, app: &App, db: &DbPool, tenant: &Tenant) -> anyhow::Result<RunId> {
        let run_type = if self.full {
            RunType::Full
        } else {
            RunType::Incremental
        };
        let wanted = RunRequest {
            chunk_size: self.chunk_size,
            allow_mass_delete: self.allow_mass_delete,
            ..RunRequest::default()
        };
        request(app, db, tenant, run_type, self.reason.clone(), wanted).await
    }
}

/// Reports a source that cannot be read before anything is written.
async fn check(sources: &Sources, tenants: &[Tenant]) -> anyhow::Result<()> {
    let names: BTreeSet<&str> = tenants.iter().map(|tenant| tenant.source.as_str()).collect();
    for name in names {
        sources.get(name)?.check().await?;
    }
    Ok(())
}

/// Executes the due backfills of these tenants: a sync has to load newly mapped inboxes and changed names, and perhaps no
/// producer runs.
async fn backfill_here(
    app: &App,
    db: &DbPool,
    sources: &Arc<Sources>,
    tenants: &[Tenant],
) -> anyhow::Result<Vec<RunReport>> {
    let tenants: Vec<TenantId> = tenants.iter().map(|tenant| tenant.id).collect();
    backfill::request_due(db, Some(&tenants), Duration::ZERO).await?;
    let open = ledger::backfill::list_open(db, &tenants).await?;
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let reports = execute_here(app, db, sources, &open).await?;
    for run in &reports {
        output::note(format!(
            "tenant {}: backfill run {} took {} rows: {}",
            run.tenant_id,
            run.run_id,
            output::count(run.records.extracted),
            run.status.as_str()
        ));
    }
    Ok(reports)
}

/// Executes only these runs: producer, worker and finalizer in this process, with a queue in memory.
pub(super) async fn execute_here(
    app: &App,
    db: &DbPool,
    sources: &Arc<Sources>,
    runs: &[RunId],
) -> anyhow::Result<Vec<RunReport>> {
    // publish again the chunks that an ended process had in its queue
    ledger::chunk::requeue(db, runs).await?;
    let mut roles = Roles::new(app, db.clone(), Arc::new(MemoryQueue::new()), Arc::clone(sources));
    roles.only = Some(runs.to_vec());
    roles.lifecycle.stop_on_signals()?;
    roles.spawn_planning();
    roles.spawn_worker(app.settings.worker.clone());
    roles.spawn_finalizer();
    let reports = tokio::select! {
        reports = progress::wait(db, runs) => reports,
        () = roles.lifecycle.soft().cancelled() => Ok(ledger::run::reports(db, runs).await?),
    };
    roles.lifecycle.stop();
    roles.end(app.settings.worker.shutdown_grace).await;
    match roles.lifecycle.failure() {
        Some(failed) => Err(failed.into()),
        None => reports,
    }
}
