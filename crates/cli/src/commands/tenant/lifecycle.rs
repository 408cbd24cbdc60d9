//! `tidemark tenant pause|resume|remove`.

use tidemark_operations::tenants;
use tidemark_operations::tenants::lifecycle;
use tidemark_shared::ids::TenantId;

use super::show;
use crate::app::App;
use crate::exit::{Exit, UsageError};
use crate::output;

pub async fn pause(app: &App, id: TenantId, reason: &str) -> anyhow::Result<Exit> {
    lifecycle::pause(&app.database(0).await?, &app.actor(), id, reason).await?;
    if app.json {
        return show(app, id).await;
    }
    output::note(format!(
        "tenant {id} is paused: its running chunks finish, and no other chunk starts; \
         next: tidemark tenant resume --tenant {id}"
    ));
    Ok(Exit::Done)
}

pub async fn resume(app: &App, id: TenantId) -> anyhow::Result<Exit> {
    let resumed = lifecycle::resume(&app.database(0).await?, &app.actor(), id).await?;
    if app.json {
        return show(app, id).await;
    }
    output::note(if resumed {
        format!("tenant {id} is resumed")
    } else {
        format!("tenant {id} was not paused")
    });
    Ok(Exit::Done)
}

pub async fn remove(app: &App, id: TenantId, yes: bool) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let tenant = tenants::load(&db, id).await?;
    if !yes {
        let text = format!(
            "this ends the runs and syncs of tenant {id} ({}) for good, and its id cannot be used again; its rows stay. \
             To confirm: tidemark tenant remove --tenant {id} --yes",
            tenant.name
        );
        return Err(UsageError(text).into());
    }
    let removed = lifecycle::remove(&db, &app.actor(), id).await?;
    if app.json {
        output::json(&removed)?;
        return Ok(Exit::Done);
    }
    output::note(format!(
        "tenant {id} is removed, and {} open runs were cancelled. Its rows in conversations_analytics stay as they are, \
         and so do its runs and rejects; its inboxes can be mapped to other tenants",
        removed.cancelled_runs.len()
    ));
    Ok(Exit::Done)
}
