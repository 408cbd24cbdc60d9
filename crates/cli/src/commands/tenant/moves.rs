//! `tidemark tenant move`.

use tidemark_ledger as ledger;
use tidemark_ledger::tenant_move::{Move, MoveAnswer};
use tidemark_shared::ids::TenantId;

use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant's id
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// Configured source that the tenant moves to
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Chatwoot account at that source, for `inbox discover` [default: none]
    #[arg(long, value_name = "N")]
    account_id: Option<i32>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if self.reason.trim().is_empty() {
            return Err(UsageError("moving a tenant needs a reason".to_owned()).into());
        }
        app.sources()?.get(&self.source)?;
        let db = app.database(0).await?;
        let tenant = app.tenant(&db, self.tenant).await?;
        let to = Move {
            source: &self.source,
            account_id: self.account_id,
            actor: &app.actor(),
            reason: self.reason.trim(),
        };
        let text = match ledger::tenant_move::move_tenant(&db, tenant.id, to).await? {
            MoveAnswer::Moved(moved) if app.json => {
                output::json(&moved)?;
                return Ok(Exit::Done);
            }
            MoveAnswer::Moved(moved) => {
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
                return Ok(Exit::Done);
            }
            MoveAnswer::SameSource => {
                format!("tenant {} has source `{}` already", tenant.id, self.source)
            }
            MoveAnswer::Forgotten(contacts) => format!(
                "tenant {} has {contacts} forgotten contacts of source `{}`, whose ids are other people's at `{}`: add a tenant \
                 for the new source (tidemark tenant add --source {2}), forget them there by their new ids \
                 (tidemark tenant forget), and then remove this one (tidemark tenant remove)",
                tenant.id, tenant.source, self.source
            ),
            MoveAnswer::Unknown => format!("tenant {} was removed just now", tenant.id),
        };
        Err(UsageError(text).into())
    }
}
