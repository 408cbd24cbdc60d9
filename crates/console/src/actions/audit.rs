//! Records attempts that were refused.

use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_postgres::report::report;
use tidemark_shared::audit::{Action, ActionResult};

use crate::auth::who::Who;
use crate::console::Console;

/// Records that somebody asked for a change that this author may not make. Looking is not recorded.
pub async fn refused(console: &Console, who: &Who, path: &str) {
    let entry = Entry::new(action_of(path))
        .subject(path)
        .result(ActionResult::Refused);
    if let Err(error) = ledger::audit::record(&console.db, &who.actor(), &entry).await {
        tracing::warn!(error = %report(&error), "refused action not recorded");
    }
}

/// The action that a path stands for.
fn action_of(path: &str) -> Action {
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        "add" if path.contains("/webhooks") => Action::WebhookAdd,
        "remove" if path.contains("/webhooks") => Action::WebhookRemove,
        "retry" if path.contains("/webhooks") => Action::WebhookRetry,
        "test" => Action::WebhookTest,
        "pause" => Action::TenantPause,
        "resume" => Action::TenantResume,
        "remove" => Action::TenantRemove,
        "forget" => Action::ContactForget,
        "map" => Action::InboxMap,
        "unmap" => Action::InboxUnmap,
        "watermark" => Action::WatermarkSet,
        "settings" => Action::TenantChange,
        "cancel" => Action::RunCancel,
        "retry" if path.contains("/chunks/") => Action::ChunkRetry,
        "retry" => Action::RunRetry,
        "accept" | "accept-restore" => Action::SourceAccept,
        "redrive" => Action::DeadRedrive,
        "purge" => Action::DeadPurge,
        "revoke" => Action::SessionRevoke,
        "webhooks" => Action::WebhookAdd,
        "bulk" | "prepare" | "start" => Action::BulkStart,
        "stop" => Action::BulkStop,
        "values" => Action::ValuesShow,
        _ => Action::RunRequest,
    }
}
