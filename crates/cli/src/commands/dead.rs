//! `tidemark dead …`: the dead-letter queue.

use serde::Serialize;
use tidemark_broker::{DeadFilter, DeadGroup, Queue, RabbitQueue};
use tidemark_operations::dead_messages;

use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List why messages are dead, grouped by reason; the messages stay
    List {
        #[command(flatten)]
        bound: Bound,
        /// Only messages whose reason contains this text
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only messages from queues whose name contains this text: live, bulk, events
        #[arg(long, value_name = "TEXT")]
        queue: Option<String>,
    },
    /// Publish again the messages that this version can read and whose chunk still waits
    Redrive {
        #[command(flatten)]
        bound: Bound,
    },
    /// Remove all dead messages; no work is lost, because the chunks are in the ledger
    Purge {
        /// Confirm: the reasons are lost too
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Bound {
    /// Read at most this many messages, oldest first
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

#[derive(Debug, Serialize)]
struct Purged {
    purged: u32,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let rabbit = app.rabbit()?;
        let outcome = match self {
            Self::List { bound, reason, queue } => {
                let filter = DeadFilter { reason, queue };
                list(app, &rabbit, bound.limit.into(), &filter).await
            }
            Self::Redrive { bound } => redrive(app, &rabbit, bound.limit.into()).await,
            Self::Purge { yes } => purge(app, &rabbit, yes).await,
        };
        rabbit.close().await;
        outcome
    }
}

async fn list(app: &App, rabbit: &RabbitQueue, limit: usize, filter: &DeadFilter) -> anyhow::Result<Exit> {
    let dead = dead_messages::list(rabbit, limit, filter).await?;
    if app.json {
        output::json(&dead)?;
        return Ok(Exit::Done);
    }
    table(dead.messages)?;
    output::note(format!("{} messages in the queue", dead.total));
    Ok(Exit::Done)
}

async fn redrive(app: &App, rabbit: &RabbitQueue, limit: usize) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let outcome = dead_messages::redrive(&db, &app.actor(), rabbit, limit).await?;
    if app.json {
        output::json(&outcome)?;
    } else {
        output::note(format!(
            "{} messages redriven; left in the queue: {} unreadable, {} whose chunk does not wait, {} refused by the broker",
            outcome.redriven, outcome.unreadable, outcome.unwanted, outcome.refused
        ));
    }
    Ok(if outcome.refused == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn purge(app: &App, rabbit: &RabbitQueue, yes: bool) -> anyhow::Result<Exit> {
    if !yes {
        let text = format!(
            "this removes {} messages for good: see them with `tidemark dead list`, and confirm with \
             `tidemark dead purge --yes`",
            dead_messages::count(rabbit).await?
        );
        return Err(UsageError(text).into());
    }
    let db = app.database(0).await?;
    let purged = dead_messages::purge(&db, &app.actor(), rabbit).await?;
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
            let content = message.job.map_or_else(
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
                content,
                output::time(message.since),
                output::time(group.newest_at),
            ]
        })
        .collect();
    output::table(
        &["count", "reason", "queue", "content", "oldest", "newest"],
        &[0],
        rows,
    )
}
