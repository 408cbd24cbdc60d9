//! The arguments and notes that commands which request runs have in common.

use tidemark_ledger::run::Requested;
use tidemark_operations::run_requests;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;

use crate::app::App;
use crate::output;

/// The tenants that a command is for.
#[derive(Debug, clap::Args)]
pub struct Tenants {
    /// Tenant ids, separated by commas
    #[arg(
        long,
        alias = "tenant-id",
        value_delimiter = ',',
        value_name = "N",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    tenant: Vec<TenantId>,
    /// All active tenants that have inboxes
    #[arg(long)]
    all: bool,
}

impl Tenants {
    /// Loads the tenants in ascending order; each can have runs.
    pub async fn load_ready(&self, db: &DbPool) -> anyhow::Result<Vec<Tenant>> {
        if self.all {
            return Ok(run_requests::list_ready(db).await?);
        }
        let mut ids = self.tenant.clone();
        ids.sort_unstable();
        ids.dedup();
        let mut tenants = Vec::with_capacity(ids.len());
        for id in ids {
            tenants.push(run_requests::load_ready(db, id).await?);
        }
        Ok(tenants)
    }

    /// Whether the JSON answer is a list, even of one element.
    pub const fn are_several(&self) -> bool {
        self.all || self.tenant.len() > 1
    }
}

/// Requests a run, and notes when an open one already does the same.
pub async fn request(
    app: &App,
    db: &DbPool,
    tenant: &Tenant,
    run_type: RunType,
    reason: Option<String>,
    request: RunRequest,
) -> anyhow::Result<RunId> {
    let requested = run_requests::request(db, &app.actor(), tenant, run_type, reason, request).await?;
    Ok(note_open(tenant.id, requested))
}

pub fn note_open(tenant: TenantId, requested: Requested) -> RunId {
    if let Requested::Open(run) = requested {
        output::note(format!(
            "tenant {tenant} already has run {run} open: no new run was requested"
        ));
    }
    requested.run_id()
}
