//! `tidemark tenant move`.

use tidemark_ledger::tenant_move::Move;
use tidemark_operations::tenants;
use tidemark_operations::tenants::relocate::move_to_source;
use tidemark_shared::ids::TenantId;

use super::discovery;
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
    /// Id of the Chatwoot account at that source, whose inboxes are mapped at once [default: none]
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
        if self.account_id.is_some() {
            let tenant = tenants::load(&db, self.tenant).await?;
            discovery::look_up(app, &db, &tenant, "moved").await?;
        }
        if app.json {
            output::json(&moved)?;
            return Ok(Exit::Done);
        }
        output::note(format!(
            "tenant {0} moved from source `{1}` to `{2}`: {3} rows are marked deleted, {4} runs were cancelled, {5} \
             inboxes are unmapped{6}",
            moved.tenant_id,
            moved.from,
            moved.to,
            output::count(moved.rows_marked_deleted),
            moved.cancelled_runs.len(),
            moved.unmapped_inboxes.len(),
            match self.account_id {
                Some(_) => String::new(),
                None => format!(
                    ". Next: tidemark account list --source {1} shows its accounts and inboxes; tidemark tenant set --tenant {0} \
                     --account-id ACCOUNT maps those of one, then tidemark sync --tenant {0}",
                    moved.tenant_id, moved.to
                ),
            }
        ));
        Ok(Exit::Done)
    }
}
