//! The actions on one tenant.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;

use super::Damage;
use super::form::{self, Dialog, Given, check_name, check_seen, seen};
use super::tenant_action::TenantAction;
use super::tenant_fields::fields;
use super::tenant_work::{Outcome, run};
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::routes::Routes;
use crate::watch::snapshot::Snapshot;

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
            let at = tenant.watermark.map_or_else(
                || cx.t.common.never.to_owned(),
                |at| at.to_rfc3339_opts(SecondsFormat::Secs, true),
            );
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
    let status = error.status();
    let text = error.text_or_stale(&cx);
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
