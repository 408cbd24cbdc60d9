//! `tidemark producer|worker|finalizer|up`: processes that run until they are stopped.

use crate::app::App;
use crate::exit::Exit;
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
        roles.spawn_planning();
        roles.spawn_schedule();
    })
    .await
}

pub async fn finalizer(app: &App) -> anyhow::Result<Exit> {
    run(app, "finalizer", 0, Roles::spawn_finalizer).await
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
        run(app, "up", settings.concurrency, |roles| {
            roles.spawn_planning();
            roles.spawn_schedule();
            roles.spawn_finalizer();
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
    let db = app.database(concurrency).await?;
    let roles = Roles::new(app, db, app.queue().await?, app.sources()?);
    roles.lifecycle.stop_on_signals()?;
    spawn(&roles);
    roles.spawn_heartbeat(role);
    tracing::info!(role, instance = app.instance, "started");
    roles.end(app.settings.worker.shutdown_grace).await;
    tracing::info!(role, "stopped");
    Ok(if roles.lifecycle.failed() {
        Exit::Failed
    } else {
        Exit::Done
    })
}
