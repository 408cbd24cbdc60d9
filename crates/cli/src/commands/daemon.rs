//! `tidemark producer|worker|finalizer|up|console`: processes that run until they are stopped.

use std::sync::Arc;
use std::time::Duration;

use tidemark_broker::metrics::observe_queue;
use tidemark_console::Bound;
use tidemark_postgres::DbPool;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::metrics::observe_pools;
use tidemark_shared::retry::Backoff;
use tokio::net::TcpListener;

use crate::app::App;
use crate::exit::{Exit, SetupError};
use crate::http::{self, Health};
use crate::roles::Roles;

const START_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(500),
    cap: Duration::from_secs(10),
};

#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    /// Chunks read at the same time [default: 2] [env: TIDEMARK_WORKER_CONCURRENCY]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,
}

#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Chunks read at the same time [default: 2] [env: TIDEMARK_WORKER_CONCURRENCY]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

pub async fn producer(app: &App) -> anyhow::Result<Exit> {
    run(app, "producer", 0, |roles| {
        tidemark_producer::metrics::begin();
        roles.spawn_planning();
        roles.spawn_schedule();
    })
    .await
}

pub async fn finalizer(app: &App) -> anyhow::Result<Exit> {
    let per_tenant = app.settings.metrics_per_tenant;
    let keep = app.settings.retention.clone();
    run(app, "finalizer", 0, |roles| {
        tidemark_finalizer::metrics::begin();
        roles.spawn_finalizer();
        roles.spawn_fleet_watch(per_tenant);
        roles.spawn_pruning(keep);
    })
    .await
}

/// Serves the console alone: the fleet runs elsewhere.
pub async fn console(app: &App) -> anyhow::Result<Exit> {
    let bound = bind_console(app).await?;
    let bound = bound.ok_or_else(|| {
        SetupError("console.listen is `off`: set an address, such as 127.0.0.1:9480".to_owned())
    })?;
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    let Some(db) = lifecycle
        .soft()
        .run_until_cancelled(wait_for(async || app.console_database().await))
        .await
    else {
        return Ok(Exit::Done);
    };
    let db = db?;
    run_with(app, "console", 0, lifecycle, |roles| {
        roles.spawn_console(app, db, bound);
    })
    .await
}

/// The console of `up`. A login that may not act as the console runs the fleet without it.
async fn open_console(app: &App) -> anyhow::Result<Option<(DbPool, Bound)>> {
    let Some(bound) = bind_console(app).await? else {
        return Ok(None);
    };
    match wait_for(async || app.console_database().await).await {
        Ok(db) => Ok(Some((db, bound))),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "no console: `tidemark console` serves it alone"
            );
            Ok(None)
        }
    }
}

async fn bind_console(app: &App) -> anyhow::Result<Option<Bound>> {
    Ok(tidemark_console::bind(&app.settings.console)
        .await
        .map_err(SetupError)?)
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
        let keep = app.settings.retention.clone();
        let lifecycle = Lifecycle::new();
        lifecycle.stop_on_signals()?;
        let opening = lifecycle.soft().run_until_cancelled(open_console(app));
        let Some(console) = opening.await else {
            return Ok(Exit::Done);
        };
        let console = console?;
        run_with(app, "up", settings.concurrency, lifecycle, |roles| {
            tidemark_producer::metrics::begin();
            tidemark_finalizer::metrics::begin();
            roles.spawn_planning();
            roles.spawn_schedule();
            roles.spawn_finalizer();
            roles.spawn_fleet_watch(per_tenant);
            roles.spawn_pruning(keep);
            roles.spawn_worker(settings);
            if let Some((db, bound)) = console {
                roles.spawn_console(app, db, bound);
            }
        })
        .await
    }
}

/// Opens the ledger and waits while it is away, so that a fleet can start before its database or during an outage.
async fn wait_for_ledger(app: &App, concurrency: u16) -> anyhow::Result<DbPool> {
    wait_for(async || app.isolated_database(concurrency).await).await
}

async fn wait_for(open: impl AsyncFn() -> anyhow::Result<DbPool>) -> anyhow::Result<DbPool> {
    let mut failures = 0;
    loop {
        let error = match open().await {
            Err(error) if Exit::of(&error) == Exit::Unreachable => error,
            answer => return answer,
        };
        failures += 1;
        if failures == 1 {
            tracing::warn!(error = format!("{error:#}"), "ledger away, waiting for it");
        }
        tokio::time::sleep(START_BACKOFF.delay(failures, rand::random())).await;
    }
}

/// Runs the roles that `spawn` starts until a signal, then waits for their end within the grace period.
async fn run(
    app: &App,
    role: &'static str,
    concurrency: u16,
    spawn: impl FnOnce(&Roles),
) -> anyhow::Result<Exit> {
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    run_with(app, role, concurrency, lifecycle, spawn).await
}

async fn run_with(
    app: &App,
    role: &'static str,
    concurrency: u16,
    lifecycle: Lifecycle,
    spawn: impl FnOnce(&Roles),
) -> anyhow::Result<Exit> {
    let listener = http::bind(app.settings.http_listen).await?;
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    app.warn_of_exposure()?;
    let Some(db) = lifecycle
        .soft()
        .run_until_cancelled(wait_for_ledger(app, concurrency))
        .await
    else {
        return Ok(Exit::Done);
    };
    let roles = Roles {
        lifecycle,
        ..Roles::new(app, db?, app.queue().await?, app.sources()?)
    };
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
    // serves until it is dropped
    let _http = listener
        .zip(app.scrape())
        .map(|(listener, scrape)| http::start_server(listener, health, scrape));
    let http = address.map(tracing::field::display);
    tracing::info!(role, instance = app.instance, http, "started");
    roles.end(app.settings.worker.shutdown_grace).await;
    roles.queue.close().await;
    tracing::info!(role, "stopped");
    roles
        .lifecycle
        .failure()
        .map_or(Ok(Exit::Done), |failed| Err(failed.into()))
}

fn observe(roles: &Roles) {
    let ledger = ("ledger".to_owned(), roles.db.connections().clone());
    let sources = roles
        .sources
        .iter()
        .map(|source| (format!("source {}", source.name()), source.pool().clone()));
    observe_pools(std::iter::once(ledger).chain(sources).collect());
    observe_queue(Arc::clone(&roles.queue));
}
