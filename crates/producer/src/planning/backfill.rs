//! Requests backfills: of newly mapped inboxes, after an upgrade of Chatwoot, of rows with a changed name or a deleted sender,
//! and of rows that were written under an earlier privacy policy.

use std::time::Duration;

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::run::{NewRun, Requested};
use tidemark_postgres::DbPool;
use tidemark_runtime::telemetry;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::Selection;
use tracing::Span;

use crate::planning::names::NameChanges;
use crate::planning::plan::Upgrade;

/// Time between a backfill that failed or was cancelled and the next request for it.
pub(crate) const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(300);

/// Requests the backfills that are due; returns the runs that were not open before. `only` restricts it to these tenants.
pub async fn request_due(
    db: &DbPool,
    only: Option<&[TenantId]>,
    pause_after_failure: Duration,
) -> Result<Vec<RunId>, DbError> {
    let mut requested = Vec::new();
    for due in ledger::backfill::list_due(db, only, pause_after_failure).await? {
        let (run, span) = new_run(due.tenant_id, due.selection.0);
        if let Requested::Created(id) = ledger::run::request(db, &run).await? {
            span.record("run.id", tracing::field::display(id));
            tracing::info!(tenant.id = %due.tenant_id, run.id = %id, "backfill requested");
            requested.push(id);
        }
    }
    Ok(requested)
}

/// Records the changed names and deleted senders that a plan found, and requests backfills of their rows. Runs in the
/// transaction in which the watermark may pass the change.
pub(crate) async fn record_name_changes(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    changes: &NameChanges,
) -> Result<(), DbError> {
    if !changes.to_record.is_empty() {
        ledger::backfill::record_names(&mut **tx, tenant, &changes.to_record).await?;
    }
    if !changes.renamed.is_empty() {
        let names = changes.renamed.clone();
        request(tx, tenant, Selection::Renamed { names }).await?;
    }
    if !changes.deleted_senders.is_empty() {
        let senders = changes.deleted_senders.clone();
        ledger::sender::forget(&mut **tx, tenant, &senders).await?;
        request(tx, tenant, Selection::Senders { senders }).await?;
    }
    Ok(())
}

/// Records what the source lacks now, where that changed. Rows that were read before get a backfill: digests do not show
/// what has appeared. Runs in the transaction in which the watermark may pass the change.
pub(crate) async fn record_upgrade(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    source: &str,
    upgrade: Option<&Upgrade>,
) -> Result<(), DbError> {
    let Some(upgrade) = upgrade else { return Ok(()) };
    ledger::watermark::record_absent_columns(&mut **tx, tenant, &upgrade.absent_columns).await?;
    if upgrade.has_rows {
        tracing::info!(
            tenant.id = %tenant, source, absent = upgrade.absent_columns.join(", "),
            "what is read of the source has changed: its conversations are read again"
        );
        ledger::inbox::fetch_again(&mut **tx, tenant, source).await?;
    }
    Ok(())
}

async fn request(tx: &mut PgTransaction<'_>, tenant: TenantId, selection: Selection) -> Result<(), DbError> {
    let (run, span) = new_run(tenant, selection);
    if let Some(id) = ledger::run::insert_requested(&mut **tx, &run).await? {
        span.record("run.id", tracing::field::display(id));
    }
    Ok(())
}

/// A request, and the root span of its trace, which links to the current span.
fn new_run(tenant: TenantId, selection: Selection) -> (NewRun, Span) {
    let span = tracing::info_span!(parent: None, "run", tenant.id = %tenant, run.id = tracing::field::Empty);
    telemetry::link(&span, &telemetry::context_of(&Span::current()));
    let reason = match &selection {
        Selection::Renamed { .. } => "names were changed",
        Selection::Senders { .. } => "senders of messages were deleted at the source",
        Selection::Policy { .. } => "rows may be of an earlier privacy policy",
        _ => "inboxes were mapped, or what is read of the source has changed",
    };
    let run = NewRun {
        tenant_id: tenant,
        run_type: RunType::Backfill,
        triggered_by: "scheduler".to_owned(),
        reason: Some(reason.to_owned()),
        request: RunRequest {
            selection: Some(selection),
            ..RunRequest::default()
        },
        trace_id: telemetry::trace_id(&span),
        traceparent: telemetry::context_of(&span).traceparent,
    };
    (run, span)
}
