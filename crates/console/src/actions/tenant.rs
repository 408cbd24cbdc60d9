//! The actions on one tenant.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;

use super::Damage;
use super::form::{self, Dialog, Given, check_name, check_seen, seen};
use super::tenant_fields::fields;
use super::tenant_work::{Outcome, run};
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::router::Routes;
use crate::watch::snapshot::Snapshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantAction {
    Sync,
    Full,
    Resync,
    Verify,
    Repair,
    RetryRejects,
    Plan,
    Pause,
    Resume,
    MapInboxes,
    UnmapInboxes,
    Settings,
    Watermark,
    Forget,
    Remove,
}

impl TenantAction {
    pub const ALL: [Self; 15] = [
        Self::Sync,
        Self::Full,
        Self::Resync,
        Self::Verify,
        Self::Repair,
        Self::RetryRejects,
        Self::Plan,
        Self::Pause,
        Self::Resume,
        Self::MapInboxes,
        Self::UnmapInboxes,
        Self::Settings,
        Self::Watermark,
        Self::Forget,
        Self::Remove,
    ];

    /// The last part of its path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Full => "full",
            Self::Resync => "resync",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::RetryRejects => "retry-rejects",
            Self::Plan => "plan",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::MapInboxes => "map",
            Self::UnmapInboxes => "unmap",
            Self::Settings => "settings",
            Self::Watermark => "watermark",
            Self::Forget => "forget",
            Self::Remove => "remove",
        }
    }

    pub const fn text(self, cx: &Cx) -> &'static str {
        let a = &cx.t.actions;
        match self {
            Self::Sync => a.sync,
            Self::Full => a.full,
            Self::Resync => a.resync,
            Self::Verify => a.verify,
            Self::Repair => a.repair,
            Self::RetryRejects => a.retry_rejects,
            Self::Plan => a.plan,
            Self::Pause => a.pause,
            Self::Resume => a.resume,
            Self::MapInboxes => a.map,
            Self::UnmapInboxes => a.unmap,
            Self::Settings => a.settings,
            Self::Watermark => a.watermark,
            Self::Forget => a.forget,
            Self::Remove => a.remove,
        }
    }

    /// What it does, for its dialog.
    const fn effect(self, cx: &Cx) -> &'static str {
        let a = &cx.t.actions;
        match self {
            Self::Full => a.full_effect,
            Self::Resync => a.resync_effect,
            Self::Repair => a.repair_effect,
            Self::Pause => a.pause_effect,
            Self::MapInboxes => a.map_effect,
            Self::UnmapInboxes => a.unmap_effect,
            Self::Settings => a.settings_effect,
            Self::Watermark => a.watermark_effect,
            Self::Forget => a.forget_effect,
            Self::Remove => a.remove_effect,
            Self::Sync | Self::Verify | Self::RetryRejects | Self::Plan | Self::Resume => a.at_once,
        }
    }

    pub const fn right(self) -> Right {
        match self {
            Self::Sync
            | Self::Full
            | Self::Resync
            | Self::Verify
            | Self::Repair
            | Self::RetryRejects
            | Self::Plan
            | Self::Pause
            | Self::Resume => Right::Operate,
            Self::MapInboxes
            | Self::UnmapInboxes
            | Self::Settings
            | Self::Watermark
            | Self::Forget
            | Self::Remove => Right::Administer,
        }
    }

    pub const fn damage(self) -> Damage {
        match self {
            Self::Sync | Self::Verify | Self::RetryRejects | Self::Plan | Self::Resume => Damage::None,
            Self::Full | Self::Resync | Self::Repair | Self::Pause | Self::MapInboxes | Self::Settings => {
                Damage::Some
            }
            Self::UnmapInboxes | Self::Watermark | Self::Forget | Self::Remove => Damage::Much,
        }
    }

    /// Whether this process itself opens a session on the source for it.
    pub const fn opens_source(self) -> bool {
        matches!(self, Self::Plan | Self::Watermark)
    }

    /// The command that does the same.
    pub fn command(self, id: TenantId) -> String {
        match self {
            Self::Sync => format!("tidemark sync --tenant {id}"),
            Self::Full => format!("tidemark sync --tenant {id} --full"),
            Self::Resync => format!("tidemark resync --tenant {id} --ids IDS --reason TEXT"),
            Self::Verify => format!("tidemark verify --tenant {id} --wait"),
            Self::Repair => format!("tidemark verify --tenant {id} --wait --repair"),
            Self::RetryRejects => format!("tidemark rejected retry --tenant {id}"),
            Self::Plan => format!("tidemark plan --tenant {id}"),
            Self::Pause => format!("tidemark tenant pause --tenant {id} --reason TEXT"),
            Self::Resume => format!("tidemark tenant resume --tenant {id}"),
            Self::MapInboxes => format!("tidemark inbox map --tenant {id} --inbox IDS"),
            Self::UnmapInboxes => format!("tidemark inbox unmap --tenant {id} --inbox IDS"),
            Self::Settings => format!("tidemark tenant set --tenant {id} --sync-interval 5m"),
            Self::Watermark => format!("tidemark watermark set --tenant {id} --to TIME --reason TEXT"),
            Self::Forget => format!("tidemark tenant forget --tenant {id} --contact CONTACT"),
            Self::Remove => format!("tidemark tenant remove --tenant {id} --yes"),
        }
    }
}

pub(crate) fn add(mut routes: Routes) -> Routes {
    for action in TenantAction::ALL {
        let path = format!("/tenants/{{tenant}}/do/{}", action.as_str());
        routes = routes.get(
            &path,
            action.right(),
            move |cx: Cx, Path(id): Path<TenantId>| async move {
                match ask(&cx, action, id, &BTreeMap::new(), None).await {
                    Ok(page) => page.into_response(),
                    Err(error) => error.page(&cx),
                }
            },
        );
        let send =
            move |cx: Cx, Path(id): Path<TenantId>, Form(given): Form<Given>| act(cx, action, id, given);
        routes = match action {
            TenantAction::Resync => routes.post_large(&path, action.right(), send),
            _ => routes.post(&path, action.right(), send),
        };
    }
    routes
}

async fn load(cx: &Cx, id: TenantId) -> PageResult<Tenant> {
    let found = tidemark_ledger::tenant::find(&cx.console.db, id).await?;
    found.ok_or(PageError::NotFound)
}

/// The dialog, with what was entered and why it was refused.
async fn ask(
    cx: &Cx,
    action: TenantAction,
    id: TenantId,
    given: &Given,
    error: Option<&str>,
) -> PageResult<maud::Markup> {
    let tenant = load(cx, id).await?;
    let look = cx.console.watcher.look().await?;
    let dialog = Dialog {
        title: format!("{}: {}", action.text(cx), tenant.name),
        text: action.effect(cx),
        numbers: numbers(cx, &look.snapshot, action, id),
        fields: fields(cx, action, &tenant, given),
        action: cx.links.to(&format!("/tenants/{id}/do/{}", action.as_str())),
        button: action.text(cx),
        command: action.command(id),
        damage: action.damage(),
        name: &tenant.name,
        seen: Some(seen(&tenant)),
        back: given
            .get("back")
            .cloned()
            .unwrap_or_else(|| format!("/tenants/{id}")),
    };
    Ok(dialog.render(cx, given, error))
}

/// What the action concerns.
fn numbers<'a>(
    cx: &'a Cx,
    snapshot: &Snapshot,
    action: TenantAction,
    id: TenantId,
) -> Vec<(&'a str, String)> {
    let Some(tenant) = snapshot.tenant(id) else {
        return Vec::new();
    };
    let p = &cx.t.pages;
    let waiting = (p.waiting, cx.count(tenant.chunks_pending + tenant.chunks_queued));
    let running = (p.running, cx.count(tenant.chunks_running));
    let open = snapshot
        .open_runs
        .iter()
        .filter(|run| run.report.tenant_id == id)
        .count();
    let open = (p.open_runs, open.to_string());
    let verified = tenant.last_verification.as_ref();
    match action {
        TenantAction::Pause => vec![open, waiting, running],
        TenantAction::Remove => vec![open, waiting, running, (p.inboxes, cx.count(tenant.inboxes))],
        TenantAction::Full => {
            let rows = verified.map(|last| (p.rows, cx.count(last.compared.target_rows)));
            rows.into_iter().chain([open]).collect()
        }
        TenantAction::Repair => {
            let faults = verified.map_or(0, |last| last.compared.fault_count() + last.compared.unproven);
            vec![(p.rows_at_fault, cx.count(faults))]
        }
        TenantAction::MapInboxes | TenantAction::UnmapInboxes => vec![(p.inboxes, cx.count(tenant.inboxes))],
        TenantAction::Watermark => {
            let at = tenant
                .watermark
                .map_or_else(|| cx.t.common.never.to_owned(), |at| at.to_rfc3339());
            vec![(p.watermark, at)]
        }
        _ => Vec::new(),
    }
}

async fn act(cx: Cx, action: TenantAction, id: TenantId, given: Given) -> Response {
    let outcome = attempt(&cx, action, id, &given).await;
    let error = match outcome {
        Ok(Outcome::Page(page)) => return page.into_response(),
        Ok(Outcome::Run(run, message)) => {
            return form::go(&cx, &format!("/runs/{run}"), &message);
        }
        Ok(Outcome::Done(message)) => {
            // the page that follows shows what was changed
            drop(cx.console.watcher.look_again().await);
            return form::done(&cx, &given, &format!("/tenants/{id}"), &message);
        }
        Err(error) => error,
    };
    let (status, text) = (error.status(), error.text());
    // the form again, with what was entered
    match text {
        Some(text) if action.damage() != Damage::None => {
            match ask(&cx, action, id, &given, Some(&text)).await {
                Ok(page) => (status, page).into_response(),
                Err(other) => other.page(&cx),
            }
        }
        _ => error.page(&cx),
    }
}

async fn attempt(cx: &Cx, action: TenantAction, id: TenantId, given: &Given) -> PageResult<Outcome> {
    let tenant = load(cx, id).await?;
    if given.contains_key("seen") {
        check_seen(given, &tenant)?;
    }
    check_name(cx, action.damage(), given, &tenant.name)?;
    run(cx, action, &tenant, given).await
}
