//! `tidemark verify`.

use tidemark_shared::db::verification::{self, Compared};
use tidemark_shared::ids::TenantId;
use tidemark_worker::verify::{Verdict, Verification, Verifier};

use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant's id
    #[arg(
        long,
        alias = "tenant-id",
        value_name = "N",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    tenant: Option<TenantId>,
    /// Every tenant
    #[arg(long)]
    all: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let tenants = match self.tenant {
            Some(id) => vec![app.tenant(&db, id).await?],
            None => tidemark_shared::db::tenant::list(&db).await?,
        };
        let verifier = Verifier {
            db: db.clone(),
            sources: app.sources()?,
            privacy_key: app.settings.privacy_key.clone(),
        };
        let mut found = Vec::with_capacity(tenants.len());
        for tenant in &tenants {
            let one = verifier.verify(tenant).await?;
            let compared = Compared {
                source_rows: one.source_rows,
                target_rows: one.target_rows,
                missing: one.missing,
                extra: one.extra,
                different: one.different,
            };
            verification::record(&db, tenant.id, compared).await?;
            found.push(one);
        }
        match found.as_slice() {
            [one] if app.json && !self.all => output::json(one)?,
            all if app.json => output::json(&all)?,
            all => table(all)?,
        }
        let equal = found.iter().all(|one| one.verdict == Verdict::Equal);
        Ok(if equal { Exit::Done } else { Exit::Failed })
    }
}

fn table(found: &[Verification]) -> anyhow::Result<()> {
    let rows = found
        .iter()
        .map(|one| {
            vec![
                one.tenant_id.to_string(),
                output::count(one.source_rows),
                output::count(one.target_rows),
                output::count(one.missing),
                output::count(one.extra),
                output::count(one.different),
                verdict(one.verdict).to_owned(),
            ]
        })
        .collect();
    let header = [
        "tenant",
        "source rows",
        "target rows",
        "missing",
        "extra",
        "different",
        "verdict",
    ];
    output::table(&header, &[0, 1, 2, 3, 4, 5], rows)
}

pub const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Equal => "equal",
        Verdict::Different => "different",
    }
}
