//! `tidemark account …`.

use tidemark_operations::accounts;
use tidemark_operations::accounts::{AccountInboxView, AccountView};

use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the accounts of a source with their inboxes, conversations, newest activity and tenants
    List {
        /// Only this source [default: all]
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let Self::List { source } = self;
        let db = app.database(0).await?;
        let sources = app.sources()?;
        let listed = accounts::list(&db, &sources, source.as_deref()).await?;
        if app.json {
            output::json(&listed)?;
            return Ok(Exit::Done);
        }
        let header = [
            "source",
            "account",
            "name",
            "inboxes",
            "conversations",
            "newest",
            "tenants",
            "unmapped inboxes",
        ];
        output::table(&header, &[1, 3, 4], listed.iter().map(row).collect())?;
        if let Some(free) = listed.iter().find(|account| account.tenants.is_empty())
            && let Some(id) = free.account_id
        {
            output::note(format!(
                "an account without a tenant is not synced; for example: tidemark tenant add --id N --name TEXT --source {} \
                 --account-id {id}",
                free.source
            ));
        }
        Ok(Exit::Done)
    }
}

fn row(account: &AccountView) -> Vec<String> {
    let unmapped = account
        .inboxes
        .iter()
        .filter(|inbox| inbox.tenant_id.is_none())
        .map(named);
    vec![
        account.source.clone(),
        account
            .account_id
            .map_or_else(|| "-".to_owned(), |id| id.to_string()),
        account.name.clone().unwrap_or_else(|| "-".to_owned()),
        account.inboxes.len().to_string(),
        output::count(account.conversations),
        output::time(account.newest_activity_at),
        or_none(account.tenants.iter().map(ToString::to_string)),
        or_none(unmapped),
    ]
}

fn named(inbox: &AccountInboxView) -> String {
    match &inbox.name {
        Some(name) => format!("{} {name}", inbox.inbox_id),
        None => inbox.inbox_id.to_string(),
    }
}

fn or_none(texts: impl Iterator<Item = String>) -> String {
    let joined = texts.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "-".to_owned() } else { joined }
}
