//! `tidemark dead …`: the queue of messages that could not be read.

use serde::Serialize;
use tidemark_broker::{DeadFilter, DeadGroup};
use tidemark_operations::redrive::redrive;
use tidemark_shared::ids::TenantId;

use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List why messages were set aside, alike ones counted together; they stay where they are
    List {
        #[command(flatten)]
        bound: Bound,
        /// Only those with this in their reason
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only those that were consumed from a queue with this in its name: live, bulk, events
        #[arg(long, value_name = "TEXT")]
        queue: Option<String>,
        /// Only those of this tenant, as far as they can be read
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: Option<TenantId>,
    },
    /// Send those on their way again that this build can read and whose chunk still waits
    Redrive {
        #[command(flatten)]
        bound: Bound,
    },
    /// Empty the queue; no work is lost by it, chunks stand in the ledger
    Purge {
        /// Needed: their reasons are gone with them
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Bound {
    /// Oldest messages to look at
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

#[derive(Debug, Serialize)]
struct List {
    /// Messages in the queue, also beyond the limit.
    total: u32,
    messages: Vec<DeadGroup>,
}

#[derive(Debug, Serialize)]
struct Purged {
    purged: u32,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List {
                bound,
                reason,
                queue,
                tenant,
            } => {
                let filter = DeadFilter {
                    reason,
                    queue,
                    tenant,
                };
                list(app, bound.limit.into(), &filter).await
            }
            Self::Redrive { bound } => send_again(app, bound.limit.into()).await,
            Self::Purge { yes } => purge(app, yes).await,
        }
    }
}

async fn list(app: &App, limit: usize, filter: &DeadFilter) -> anyhow::Result<Exit> {
    let dead = app.rabbit()?.dead_letters().await?;
    let total = dead.count().await?;
    let messages = dead.list(limit, filter).await?;
    dead.close().await?;
    if app.json {
        output::json(&List { total, messages })?;
        return Ok(Exit::Done);
    }
    table(messages)?;
    output::note(format!("{total} messages in the queue"));
    Ok(Exit::Done)
}

async fn send_again(app: &App, limit: usize) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let rabbit = app.rabbit()?;
    let dead = rabbit.dead_letters().await?;
    let outcome = redrive(&db, &rabbit, &dead, limit).await?;
    dead.close().await?;
    if app.json {
        output::json(&outcome)?;
    } else {
        output::note(format!(
            "{} messages redriven; left where they are: {} that cannot be read, {} that nobody waits for, {} refused \
             by the broker",
            outcome.redriven, outcome.unreadable, outcome.unwanted, outcome.refused
        ));
    }
    Ok(if outcome.refused == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn purge(app: &App, yes: bool) -> anyhow::Result<Exit> {
    let dead = app.rabbit()?.dead_letters().await?;
    if !yes {
        let text = format!(
            "this removes {} messages for good: look at them with `tidemark dead list`; if that is meant: \
             tidemark dead purge --yes",
            dead.count().await?
        );
        return Err(UsageError(text).into());
    }
    let purged = dead.purge().await?;
    dead.close().await?;
    if app.json {
        output::json(&Purged { purged })?;
    } else {
        output::note(format!("{purged} messages removed"));
    }
    Ok(Exit::Done)
}

fn table(groups: Vec<DeadGroup>) -> anyhow::Result<()> {
    let rows = groups
        .into_iter()
        .map(|group| {
            let message = group.message;
            let says = message.job.map_or_else(
                || {
                    format!(
                        "{} bytes",
                        output::count(i64::try_from(message.bytes).unwrap_or(i64::MAX))
                    )
                },
                |job| format!("chunk {} of tenant {}", job.chunk(), job.tenant_id),
            );
            vec![
                group.count.to_string(),
                message.reason,
                message.queue.unwrap_or_else(|| "-".to_owned()),
                says,
                output::time(message.since),
                output::time(group.newest_at),
            ]
        })
        .collect();
    output::table(
        &["count", "reason", "queue", "says", "oldest", "newest"],
        &[0],
        rows,
    )
}
