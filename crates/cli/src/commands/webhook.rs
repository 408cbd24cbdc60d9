//! `tidemark webhook …`.

use secrecy::ExposeSecret;
use serde::Serialize;
use tidemark_ledger::webhook::{NewWebhook, WebhookMessage};
use tidemark_operations::webhooks::{self, WebhookView};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::webhook::{WebhookEvent, WebhookFormat};

use super::one_of;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Report events to an address; finalizers deliver them
    Add(AddArgs),
    /// List webhooks with the state of their messages
    List,
    /// Show one webhook and its newest messages
    Show {
        /// Webhook, from `webhook list`
        id: i32,
        /// Only messages before this one: the next part of a longer list
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        /// Show at most this many messages
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Remove a webhook with its messages, also those that wait
    Remove {
        /// Webhook, from `webhook list`
        id: i32,
    },
    /// Send messages once more that were given up
    Retry {
        /// Webhook, from `webhook list`
        id: i32,
        /// Only this message, from `webhook show` [default: all that are dead]
        #[arg(long, value_name = "ID")]
        message: Option<i64>,
    },
    /// Send a message that only tries the webhook, and wait for the answer
    Test {
        /// Webhook, from `webhook list`
        id: i32,
    },
}

#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Address of the receiver: https, or http on this machine
    #[arg(long, value_name = "URL")]
    url: String,
    /// Events to report, separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "EVENT", value_parser = one_of(WebhookEvent::ALL, WebhookEvent::as_str))]
    event: Vec<WebhookEvent>,
    /// Only events of this tenant [default: of all tenants, and of the sources]
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: Option<TenantId>,
    /// Signed JSON, or a text for Slack
    #[arg(long, default_value = "json", value_name = "FORMAT", value_parser = one_of(&WebhookFormat::ALL, WebhookFormat::as_str))]
    format: WebhookFormat,
}

#[derive(Debug, Serialize)]
struct Added<'a> {
    #[serde(flatten)]
    webhook: &'a WebhookView,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    webhook: WebhookView,
    messages: Vec<WebhookMessage>,
    next: Option<i64>,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::Add(args) => args.run(app, &db).await,
            Self::List => list(app, &db).await,
            Self::Show { id, before, limit } => show(app, &db, id, before, limit).await,
            Self::Remove { id } => {
                webhooks::remove(&db, &app.actor(), id).await?;
                output::note(format!("webhook {id} is removed, with its messages"));
                Ok(Exit::Done)
            }
            Self::Retry { id, message } => {
                let due = webhooks::retry(&db, &app.actor(), id, message).await?;
                output::note(format!("{due} messages of webhook {id} are sent once more"));
                show(app, &db, id, None, 20).await
            }
            Self::Test { id } => test(app, &db, id).await,
        }
    }
}

impl AddArgs {
    async fn run(self, app: &App, db: &DbPool) -> anyhow::Result<Exit> {
        let new = NewWebhook {
            url: self.url,
            events: self.event,
            tenant: self.tenant,
            format: self.format,
        };
        let key = app.settings.webhook_key.as_ref();
        let added = webhooks::add(db, &app.actor(), key, &new).await?;
        let secret = added.secret.as_ref().map(ExposeSecret::expose_secret);
        let webhook = &added.webhook;
        if app.json {
            output::json(&Added { webhook, secret })?;
            return Ok(Exit::Done);
        }
        output::note(format!(
            "webhook {0} reports {1} to {2}; next: tidemark webhook test {0}",
            webhook.id,
            webhook.events.join(", "),
            webhook.host
        ));
        if let Some(secret) = secret {
            output::note("the receiver checks signatures with this secret, which is not shown again:");
            output::line(secret)?;
        }
        Ok(Exit::Done)
    }
}

async fn list(app: &App, db: &DbPool) -> anyhow::Result<Exit> {
    let found = webhooks::list(db).await?;
    if app.json {
        output::json(&found)?;
    } else {
        table(&found)?;
    }
    Ok(Exit::Done)
}

fn table(webhooks: &[WebhookView]) -> anyhow::Result<()> {
    let rows = webhooks
        .iter()
        .map(|webhook| {
            vec![
                webhook.id.to_string(),
                webhook.host.clone(),
                webhook.events.join(", "),
                webhook
                    .tenant_id
                    .map_or_else(|| "all".to_owned(), |tenant| tenant.to_string()),
                webhook.format.clone(),
                output::count(webhook.waiting),
                output::count(webhook.delivered),
                output::count(webhook.dead),
                output::time(webhook.delivered_at),
                webhook.error.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let header = [
        "webhook",
        "host",
        "events",
        "tenant",
        "format",
        "waiting",
        "delivered",
        "dead",
        "last",
        "error",
    ];
    output::table(&header, &[0, 5, 6, 7], rows)
}

async fn show(app: &App, db: &DbPool, id: i32, before: Option<i64>, limit: i64) -> anyhow::Result<Exit> {
    let webhook = webhooks::load(db, id).await?;
    let page = webhooks::list_messages(db, id, before, limit).await?;
    if app.json {
        output::json(&Shown {
            webhook,
            messages: page.items,
            next: page.next,
        })?;
        return Ok(Exit::Done);
    }
    table(&[webhook])?;
    output::line("")?;
    let rows = page.items.iter().map(row).collect();
    let header = [
        "message", "event", "tenant", "written", "state", "attempts", "next", "answer", "error",
    ];
    output::table(&header, &[0, 2, 5, 7], rows)?;
    output::note_next(page.items.len(), page.next, "messages", "--before");
    Ok(Exit::Done)
}

fn row(message: &WebhookMessage) -> Vec<String> {
    let none = || "-".to_owned();
    let state = match (message.delivered_at, message.dead_at) {
        (Some(_), _) => "delivered",
        (_, Some(_)) => "dead",
        _ => "waiting",
    };
    vec![
        message.id.to_string(),
        message.event.clone(),
        message.tenant_id.map_or_else(none, |tenant| tenant.to_string()),
        output::time(Some(message.created_at)),
        state.to_owned(),
        message.attempt.to_string(),
        output::time(message.due_at),
        message.status_code.map_or_else(none, |status| status.to_string()),
        message.error.clone().unwrap_or_else(none),
    ]
}

async fn test(app: &App, db: &DbPool, id: i32) -> anyhow::Result<Exit> {
    let message = webhooks::begin_test(db, &app.actor(), id).await?;
    let tried = webhooks::wait_for_test(db, message).await?;
    if app.json {
        output::json(&tried)?;
    } else if let Some(error) = &tried.error {
        output::note(format!("webhook {id} was not reached: {error}"));
    } else {
        output::note(format!("webhook {id} took the message"));
    }
    Ok(match tried.delivered_at {
        Some(_) => Exit::Done,
        None => Exit::Failed,
    })
}
