//! `tidemark tenant forget`.

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::privacy::ContactRows;
use tidemark_shared::ids::TenantId;

use crate::app::App;
use crate::commands::ask;
use crate::exit::{Exit, UsageError};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: TenantId,
    /// Contact's id at the source
    #[arg(long, value_name = "ID")]
    contact: i64,
    /// Why, for the record; not who
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Needed: what is removed does not come back
    #[arg(long)]
    yes: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Forgotten {
    tenant_id: TenantId,
    contact_id: i64,
    #[serde(flatten)]
    rows: ContactRows,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenant = app.tenant(&db, self.tenant).await?;
        if !self.yes {
            let ContactRows { removed, cleaned } =
                ledger::privacy::count_contact_rows(&db, tenant.id, self.contact).await?;
            let text = format!(
                "this removes {removed} conversations of contact {0} from tenant {1} ({2}) for good, takes its texts out of \
                 {cleaned} of others, and keeps both out. If that is meant: tidemark tenant forget --tenant {1} \
                 --contact {0} --yes",
                self.contact, tenant.id, tenant.name
            );
            return Err(UsageError(text).into());
        }
        let reason = self
            .reason
            .unwrap_or_else(|| format!("contact {} is forgotten", self.contact));
        let asked = ask::prepared(app, &tenant, Some(reason));
        let rows = ledger::privacy::forget(&db, tenant.id, self.contact, &asked).await?;
        if app.json {
            output::json(&Forgotten {
                tenant_id: tenant.id,
                contact_id: self.contact,
                rows,
            })?;
            return Ok(Exit::Done);
        }
        output::note(format!(
            "contact {} is forgotten: {} conversations are removed, {} of others are without its texts, and none of it comes \
             back. Backups, and what dashboards have copied, are not",
            self.contact, rows.removed, rows.cleaned
        ));
        Ok(Exit::Done)
    }
}
