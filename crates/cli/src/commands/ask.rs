//! Asking for a run: what `sync` and `resync` have in common.

use tidemark_shared::db;
use tidemark_shared::db::DbPool;
use tidemark_shared::db::run::{NewRun, Requested};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::telemetry;
use tidemark_shared::tenant::Tenant;

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
    if db::inbox::list_active(db, id, &tenant.source).await?.is_empty() {
        let text =
            format!("tenant {id} has no inboxes: map them with `tidemark inbox map --tenant {id} --inbox …`");
        return Err(SetupError(text).into());
    }
    Ok(tenant)
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
        tenant_id: tenant.id,
        run_type,
        triggered_by: app.actor(),
        reason,
        request,
        trace_id: telemetry::trace_id(&span),
        traceparent: telemetry::context_of(&span).traceparent,
    };
    let requested = db::run::request(db, &new).await?;
    span.record("run.id", tracing::field::display(requested.run_id()));
    if let Requested::Open(run) = requested {
        output::note(format!(
            "tenant {} has run {run} open: nothing new was asked for",
            tenant.id
        ));
    }
    Ok(requested.run_id())
}
