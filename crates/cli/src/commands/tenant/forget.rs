//! `tidemark tenant forget`.

use tidemark_ledger::privacy::ContactRows;
use tidemark_operations::tenants;
use tidemark_operations::tenants::forget::{count_rows, forget_contact};
use tidemark_shared::ids::TenantId;

use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant id
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// Id of the contact at the source
    #[arg(long, value_name = "ID")]
    contact: i64,
    /// Reason, stored in the ledger; do not name the person
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Confirm: removed data does not come back
    #[arg(long)]
    yes: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = tenants::load(&db, self.tenant).await?;
        if !self.yes {
            let ContactRows { removed, cleaned } = count_rows(&db, tenant.id, self.contact).await?;
            let text = format!(
                "this removes {removed} conversations of contact {0} from tenant {1} ({2}) for good, removes the contact's texts \
                 from {cleaned} conversations of others, and keeps both out. To confirm: tidemark tenant forget --tenant {1} \
                 --contact {0} --yes",
                self.contact, tenant.id, tenant.name
            );
            return Err(UsageError(text).into());
        }
        let forgotten = forget_contact(&db, &app.actor(), &tenant, self.contact, self.reason).await?;
        if app.json {
            output::json(&forgotten)?;
            return Ok(Exit::Done);
        }
        output::note(format!(
            "contact {} is forgotten: {} conversations are removed, the contact's texts are removed from {} conversations of \
             others, and none of it comes back. Backups and copies in dashboards are not changed",
            self.contact, forgotten.rows.removed, forgotten.rows.cleaned
        ));
        Ok(Exit::Done)
    }
}
