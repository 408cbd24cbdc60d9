//! `tidemark tenant move`.

use tidemark_ledger::tenant_move::Move;
use tidemark_operations::tenants::relocate::move_to_source;
use tidemark_shared::ids::TenantId;

use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant id
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// Name of the configured source to move to
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Id of the Chatwoot account at that source, for `inbox discover` [default: none]
    #[arg(long, value_name = "N")]
    account_id: Option<i32>,
    /// Reason, stored in the ledger
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        app.sources()?.get(&self.source)?;
        let db = app.database(0).await?;
        let to = Move {
            source: &self.source,
            account_id: self.account_id,
            actor: &app.actor(),
            reason: self.reason.trim(),
        };
        let moved = move_to_source(&db, self.tenant, to).await?;
        if app.json {
            output::json(&moved)?;
            return Ok(Exit::Done);
        }
        output::note(format!(
            "tenant {0} moved from source `{1}` to `{2}`: {3} rows are marked deleted, {4} runs were cancelled, {5} \
             inboxes are unmapped. Next: tidemark inbox map --tenant {0} --inbox 1,2,3 with inboxes of `{2}`, then \
             tidemark sync --tenant {0}",
            moved.tenant_id,
            moved.from,
            moved.to,
            output::count(moved.rows_marked_deleted),
            moved.cancelled_runs.len(),
            moved.unmapped_inboxes.len()
        ));
        Ok(Exit::Done)
    }
}
