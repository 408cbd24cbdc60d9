//! `tidemark why`.

mod print;

use tidemark_operations::tenants;
use tidemark_operations::why::explain_conversation;
use tidemark_shared::ids::TenantId;

use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant id
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// Id of the conversation in its Chatwoot database (not the number that Chatwoot displays)
    #[arg(value_name = "CONVERSATION_ID", value_parser = clap::value_parser!(i64).range(1..))]
    conversation: i64,
    /// Show all columns, not only those that differ; --json always does
    #[arg(long)]
    all_columns: bool,
    /// Show at most this many chunks, newest first
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1000))]
    limit: i64,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = tenants::load(&db, self.tenant).await?;
        let (sources, settings) = (app.sources()?, &app.settings);
        let answer =
            explain_conversation(&db, sources, settings, &tenant, self.conversation, self.limit).await?;
        if app.json {
            output::json(&answer)?;
        } else {
            print::answer(&answer, self.all_columns)?;
        }
        Ok(Exit::Done)
    }
}
