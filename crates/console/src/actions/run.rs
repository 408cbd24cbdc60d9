//! Cancels and retries a run.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::Markup;
use tidemark_operations::run_control::{self, RetriedRun};
use tidemark_shared::ids::RunId;
use tidemark_shared::run::RunReport;

use super::Damage;
use super::form::{self, Dialog, Given, check_seen, given, reason_field, seen};
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::routes::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/runs/{run}/do/cancel", Right::Operate, ask_cancel)
        .post("/runs/{run}/do/cancel", Right::Operate, cancel)
        .get("/runs/{run}/do/retry", Right::Operate, ask_retry)
        .post("/runs/{run}/do/retry", Right::Operate, retry)
}

/// A run of a tenant that the author sees.
pub async fn load(cx: &Cx, id: RunId) -> PageResult<RunReport> {
    let found = tidemark_ledger::run::reports(&cx.console.db, &[id]).await?.pop();
    let sees = |run: &RunReport| cx.who.as_ref().is_some_and(|who| who.sees(run.tenant_id));
    found.filter(sees).ok_or(PageError::NotFound)
}

async fn ask_cancel(cx: Cx, Path(id): Path<RunId>) -> Response {
    match cancel_dialog(&cx, id, &BTreeMap::new(), None).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn ask_retry(cx: Cx, Path(id): Path<RunId>) -> Response {
    let (a, title) = (&cx.t.actions, format!("{} {id}", cx.t.pages.run));
    match load(&cx, id).await {
        Ok(run) => Dialog {
            title: format!("{}: {title}", a.retry),
            text: a.retry_effect,
            numbers: vec![(cx.t.pages.dead_chunks, run.chunks.dead.to_string())],
            fields: maud::html! {},
            action: cx.links.to(&format!("/runs/{id}/do/retry")),
            button: a.retry,
            command: format!("tidemark run retry {id}"),
            damage: Damage::None,
            name: "",
            seen: None,
            back: format!("/runs/{id}"),
            has_file: false,
        }
        .render(&cx, &BTreeMap::new(), None)
        .into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn cancel_dialog(cx: &Cx, id: RunId, fields: &Given, error: Option<&str>) -> PageResult<Markup> {
    let run = load(cx, id).await?;
    let (a, p) = (&cx.t.actions, &cx.t.pages);
    let open = run.chunks.total - run.chunks.done - run.chunks.dead;
    let dialog = Dialog {
        title: format!("{}: {} {id}", a.cancel_run, p.run),
        text: a.cancel_effect,
        numbers: vec![
            (p.chunks_done, cx.count(run.chunks.done.into())),
            (p.chunks_open, cx.count(open.into())),
            (p.extracted, cx.count(run.records.extracted)),
        ],
        fields: reason_field(cx, fields, true),
        action: cx.links.to(&format!("/runs/{id}/do/cancel")),
        button: a.cancel_run,
        command: format!("tidemark run cancel {id} --reason TEXT"),
        damage: Damage::Some,
        name: "",
        seen: Some(seen(&run.status)),
        back: format!("/runs/{id}"),
        has_file: false,
    };
    Ok(dialog.render(cx, fields, error))
}

async fn cancel(cx: Cx, Path(id): Path<RunId>, Form(fields): Form<Given>) -> Response {
    let to = format!("/runs/{id}");
    match try_cancel(&cx, id, &fields).await {
        Ok(message) => form::go(&cx, &to, &message),
        Err(error) => match (error.text_or_stale(&cx), error.status()) {
            (Some(text), status) => match cancel_dialog(&cx, id, &fields, Some(&text)).await {
                Ok(page) => (status, page).into_response(),
                Err(other) => other.page(&cx),
            },
            _ => error.page(&cx),
        },
    }
}

async fn try_cancel(cx: &Cx, id: RunId, fields: &Given) -> PageResult<String> {
    let run = load(cx, id).await?;
    check_seen(fields, &run.status)?;
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let chunks = run_control::cancel(&cx.console.db, &who.actor(), id, given(fields, "reason")).await?;
    drop(cx.console.watcher.look_again().await);
    let text = cx.t.actions.cancelled.replace("{run}", &id.to_string());
    Ok(text
        .replace("{waiting}", &cx.count(chunks.waiting))
        .replace("{running}", &cx.count(chunks.running)))
}

async fn retry(cx: Cx, Path(id): Path<RunId>) -> Response {
    match try_retry(&cx, id, None).await {
        Ok((run, message)) => form::go(&cx, &format!("/runs/{run}"), &message),
        Err(error) => error.page(&cx),
    }
}

/// Retries all dead and cancelled chunks of a run, or one. Returns the run that goes on.
pub async fn try_retry(cx: &Cx, id: RunId, seq: Option<i32>) -> PageResult<(RunId, String)> {
    load(cx, id).await?;
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let a = &cx.t.actions;
    let retried = run_control::retry(&cx.console.db, &who.actor(), id, seq).await?;
    drop(cx.console.watcher.look_again().await);
    Ok(match retried {
        RetriedRun::SameRun { chunks, .. } => (id, a.retried.replace("{count}", &chunks.to_string())),
        RetriedRun::NewRun { requested, .. } => {
            let run = requested.run_id();
            (run, a.requested.replace("{run}", &run.to_string()))
        }
    })
}
