//! `tidemark run list`.

use tidemark_ledger::run::RunFilter;
use tidemark_operations::{lists, tenants};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunStatus, RunType};
use tidemark_shared::since::Since;

use super::print::table;
use crate::app::App;
use crate::commands::one_of;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only runs of this tenant
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: Option<TenantId>,
    /// Only runs with one of these statuses, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "STATUS", value_parser = one_of(&RunStatus::ALL, RunStatus::as_str))]
    status: Vec<RunStatus>,
    /// Only runs of these types, separated by commas
    #[arg(long = "type", value_delimiter = ',', value_name = "TYPE", value_parser = one_of(&RunType::ALL, RunType::as_str))]
    types: Vec<RunType>,
    /// Only runs requested since this time (RFC 3339) or age (2h, 7days)
    #[arg(long, value_name = "TIME|AGE")]
    since: Option<Since>,
    /// Only runs before this one: the next part of a longer list
    #[arg(long, value_name = "RUN_ID")]
    before: Option<RunId>,
    /// Show at most this many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

impl Args {
    pub async fn run(self, app: &App, db: &DbPool) -> anyhow::Result<Exit> {
        if let Some(tenant) = self.tenant {
            tenants::load(db, tenant).await?;
        }
        let filter = RunFilter {
            tenant: self.tenant,
            types: self.types,
            statuses: self.status,
            since: self.since,
        };
        let page = lists::runs(db, &filter, self.before, self.limit).await?;
        if app.json {
            output::json(&page.items)?;
        } else {
            table(&page.items)?;
        }
        output::note_next(page.items.len(), page.next, "runs", "--before");
        Ok(Exit::Done)
    }
}
