//! `tidemark tenant …`.

mod discovery;
mod forget;
mod lifecycle;
mod login;
mod relocate;
mod set;

use std::time::Duration;

use tidemark_ledger::tenant::NewTenant;
use tidemark_operations::tenants;
use tidemark_shared::ids::TenantId;
use tidemark_shared::privacy::{PrivacyChange, PrivacyPolicy};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, MAX_IN_FLIGHT_MAX, Tenant};

use super::bounds;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a tenant
    Add(AddArgs),
    /// List tenants
    List {
        /// Only tenants behind this one: the next part of a longer list
        #[arg(long, value_name = "N")]
        after: Option<TenantId>,
        /// Show at most this many [default: all]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
        limit: Option<i64>,
    },
    /// Show one tenant
    Show {
        /// Tenant id
        #[arg(long = "tenant", alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
    },
    /// Change settings of a tenant
    Set(set::Args),
    /// Move a tenant to another source; its rows are marked deleted
    Move(relocate::Args),
    /// Pause a tenant: plan and dispatch nothing for it until it is resumed
    Pause {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Reason, shown while the tenant is paused
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Resume a paused tenant
    Resume {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
    },
    /// Database logins that see one tenant
    #[command(subcommand)]
    Login(login::Command),
    /// Remove a contact's conversations and texts, and keep them out
    Forget(forget::Args),
    /// Remove a tenant for good; its rows stay
    Remove {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Confirm: the id cannot be used again
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Id of your choice, a positive number
    #[arg(long, value_name = "N")]
    id: TenantId,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Short name for URLs [default: made from the name]
    #[arg(long, value_name = "S")]
    slug: Option<String>,
    /// Name of the configured source with the tenant's inboxes
    #[arg(long, default_value = "main", value_name = "NAME")]
    source: String,
    /// Id of the Chatwoot account; its inboxes are mapped at once, and new ones by the plans
    #[arg(long, value_name = "N")]
    account_id: Option<i32>,
    /// Whether the inboxes of the account are mapped without a command
    #[arg(long, action = clap::ArgAction::Set, default_value = "on", value_name = "on|off", value_parser = switch)]
    discover: bool,
    /// IANA time zone of the calendar columns, such as America/Sao_Paulo
    #[arg(long, default_value = "UTC", value_name = "TEXT")]
    timezone: String,
    /// Conversations per chunk [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Most chunks queued or running at once [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=i64::from(MAX_IN_FLIGHT_MAX)))]
    max_in_flight: Option<i32>,
    /// Time between two syncs, such as 30s or 5m [default: 5m]
    #[arg(long, value_name = "DUR", value_parser = bounds::interval)]
    sync_interval: Option<Duration>,
    /// Treatment of personal data, such as contact_email=hash,message_text=null [default: all=keep]
    #[arg(long, value_name = "COLUMN=TREATMENT,…")]
    privacy: Option<PrivacyChange>,
    /// Time between two comparisons with the source, such as 24h, or `off` [default: off]
    #[arg(long, value_name = "DUR", value_parser = verify_interval)]
    verify_interval: Option<Off>,
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write `on` or `off`".to_owned()),
    }
}

/// A duration, or `off`.
#[derive(Debug, Clone, Copy)]
struct Off(Option<Duration>);

fn verify_interval(text: &str) -> Result<Off, String> {
    if text == "off" {
        return Ok(Off(None));
    }
    bounds::interval(text)
        .map(|interval| Off(Some(interval)))
        .map_err(|error| format!("{error}, or `off`"))
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Add(args) => args.run(app).await,
            Self::List { after, limit } => list(app, after, limit.unwrap_or(i64::MAX)).await,
            Self::Show { tenant } => show(app, tenant).await,
            Self::Set(args) => args.run(app).await,
            Self::Move(args) => args.run(app).await,
            Self::Login(command) => command.run(app).await,
            Self::Forget(args) => args.run(app).await,
            Self::Pause { tenant, reason } => lifecycle::pause(app, tenant, &reason).await,
            Self::Resume { tenant } => lifecycle::resume(app, tenant).await,
            Self::Remove { tenant, yes } => lifecycle::remove(app, tenant, yes).await,
        }
    }
}

impl AddArgs {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = NewTenant {
            id: self.id,
            slug: self.slug.unwrap_or_else(|| tenants::slug(&self.name, self.id)),
            name: self.name,
            source: self.source,
            account_id: self.account_id,
            timezone: self.timezone,
            chunk_size: self.chunk_size,
            max_in_flight: self.max_in_flight,
            sync_interval: self.sync_interval,
            privacy: self
                .privacy
                .map(|change| PrivacyPolicy::default().with(&change))
                .unwrap_or_default(),
            verify_interval: self.verify_interval.and_then(|Off(interval)| interval),
            discover: self.discover,
        };
        note_missing_key(app, &tenant.privacy);
        tenants::add::add(&db, &app.actor(), &tenant).await?;
        let added = tenants::load(&db, tenant.id).await?;
        match added.account_id {
            Some(_) => discovery::look_up(app, &db, &added, "added").await?,
            None => output::note(format!(
                "tenant {0} added; next: tidemark account list --source {1} shows the accounts, and tidemark tenant set --tenant {0} \
                 --account-id ACCOUNT maps the inboxes of one; for single inboxes: tidemark inbox map --tenant {0} --inbox IDS",
                added.id, added.source
            )),
        }
        if app.json {
            return show(app, tenant.id).await;
        }
        Ok(Exit::Done)
    }
}

/// Only workers need the key, but where it is missing here too, runs will probably fail.
fn note_missing_key(app: &App, policy: &PrivacyPolicy) {
    if policy.needs_key() && app.settings.privacy_key.is_none() {
        output::note("hashing needs TIDEMARK_PRIVACY_KEY on every worker, and it is not set here");
    }
}

async fn list(app: &App, after: Option<TenantId>, limit: i64) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let page = tenants::list_views(&db, after, limit).await?;
    output::note_next(page.items.len(), page.next, "tenants", "--after");
    if app.json {
        output::json(&page.items)?;
        return Ok(Exit::Done);
    }
    let rows = page
        .items
        .iter()
        .map(|view| {
            vec![
                view.tenant.id.to_string(),
                view.tenant.name.clone(),
                view.tenant.source.clone(),
                view.inboxes.len().to_string(),
                view.tenant.timezone.clone(),
                humantime::format_duration(view.tenant.sync_interval).to_string(),
                output::time(view.watermark),
            ]
        })
        .collect();
    output::table(
        &[
            "id",
            "name",
            "source",
            "inboxes",
            "time zone",
            "every",
            "watermark",
        ],
        &[0, 3],
        rows,
    )?;
    Ok(Exit::Done)
}

async fn show(app: &App, id: TenantId) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let view = tenants::load_view(&db, id).await?;
    if app.json {
        output::json(&view)?;
        return Ok(Exit::Done);
    }
    let tenant = &view.tenant;
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let rows = [
        ("id", tenant.id.to_string()),
        ("name", tenant.name.clone()),
        ("slug", tenant.slug.clone()),
        ("status", format!("{:?}", tenant.status).to_lowercase()),
        ("source", tenant.source.clone()),
        ("account", text(tenant.account_id.map(|id| id.to_string()))),
        (
            "new inboxes",
            match (tenant.account_id, tenant.discover) {
                (Some(_), true) => "mapped by the next plan",
                (Some(_), false) => "left, --discover is off",
                (None, _) => "-",
            }
            .to_owned(),
        ),
        (
            "inboxes",
            view.inboxes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("time zone", tenant.timezone.clone()),
        (
            "sync every",
            humantime::format_duration(tenant.sync_interval).to_string(),
        ),
        (
            "verify every",
            tenant.verify_interval.map_or_else(
                || "-".to_owned(),
                |interval| humantime::format_duration(interval).to_string(),
            ),
        ),
        (
            "lookback",
            humantime::format_duration(tenant.lookback).to_string(),
        ),
        ("chunk size", tenant.chunk_size.to_string()),
        ("in flight", format!("at most {}", tenant.max_in_flight)),
        ("watermark", output::time(view.watermark)),
        ("next sync", output::time(Some(view.next_due_at))),
        ("personal data", tenant.privacy.to_string()),
        ("paused", paused(tenant)),
    ];
    let rows = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    output::table(&["tenant", ""], &[], rows)?;
    Ok(Exit::Done)
}

fn paused(tenant: &Tenant) -> String {
    match (tenant.paused_at, &tenant.pause_reason) {
        (None, _) => "no".to_owned(),
        (since, Some(reason)) => format!("since {}: {reason}", output::time(since)),
        (since, None) => format!("since {}", output::time(since)),
    }
}
