//! Asking for a run: what `sync` and `resync` have in common.

use tidemark_ledger as ledger;
use tidemark_ledger::run::{NewRun, Requested};
use tidemark_postgres::DbPool;
use tidemark_runtime::telemetry;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tracing::Span;

use crate::app::App;
use crate::exit::SetupError;
use crate::output;

/// A tenant for which runs may be asked: it exists, is active and has inboxes.
pub async fn ready_tenant(app: &App, db: &DbPool, id: TenantId) -> anyhow::Result<Tenant> {
    let tenant = app.tenant(db, id).await?;
    if !tenant.may_run() {
        let why = tenant
            .pause_reason
            .as_deref()
            .unwrap_or("its status does not allow runs");
        return Err(SetupError(format!("tenant {id} is not active: {why}")).into());
    }
    if ledger::inbox::list_active(db, id, &tenant.source)
        .await?
        .is_empty()
    {
        let text =
            format!("tenant {id} has no inboxes: map them with `tidemark inbox map --tenant {id} --inbox …`");
        return Err(SetupError(text).into());
    }
    Ok(tenant)
}

/// Who asks, for a run that comes with another change.
pub fn prepared(app: &App, tenant: &Tenant, reason: Option<String>) -> NewRun {
    let span = tracing::info_span!("run", tenant.id = %tenant.id);
    new_run(app, tenant, reason, &span)
}

fn new_run(app: &App, tenant: &Tenant, reason: Option<String>, span: &Span) -> NewRun {
    NewRun {
        tenant_id: tenant.id,
        run_type: RunType::Resync,
        triggered_by: app.actor(),
        reason,
        request: RunRequest::default(),
        trace_id: telemetry::trace_id(span),
        traceparent: telemetry::context_of(span).traceparent,
    }
}

/// Which tenants a command is about.
#[derive(Debug, clap::Args)]
pub struct Tenants {
    /// Tenants' ids, separated by commas
    #[arg(
        long,
        alias = "tenant-id",
        value_delimiter = ',',
        value_name = "N",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    tenant: Vec<TenantId>,
    /// Every active tenant that has inboxes
    #[arg(long)]
    all: bool,
}

impl Tenants {
    /// Those tenants, ready for runs, ascending.
    pub async fn ready(&self, app: &App, db: &DbPool) -> anyhow::Result<Vec<Tenant>> {
        if self.all {
            return all_ready(db).await;
        }
        let mut ids = self.tenant.clone();
        ids.sort_unstable();
        ids.dedup();
        let mut tenants = Vec::with_capacity(ids.len());
        for id in ids {
            tenants.push(ready_tenant(app, db, id).await?);
        }
        Ok(tenants)
    }

    /// Whether the answer is a list, also when it has one element.
    pub const fn are_several(&self) -> bool {
        self.all || self.tenant.len() > 1
    }
}

/// Every tenant for which runs may be asked; at least one.
pub async fn all_ready(db: &DbPool) -> anyhow::Result<Vec<Tenant>> {
    let mut tenants = Vec::new();
    for tenant in ledger::tenant::list(db).await? {
        let inboxes = ledger::inbox::list_active(db, tenant.id, &tenant.source).await?;
        if tenant.may_run() && !inboxes.is_empty() {
            tenants.push(tenant);
        }
    }
    if tenants.is_empty() {
        let text =
            "no active tenant has inboxes: add one with `tidemark tenant add` and `tidemark inbox map`";
        return Err(SetupError(text.to_owned()).into());
    }
    Ok(tenants)
}

/// Asks for a run, and says so when the same is open already.
pub async fn request(
    app: &App,
    db: &DbPool,
    tenant: &Tenant,
    run_type: RunType,
    reason: Option<String>,
    request: RunRequest,
) -> anyhow::Result<RunId> {
    let span = tracing::info_span!(
        "run", tenant.id = %tenant.id, run.id = tracing::field::Empty, run.type = run_type.as_str(),
    );
    let new = NewRun {
        run_type,
        request,
        ..new_run(app, tenant, reason, &span)
    };
    let requested = ledger::run::request(db, &new).await?;
    span.record("run.id", tracing::field::display(requested.run_id()));
    if let Requested::Open(run) = requested {
        output::note(format!(
            "tenant {} has run {run} open: nothing new was asked for",
            tenant.id
        ));
    }
    Ok(requested.run_id())
}
