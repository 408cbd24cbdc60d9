//! `tidemark run …`.

mod list;
pub(super) mod print;

use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_operations::run_control::{self, RetriedRun};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::RunId;

use super::bounds;
use super::requests::note_open;
use crate::app::App;
use crate::exit::Exit;
use crate::output;
use crate::progress::Watch;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the newest runs
    List(list::Args),
    /// Show one run
    Show {
        /// Id of the run, from `run list`
        run_id: RunId,
    },
    /// Watch a run until it ends; the exit code shows the outcome. With --json one object a line, the last with the outcome
    Watch {
        /// Id of the run, from `run list`
        run_id: RunId,
        /// Shortest time between two lines; bars ignore it [default: 1s with --json, else 5s]
        #[arg(long, value_name = "DUR", value_parser = bounds::pause)]
        every: Option<Duration>,
    },
    /// Cancel a run: chunks that wait are cancelled, and workers drop those that they execute
    Cancel {
        /// Id of the run, from `run list`
        run_id: RunId,
        /// Reason, stored with the run
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Retry the dead and cancelled chunks of a run
    Retry {
        /// Id of the run, from `run list`
        run_id: RunId,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::List(args) => args.run(app, &db).await,
            Self::Show { run_id } => {
                print::one(app, &db, &run_control::load(&db, run_id).await?).await?;
                Ok(Exit::Done)
            }
            Self::Watch { run_id, every } => {
                run_control::load(&db, run_id).await?;
                let watch = Watch::new(app, &db).json_lines(app.json, every);
                let runs = watch.wait(&[run_id]).await?;
                if !app.json {
                    print::runs(app, &runs, false)?;
                }
                Ok(Exit::of_runs(&runs))
            }
            Self::Cancel { run_id, reason } => cancel(app, &db, run_id, reason.as_deref()).await,
            Self::Retry { run_id } => retry(app, &db, run_id, None).await,
        }
    }
}

async fn cancel(app: &App, db: &DbPool, id: RunId, reason: Option<&str>) -> anyhow::Result<Exit> {
    let chunks = run_control::cancel(db, &app.actor(), id, reason).await?;
    output::note(format!(
        "run {id} is cancelled: {} chunks had not started, and workers drop {} when they renew their leases; \
         next: tidemark run retry {id}, or nothing",
        chunks.waiting, chunks.running
    ));
    print::runs(app, &ledger::run::reports(db, &[id]).await?, false)?;
    Ok(Exit::Done)
}

/// Retries all dead and cancelled chunks of a run, or only chunk `seq`.
pub(super) async fn retry(app: &App, db: &DbPool, id: RunId, seq: Option<i32>) -> anyhow::Result<Exit> {
    let run = match run_control::retry(db, &app.actor(), id, seq).await? {
        RetriedRun::SameRun { chunks, left } => {
            output::note(format!("{chunks} chunks of run {id} are due again"));
            if left > 0 {
                output::note(format!(
                    "{left} others stay dead or cancelled, so the run will end failed: tidemark run retry {id} retries all"
                ));
            }
            id
        }
        RetriedRun::NewRun { tenant_id, requested } => {
            let run = note_open(tenant_id, requested);
            output::note(format!(
                "run {id} ended before it had chunks: it was requested again as run {run}"
            ));
            run
        }
    };
    print::runs(app, &ledger::run::reports(db, &[run]).await?, false)?;
    Ok(Exit::Done)
}
