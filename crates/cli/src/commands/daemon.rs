//! `tidemark producer|worker|finalizer|up`: processes that run until they are stopped.

use std::sync::Arc;

use tidemark_producer::metrics::{begin_finalizer, begin_producer};
use tidemark_shared::metrics::{observe_pools, observe_queue};
use tokio::net::TcpListener;

use crate::app::App;
use crate::exit::Exit;
use crate::http::{self, Health};
use crate::roles::Roles;

#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    /// Chunks at a time [default: 2] [env: TIDEMARK_WORKER_CONCURRENCY]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,
}

#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Chunks at a time [default: 2] [env: TIDEMARK_WORKER_CONCURRENCY]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

pub async fn producer(app: &App) -> anyhow::Result<Exit> {
    run(app, "producer", 0, |roles| {
        begin_producer();
        roles.spawn_planning();
        roles.spawn_schedule();
    })
    .await
}

pub async fn finalizer(app: &App) -> anyhow::Result<Exit> {
    let per_tenant = app.settings.metrics_per_tenant;
    run(app, "finalizer", 0, |roles| {
        begin_finalizer();
        roles.spawn_finalizer();
        roles.spawn_fleet_watch(per_tenant);
    })
    .await
}

impl WorkerArgs {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut settings = app.settings.worker.clone();
        settings.concurrency = self.concurrency.unwrap_or(settings.concurrency);
        run(app, "worker", settings.concurrency, |roles| {
            roles.spawn_worker(settings);
        })
        .await
    }
}

impl UpArgs {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut settings = app.settings.worker.clone();
        settings.concurrency = self.workers.unwrap_or(settings.concurrency);
        let per_tenant = app.settings.metrics_per_tenant;
        run(app, "up", settings.concurrency, |roles| {
            begin_producer();
            begin_finalizer();
            roles.spawn_planning();
            roles.spawn_schedule();
            roles.spawn_finalizer();
            roles.spawn_fleet_watch(per_tenant);
            roles.spawn_worker(settings);
        })
        .await
    }
}

/// Runs the roles that `spawn` starts until a signal, then lets them end within the grace period.
async fn run(
    app: &App,
    role: &'static str,
    concurrency: u16,
    spawn: impl FnOnce(&Roles),
) -> anyhow::Result<Exit> {
    let listener = http::bind(app.settings.http_listen).await?;
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let db = app.database(concurrency).await?;
    let roles = Roles::new(app, db, app.queue().await?, app.sources()?);
    roles.lifecycle.stop_on_signals()?;
    spawn(&roles);
    roles.spawn_heartbeat(role, address.map(|address| address.to_string()));
    observe(&roles);
    let health = Health {
        role,
        instance: app.instance.clone(),
        db: roles.db.clone(),
        queue: Arc::clone(&roles.queue),
        lifecycle: roles.lifecycle.clone(),
        works: concurrency > 0,
    };
    // answers until it is dropped
    let _http = listener
        .zip(app.scrape())
        .map(|(listener, scrape)| http::answer(listener, health, scrape));
    let http = address.map(tracing::field::display);
    tracing::info!(role, instance = app.instance, http, "started");
    roles.end(app.settings.worker.shutdown_grace).await;
    tracing::info!(role, "stopped");
    Ok(if roles.lifecycle.failed() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn observe(roles: &Roles) {
    let ledger = ("ledger".to_owned(), roles.db.clone());
    let sources = roles
        .sources
        .iter()
        .map(|source| (format!("source {}", source.name()), source.pool().clone()));
    observe_pools(std::iter::once(ledger).chain(sources).collect());
    observe_queue(Arc::clone(&roles.queue));
}
