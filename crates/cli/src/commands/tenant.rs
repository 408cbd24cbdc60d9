//! `tidemark tenant …`.

mod forget;
mod hold;
mod moves;
mod set;

use std::time::Duration;

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::tenant::NewTenant;
use tidemark_ledger::watermark::Watermark;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::privacy::{PrivacyChange, PrivacyPolicy};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};

use super::bounds;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a tenant
    Add(AddArgs),
    /// List the tenants
    List,
    /// Show one tenant
    Show {
        /// Tenant's id
        #[arg(long = "tenant", alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
    },
    /// Change a tenant; what is not named stays
    Set(set::Args),
    /// Give a tenant another source; its rows are marked deleted
    Move(moves::Args),
    /// Plan and dispatch nothing more for a tenant, until it is resumed
    Pause {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Why, for whoever finds it paused
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let a paused tenant go on where it stood
    Resume {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
    },
    /// Remove a person's conversations and texts, and keep them out
    Forget(forget::Args),
    /// Take a tenant out of everything; its rows stay
    Remove {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Needed: its id cannot be used again
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Id, a positive number of your choice
    #[arg(long, value_name = "N")]
    id: TenantId,
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Short name for URLs [default: made from the name]
    #[arg(long, value_name = "S")]
    slug: Option<String>,
    /// Configured source that the tenant's inboxes are in
    #[arg(long, default_value = "main", value_name = "NAME")]
    source: String,
    /// Chatwoot account, for `inbox discover`
    #[arg(long, value_name = "N")]
    account_id: Option<i32>,
    /// IANA time zone of the calendar columns, such as America/Sao_Paulo
    #[arg(long, default_value = "UTC", value_name = "TEXT")]
    timezone: String,
    /// Conversations a chunk [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(i64::from(CHUNK_SIZE_MIN)..=i64::from(CHUNK_SIZE_MAX)))]
    chunk_size: Option<i32>,
    /// Chunks queued or running at once [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    max_in_flight: Option<i32>,
    /// Pause between two syncs, such as 30s or 5m [default: 5m]
    #[arg(long, value_name = "DUR", value_parser = bounds::interval)]
    sync_interval: Option<Duration>,
    /// What of personal data is stored, such as contact_email=hash,message_text=null [default: all=keep]
    #[arg(long, value_name = "COLUMN=TREATMENT,…")]
    privacy: Option<PrivacyChange>,
    /// Pause between two comparisons with the source, such as 24h, or `off` [default: off]
    #[arg(long, value_name = "DUR", value_parser = verify_interval)]
    verify_interval: Option<Off>,
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

/// A tenant with how far it is.
#[derive(Debug, Serialize)]
struct TenantView {
    #[serde(flatten)]
    tenant: Tenant,
    inboxes: Vec<i32>,
    watermark: Option<chrono::DateTime<chrono::Utc>>,
    next_due_at: chrono::DateTime<chrono::Utc>,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Add(args) => args.run(app).await,
            Self::List => list(app).await,
            Self::Show { tenant } => show(app, tenant).await,
            Self::Set(args) => args.run(app).await,
            Self::Move(args) => args.run(app).await,
            Self::Forget(args) => args.run(app).await,
            Self::Pause { tenant, reason } => hold::pause(app, tenant, &reason).await,
            Self::Resume { tenant } => hold::resume(app, tenant).await,
            Self::Remove { tenant, yes } => hold::remove(app, tenant, yes).await,
        }
    }
}

impl AddArgs {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if self.id.0 < 1 {
            return Err(UsageError(format!("a tenant's id is a positive number, not {}", self.id)).into());
        }
        check(Some(&self.name))?;
        let db = app.database(0).await?;
        check_timezone(&db, &self.timezone).await?;
        let tenant = NewTenant {
            id: self.id,
            slug: self.slug.unwrap_or_else(|| slug(&self.name, self.id)),
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
        };
        note_missing_key(app, &tenant.privacy);
        if ledger::tenant::was_removed(&db, tenant.id).await? {
            let text = format!(
                "id {} was that of a tenant that is removed, whose rows are still there: choose another",
                tenant.id
            );
            return Err(UsageError(text).into());
        }
        ledger::tenant::insert(&db, &tenant)
            .await
            .map_err(|error| taken(&error, tenant.id, &tenant.slug).unwrap_or(error.into()))?;
        if app.json {
            return show(app, tenant.id).await;
        }
        output::note(format!(
            "tenant {} added; next: tidemark inbox map --tenant {} --inbox 1,2,3",
            tenant.id, tenant.id
        ));
        Ok(Exit::Done)
    }
}

/// What to say when the id or the slug is taken.
fn taken(error: &DbError, id: TenantId, slug: &str) -> Option<anyhow::Error> {
    let text = match error.source.as_database_error()?.constraint()? {
        "tenants_pkey" => format!("there is a tenant {id} already"),
        "tenants_slug_key" => format!("slug `{slug}` is taken: choose another with --slug"),
        _ => return None,
    };
    Some(UsageError(text).into())
}

/// Workers have the key, and this process need not: but none is an early sign of a run that fails.
fn note_missing_key(app: &App, policy: &PrivacyPolicy) {
    if policy.needs_key() && app.settings.privacy_key.is_none() {
        output::note("hashing needs TIDEMARK_PRIVACY_KEY for every worker, and it is not set here");
    }
}

/// Refuses what no tenant can have.
fn check(name: Option<&str>) -> Result<(), UsageError> {
    if name.is_some_and(|name| name.trim().is_empty()) {
        return Err(UsageError("a tenant needs a name".to_owned()));
    }
    Ok(())
}

/// The transform and the live view must both know it.
async fn check_timezone(db: &DbPool, name: &str) -> anyhow::Result<()> {
    if name.parse::<chrono_tz::Tz>().is_err() || !ledger::tenant::timezone_exists(db, name).await? {
        let text = format!("`{name}` is no IANA time zone: write one such as America/Sao_Paulo");
        return Err(UsageError(text).into());
    }
    Ok(())
}

/// Letters and digits of the name in lower case, words joined by `-`.
pub fn slug(name: &str, id: TenantId) -> String {
    let mut slug = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        format!("tenant-{id}")
    } else {
        slug.to_owned()
    }
}

async fn views(db: &DbPool) -> anyhow::Result<Vec<TenantView>> {
    let inboxes = ledger::inbox::list(db, None).await?;
    let watermarks = ledger::watermark::list(db, None).await?;
    let view = |tenant: Tenant| {
        let mine = inboxes
            .iter()
            .filter(|inbox| inbox.tenant_id == tenant.id && inbox.is_active);
        let at: Option<&Watermark> = watermarks
            .iter()
            .find(|watermark| watermark.tenant_id == tenant.id);
        TenantView {
            inboxes: mine.map(|inbox| inbox.inbox_id).collect(),
            watermark: at.and_then(|at| at.watermark),
            next_due_at: at.map(|at| at.next_due_at).unwrap_or_default(),
            tenant,
        }
    };
    Ok(ledger::tenant::list(db).await?.into_iter().map(view).collect())
}

async fn list(app: &App) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let views = views(&db).await?;
    if app.json {
        output::json(&views)?;
        return Ok(Exit::Done);
    }
    let rows = views
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
    app.tenant(&db, id).await?;
    let view = views(&db).await?.into_iter().find(|view| view.tenant.id == id);
    let Some(view) = view else {
        return Err(UsageError(format!("there is no tenant {id}")).into());
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_of_ascii_words() {
        assert_eq!(slug("Ação & Reação Ltda.", TenantId(1)), "a-o-rea-o-ltda");
        assert_eq!(slug("日本", TenantId(7)), "tenant-7");
    }
}
