//! `tidemark bulk …`: one action on everything that matches.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tidemark_ledger::bulk::{Bulk, BulkItem};
use tidemark_operations::bulk::{self, BulkAction, BulkFilter, BulkView, BulkWorker, MOST};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;

use super::one_of;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

/// Between two looks at a job that another process works on.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Ten thousand ids with their separators.
const BYTES: u64 = 512 * 1024;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Choose tenants, runs, chunks or rejects, show how many, and act on each
    Start(Box<Start>),
    /// List jobs, the newest first
    List {
        /// Only jobs before this one: the next part of a longer list
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        /// Show at most this many
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show one job
    Show {
        /// Job, from `bulk list`
        id: i64,
    },
    /// Stop a job before its end; what was done stays
    Stop {
        /// Job, from `bulk list`
        id: i64,
    },
    /// Go on with a job whose process has stopped; a console does so by itself
    Resume {
        /// Job, from `bulk list`
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "ids_file", "all_matching"]))]
pub struct Start {
    /// What to do with each
    #[arg(value_name = "ACTION", value_parser = one_of(&BulkAction::ALL, BulkAction::as_str))]
    action: BulkAction,
    /// Only these: tenants 4, runs 18, chunks 18/3, conversations 4:4711; separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ID",
        conflicts_with = "all_matching"
    )]
    ids: Vec<String>,
    /// Read the ids from a file, or from stdin with `-`; separated by commas, spaces or newlines
    #[arg(long, value_name = "FILE", conflicts_with = "all_matching")]
    ids_file: Option<PathBuf>,
    /// All that match the filters, at most ten thousand
    #[arg(long)]
    all_matching: bool,
    /// Only of this tenant
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: Option<TenantId>,
    /// Tenants in this state: late, failing, paused, never, rejects, attention
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Tenants of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Tenants with this in their name or slug
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Runs with this status
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Runs of this type
    #[arg(long = "type", value_name = "TYPE")]
    run_type: Option<String>,
    /// Rejects of this side: source, transform, target
    #[arg(long, value_name = "SIDE")]
    side: Option<String>,
    /// Rejects with this SQLSTATE, or its first characters
    #[arg(long, value_name = "CODE")]
    sqlstate: Option<String>,
    /// Rejects with exactly this error
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Reason, stored with what is done
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Confirm; without it only the choice is shown
    #[arg(long)]
    yes: bool,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::Start(args) => args.run(app, &db).await,
            Self::List { before, limit } => {
                let page = bulk::list(&db, before, limit).await?;
                if app.json {
                    output::json(&page.items)?;
                } else {
                    table(&page.items)?;
                }
                output::note_next(page.items.len(), page.next, "jobs", "--before");
                Ok(Exit::Done)
            }
            Self::Show { id } => show(app, &bulk::load_view(&db, id).await?),
            Self::Stop { id } => {
                output::note(match bulk::stop(&db, &app.actor(), id).await? {
                    true => format!("job {id} is stopped; what was done stays"),
                    false => format!("job {id} is not running"),
                });
                show(app, &bulk::load_view(&db, id).await?)
            }
            Self::Resume { id } => {
                let found = bulk::load(&db, id).await?;
                if found.status != "running" {
                    let text = format!("job {id} is {}: there is nothing to go on with", found.status);
                    return Err(UsageError(text).into());
                }
                work(app, &db, id).await
            }
        }
    }
}

impl Start {
    async fn run(self, app: &App, db: &DbPool) -> anyhow::Result<Exit> {
        let filter = BulkFilter {
            ids: self.chosen_ids()?,
            tenant: self.tenant,
            state: self.state,
            source: self.source,
            text: self.text,
            status: self.status,
            run_type: self.run_type,
            side: self.side,
            sqlstate: self.sqlstate,
            error: self.error,
        };
        let actor = app.actor();
        let reason = self.reason.as_deref();
        let prepared = bulk::prepare(db, &app.settings, &actor, None, self.action, &filter, reason).await?;
        let id = prepared.id;
        if !self.yes {
            show(app, &bulk::load_view(db, id).await?)?;
            let text = format!(
                "nothing is done yet: {} of {} items would be; to confirm, repeat it with --yes",
                prepared.left(),
                prepared.item_count
            );
            return Err(UsageError(text).into());
        }
        bulk::start(db, &actor, id, reason).await?;
        work(app, db, id).await
    }

    fn chosen_ids(&self) -> anyhow::Result<Option<Vec<String>>> {
        let mut ids = self.ids.clone();
        match &self.ids_file {
            Some(file) => ids.extend(read_ids(file)?),
            None if ids.is_empty() => return Ok(None),
            None => {}
        }
        Ok(Some(ids))
    }
}

fn read_ids(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(BYTES + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| UsageError(format!("open {}: {error}", path.display())))?;
        file.take(BYTES + 1).read_to_string(&mut text)
    };
    read.with_context(|| format!("read ids from {}", path.display()))?;
    let ids: Vec<String> = text
        .split(|sign: char| sign == ',' || sign == ';' || sign.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    if ids.len() > MOST {
        return Err(UsageError(format!("more than {MOST} ids: act in parts")).into());
    }
    Ok(ids)
}

/// Works on the job in this process, or watches who does.
async fn work(app: &App, db: &DbPool, id: i64) -> anyhow::Result<Exit> {
    let worker = BulkWorker::new(db.clone(), app.instance.clone());
    if !app.json {
        output::note(format!(
            "job {id}: if this command is interrupted, a console goes on with it, or `tidemark bulk resume {id}`"
        ));
    }
    loop {
        worker.turn(Some(id), || false).await?;
        let now = bulk::load(db, id).await?;
        if now.status != "running" {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    show(app, &bulk::load_view(db, id).await?)
}

fn show(app: &App, view: &BulkView) -> anyhow::Result<Exit> {
    let bulk = &view.bulk;
    if app.json {
        output::json(view)?;
    } else {
        table(std::slice::from_ref(bulk))?;
        for one in &view.skipped {
            output::note(format!("skipped: {} {}", one.items, one.why));
        }
        if bulk.status == "prepared" {
            items(&view.sample)?;
        }
        if !view.failed.is_empty() {
            items(&view.failed)?;
        }
    }
    Ok(match bulk.failed_count {
        0 => Exit::Done,
        _ => Exit::Failed,
    })
}

fn table(jobs: &[Bulk]) -> anyhow::Result<()> {
    let rows = jobs
        .iter()
        .map(|bulk| {
            vec![
                bulk.id.to_string(),
                bulk.action.clone(),
                bulk.status.clone(),
                output::count(bulk.item_count.into()),
                output::count(bulk.done_count.into()),
                output::count(bulk.skipped_count.into()),
                output::count(bulk.failed_count.into()),
                output::count(bulk.left().into()),
                output::time(bulk.started_at),
                bulk.actor.clone(),
                bulk.reason.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let header = [
        "job", "action", "status", "items", "done", "skipped", "failed", "left", "started", "by", "reason",
    ];
    output::table(&header, &[0, 3, 4, 5, 6, 7], rows)
}

fn items(items: &[BulkItem]) -> anyhow::Result<()> {
    let none = || "-".to_owned();
    let rows = items
        .iter()
        .map(|item| {
            vec![
                item.tenant_id.to_string(),
                match (item.run_id, item.chunk_seq) {
                    (Some(run), Some(seq)) => format!("{run}/{seq}"),
                    (Some(run), None) => run.to_string(),
                    _ => none(),
                },
                output::count(item.conversation_count.into()),
                item.status.clone(),
                item.error.clone().unwrap_or_else(none),
            ]
        })
        .collect();
    output::table(
        &["tenant", "run or chunk", "conversations", "status", "error"],
        &[0, 2],
        rows,
    )
}
