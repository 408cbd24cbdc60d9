//! `tidemark inbox …`.

use tidemark_operations::{inboxes, tenants};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;

use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Map inboxes to a tenant
    Map {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Inbox ids, separated by commas
        #[arg(long, required = true, value_delimiter = ',', value_name = "1,2,3")]
        inbox: Vec<i32>,
        /// Take inboxes that this tenant has now; its next run marks their rows deleted
        #[arg(long, value_name = "N")]
        from_tenant: Option<TenantId>,
    },
    /// Unmap inboxes from a tenant; its next run marks their rows deleted, and no plan maps them again
    Unmap {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Inbox ids, separated by commas
        #[arg(long, required = true, value_delimiter = ',', value_name = "1,2,3")]
        inbox: Vec<i32>,
    },
    /// List inboxes and their tenants
    List {
        /// Only inboxes of this tenant
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: Option<TenantId>,
    },
    /// Find the inboxes of the tenant's Chatwoot account, and map those that no tenant has
    Discover {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Show the inboxes, map none
        #[arg(long)]
        dry_run: bool,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::Map {
                tenant,
                inbox,
                from_tenant,
            } => map(app, &db, &tenants::load(&db, tenant).await?, inbox, from_tenant).await,
            Self::Unmap { tenant, inbox } => {
                unmap(app, &db, &tenants::load(&db, tenant).await?, &inbox).await
            }
            Self::List { tenant } => list(app, &db, tenant).await,
            Self::Discover { tenant, dry_run } => {
                discover(app, &db, &tenants::load(&db, tenant).await?, dry_run).await
            }
        }
    }
}

async fn map(
    app: &App,
    db: &DbPool,
    tenant: &Tenant,
    ids: Vec<i32>,
    from: Option<TenantId>,
) -> anyhow::Result<Exit> {
    let sources = app.sources().ok();
    let mapped = inboxes::map(db, &app.actor(), sources.as_deref(), tenant, ids, from).await?;
    if let Some(error) = &mapped.nameless {
        output::note(format!("inboxes mapped without their names: {error}"));
    }
    for id in &mapped.unknown {
        output::note(format!("source `{}` has no inbox {id} at present", tenant.source));
    }
    for (inbox, owner) in &mapped.previous_owners {
        output::note(format!(
            "inbox {inbox} moved from tenant {owner} to tenant {}",
            tenant.id
        ));
    }
    output::note(format!(
        "{} of {} inboxes newly mapped to tenant {}; next: tidemark sync --tenant {}",
        mapped.changed, mapped.requested, tenant.id, tenant.id
    ));
    Ok(Exit::Done)
}

async fn unmap(app: &App, db: &DbPool, tenant: &Tenant, ids: &[i32]) -> anyhow::Result<Exit> {
    let outcome = inboxes::unmap(db, &app.actor(), tenant, ids).await?;
    let unmapped = &outcome.unmapped;
    for id in ids.iter().filter(|id| !unmapped.contains(id)) {
        output::note(format!("inbox {id} is not mapped to tenant {}", tenant.id));
    }
    if app.json {
        output::json(&outcome)?;
    }
    output::note(match (unmapped.is_empty(), outcome.has_others) {
        (true, _) => "nothing was unmapped".to_owned(),
        (false, true) => format!(
            "{} inboxes unmapped; next: tidemark sync --tenant {}, which marks their rows deleted",
            unmapped.len(),
            tenant.id
        ),
        (false, false) => format!(
            "{} inboxes unmapped; tenant {} has none left, so no run is planned for it and its rows stay as they are",
            unmapped.len(),
            tenant.id
        ),
    });
    Ok(Exit::Done)
}

async fn list(app: &App, db: &DbPool, tenant: Option<TenantId>) -> anyhow::Result<Exit> {
    if let Some(tenant) = tenant {
        tenants::load(db, tenant).await?;
    }
    let inboxes = tidemark_ledger::inbox::list(db, tenant).await?;
    if app.json {
        output::json(&inboxes)?;
        return Ok(Exit::Done);
    }
    let rows = inboxes
        .into_iter()
        .map(|inbox| {
            vec![
                inbox.tenant_id.to_string(),
                inbox.source,
                inbox.inbox_id.to_string(),
                inbox.inbox_name.unwrap_or_else(|| "-".to_owned()),
                inbox.channel_type.unwrap_or_else(|| "-".to_owned()),
                if inbox.is_active { "yes" } else { "no" }.to_owned(),
                output::time(inbox.backfilled_at),
                output::time(inbox.gone_at),
            ]
        })
        .collect();
    output::table(
        &[
            "tenant",
            "source",
            "inbox",
            "name",
            "channel",
            "active",
            "backfilled",
            "gone",
        ],
        &[0, 2],
        rows,
    )?;
    Ok(Exit::Done)
}

async fn discover(app: &App, db: &DbPool, tenant: &Tenant, dry_run: bool) -> anyhow::Result<Exit> {
    let sources = app.sources()?;
    let (discovered, free) = inboxes::discover(db, &app.actor(), &sources, tenant, dry_run).await?;
    if app.json {
        output::json(&discovered)?;
        return Ok(Exit::Done);
    }
    let rows = discovered
        .into_iter()
        .map(|found| {
            vec![
                found.inbox.id.to_string(),
                found.inbox.name.unwrap_or_else(|| "-".to_owned()),
                found.inbox.channel_type.unwrap_or_else(|| "-".to_owned()),
                found
                    .tenant_id
                    .map_or_else(|| "-".to_owned(), |tenant| tenant.to_string()),
            ]
        })
        .collect();
    output::table(&["inbox", "name", "channel", "tenant"], &[0, 3], rows)?;
    let verb = if dry_run {
        "would be mapped"
    } else {
        "newly mapped"
    };
    output::note(format!("{} inboxes {verb} to tenant {}", free, tenant.id));
    Ok(Exit::Done)
}
