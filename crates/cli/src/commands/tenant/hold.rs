//! `tidemark tenant pause|resume|remove`.

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_shared::ids::{RunId, TenantId};

use super::show;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

/// What was ended with a tenant.
#[derive(Debug, Serialize)]
struct Removed {
    tenant_id: TenantId,
    cancelled_runs: Vec<RunId>,
}

pub async fn pause(app: &App, tenant: TenantId, reason: &str) -> anyhow::Result<Exit> {
    if reason.trim().is_empty() {
        return Err(UsageError("pausing a tenant needs a reason".to_owned()).into());
    }
    let db = app.database(0).await?;
    let tenant = app.tenant(&db, tenant).await?;
    ledger::tenant_lifecycle::pause(&db, tenant.id, reason).await?;
    if app.json {
        return show(app, tenant.id).await;
    }
    output::note(format!(
        "tenant {} is paused: chunks that are running go on to their end, no other begins; \
         next: tidemark tenant resume --tenant {}",
        tenant.id, tenant.id
    ));
    Ok(Exit::Done)
}

pub async fn resume(app: &App, tenant: TenantId) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let tenant = app.tenant(&db, tenant).await?;
    let resumed = ledger::tenant_lifecycle::resume(&db, tenant.id).await?;
    if app.json {
        return show(app, tenant.id).await;
    }
    output::note(if resumed {
        format!("tenant {} goes on where it stood", tenant.id)
    } else {
        format!("tenant {} was not paused", tenant.id)
    });
    Ok(Exit::Done)
}

pub async fn remove(app: &App, tenant: TenantId, yes: bool) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let tenant = app.tenant(&db, tenant).await?;
    if !yes {
        let text = format!(
            "this ends the runs of tenant {} ({}) and its syncs for good, its id cannot be used again; its rows stay. \
             If that is meant: tidemark tenant remove --tenant {} --yes",
            tenant.id, tenant.name, tenant.id
        );
        return Err(UsageError(text).into());
    }
    let Some(cancelled_runs) = ledger::tenant_lifecycle::remove(&db, tenant.id, &app.actor()).await? else {
        return Err(UsageError(format!("tenant {} was removed just now", tenant.id)).into());
    };
    if app.json {
        output::json(&Removed {
            tenant_id: tenant.id,
            cancelled_runs,
        })?;
        return Ok(Exit::Done);
    }
    output::note(format!(
        "tenant {} is removed, {} open runs were cancelled. Its rows in conversations_analytics stay as they are, \
         and so do its runs and rejects; its inboxes may be mapped to others",
        tenant.id,
        cancelled_runs.len()
    ));
    Ok(Exit::Done)
}
