//! `tidemark inbox …`.

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_postgres::report::report;
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::Inbox;
use tidemark_shared::tenant::Tenant;

use crate::app::App;
use crate::exit::{Exit, SetupError};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Give inboxes to a tenant, also those of another tenant
    Map {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Inbox ids, separated by commas
        #[arg(long, required = true, value_delimiter = ',', value_name = "1,2,3")]
        inbox: Vec<i32>,
    },
    /// Take inboxes away from a tenant; its next run marks their rows deleted
    Unmap {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Inbox ids, separated by commas
        #[arg(long, required = true, value_delimiter = ',', value_name = "1,2,3")]
        inbox: Vec<i32>,
    },
    /// List which inboxes are whose
    List {
        /// Only of this tenant
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: Option<TenantId>,
    },
    /// Find the inboxes of the tenant's Chatwoot account, and map those that are nobody's
    Discover {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
        /// Only show them
        #[arg(long)]
        dry_run: bool,
    },
}

/// An inbox found at the source, and whose it is.
#[derive(Debug, Serialize)]
struct Discovered {
    #[serde(flatten)]
    inbox: Inbox,
    tenant_id: Option<TenantId>,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Map { tenant, inbox } => map(app, tenant, inbox).await,
            Self::Unmap { tenant, inbox } => unmap(app, tenant, inbox).await,
            Self::List { tenant } => list(app, tenant).await,
            Self::Discover { tenant, dry_run } => discover(app, tenant, dry_run).await,
        }
    }
}

async fn map(app: &App, tenant: TenantId, mut ids: Vec<i32>) -> anyhow::Result<Exit> {
    ids.sort_unstable();
    ids.dedup();
    let db = app.database(0).await?;
    let tenant = app.tenant(&db, tenant).await?;
    let known = names(app, &tenant, &ids).await;
    let name_of = |id: i32| known.iter().flatten().find(|inbox| inbox.id == id);
    let inboxes: Vec<Inbox> = ids
        .iter()
        .map(|id| {
            name_of(*id).cloned().unwrap_or(Inbox {
                id: *id,
                name: None,
                channel_type: None,
            })
        })
        .collect();
    if known.is_some() {
        // its conversations may outlive an inbox, so this is no error
        for id in ids.iter().filter(|id| name_of(**id).is_none()) {
            output::note(format!("source `{}` has no inbox {id} just now", tenant.source));
        }
    }
    for (inbox, owner) in ledger::inbox::list_owners(&db, &tenant.source, &ids).await? {
        if owner != tenant.id {
            output::note(format!(
                "inbox {inbox} goes from tenant {owner} to tenant {}",
                tenant.id
            ));
        }
    }
    let changed = ledger::inbox::map(&db, &tenant.source, tenant.id, &inboxes).await?;
    output::note(format!(
        "{changed} of {} inboxes newly mapped to tenant {}; next: tidemark sync --tenant {}",
        ids.len(),
        tenant.id,
        tenant.id
    ));
    Ok(Exit::Done)
}

/// What became of inboxes that were to be unmapped.
#[derive(Debug, Serialize)]
struct Unmapped {
    tenant_id: TenantId,
    unmapped: Vec<i32>,
}

async fn unmap(app: &App, tenant: TenantId, ids: Vec<i32>) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let tenant = app.tenant(&db, tenant).await?;
    let unmapped = ledger::inbox::unmap(&db, &tenant.source, tenant.id, &ids).await?;
    for id in ids.iter().filter(|id| !unmapped.contains(id)) {
        output::note(format!("inbox {id} is not tenant {}'s", tenant.id));
    }
    let left = ledger::inbox::list_active(&db, tenant.id, &tenant.source).await?;
    if app.json {
        output::json(&Unmapped {
            tenant_id: tenant.id,
            unmapped: unmapped.clone(),
        })?;
    }
    output::note(match (unmapped.is_empty(), left.is_empty()) {
        (true, _) => "nothing was unmapped".to_owned(),
        (false, false) => format!(
            "{} inboxes unmapped; next: tidemark sync --tenant {}, which marks their rows deleted",
            unmapped.len(),
            tenant.id
        ),
        (false, true) => format!(
            "{} inboxes unmapped; tenant {} has none left: nothing is planned for it, and its rows stay as they are",
            unmapped.len(),
            tenant.id
        ),
    });
    Ok(Exit::Done)
}

/// The inboxes as the source knows them; `None` when the source is not configured here or does not answer, since
/// mapping needs ids only.
async fn names(app: &App, tenant: &Tenant, ids: &[i32]) -> Option<Vec<Inbox>> {
    let sources = app.sources().ok()?;
    let source = sources.get(&tenant.source).ok()?;
    match source.inboxes(None, Some(ids)).await {
        Ok(inboxes) => Some(inboxes),
        Err(error) => {
            output::note(format!("inboxes mapped without their names: {}", report(&error)));
            None
        }
    }
}

async fn list(app: &App, tenant: Option<TenantId>) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    if let Some(tenant) = tenant {
        app.tenant(&db, tenant).await?;
    }
    let inboxes = ledger::inbox::list(&db, tenant).await?;
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
        ],
        &[0, 2],
        rows,
    )?;
    Ok(Exit::Done)
}

async fn discover(app: &App, tenant: TenantId, dry_run: bool) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let tenant = app.tenant(&db, tenant).await?;
    let Some(account) = tenant.account_id else {
        let text = format!(
            "tenant {} has no account id: map its inboxes with `tidemark inbox map --tenant {} --inbox …`",
            tenant.id, tenant.id
        );
        return Err(SetupError(text).into());
    };
    let sources = app.sources()?;
    let found = sources.get(&tenant.source)?.inboxes(Some(account), None).await?;
    let ids: Vec<i32> = found.iter().map(|inbox| inbox.id).collect();
    let owners = ledger::inbox::list_owners(&db, &tenant.source, &ids).await?;
    let owner = |id: i32| {
        owners
            .iter()
            .find(|(inbox, _)| *inbox == id)
            .map(|(_, tenant)| *tenant)
    };
    let free: Vec<Inbox> = found
        .iter()
        .filter(|inbox| owner(inbox.id).is_none())
        .cloned()
        .collect();
    if !dry_run {
        ledger::inbox::map(&db, &tenant.source, tenant.id, &free).await?;
    }
    let discovered: Vec<Discovered> = found
        .into_iter()
        .map(|inbox| {
            let tenant_id = owner(inbox.id).or((!dry_run).then_some(tenant.id));
            Discovered { inbox, tenant_id }
        })
        .collect();
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
    output::note(format!("{} inboxes {verb} to tenant {}", free.len(), tenant.id));
    Ok(Exit::Done)
}
