//! Accepts a source that went back in time.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::Markup;
use tidemark_ledger as ledger;
use tidemark_operations::source_restore;

use super::Damage;
use super::form::{self, Dialog, Given, check_name, check_seen, needed, reason_field, seen};
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::links::encode;
use crate::routes::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/sources/{source}/do/accept", Right::Administer, ask)
        .post("/sources/{source}/do/accept", Right::Administer, accept)
}

/// What grows when somebody accepts the source.
async fn epoch(cx: &Cx, source: &str) -> PageResult<Option<i32>> {
    let known = ledger::fence::find(&cx.console.db, source).await?;
    Ok(known.map(|known| known.epoch))
}

async fn dialog(cx: &Cx, source: &str, fields: &Given, error: Option<&str>) -> PageResult<Markup> {
    let a = &cx.t.actions;
    let dialog = Dialog {
        title: format!("{}: {source}", a.accept),
        text: a.accept_effect,
        numbers: Vec::new(),
        fields: reason_field(cx, fields, true),
        action: cx.links.to(&format!("/sources/{}/do/accept", encode(source))),
        button: a.accept,
        command: format!("tidemark source accept-restore --source {source} --reason TEXT"),
        damage: Damage::Much,
        name: source,
        seen: Some(seen(&epoch(cx, source).await?)),
        back: "/sources".to_owned(),
        has_file: false,
    };
    Ok(dialog.render(cx, fields, error))
}

async fn ask(cx: Cx, Path(source): Path<String>) -> Response {
    match try_ask(&cx, &source).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn try_ask(cx: &Cx, source: &str) -> PageResult<Markup> {
    check(cx, source)?;
    dialog(cx, source, &BTreeMap::new(), None).await
}

/// A source has the rows of several tenants, so a scope is not enough.
fn check(cx: &Cx, source: &str) -> PageResult<()> {
    let sees_all = cx.who.as_ref().is_some_and(|who| who.sees_all());
    if !sees_all || cx.console.settings.source(source).is_err() {
        return Err(PageError::NotFound);
    }
    Ok(())
}

async fn accept(cx: Cx, Path(source): Path<String>, Form(fields): Form<Given>) -> Response {
    match try_accept(&cx, &source, &fields).await {
        Ok(message) => form::go(&cx, "/sources", &message),
        Err(error) => match (error.text_or_stale(&cx), error.status()) {
            (Some(text), status) => match dialog(&cx, &source, &fields, Some(&text)).await {
                Ok(page) => (status, page).into_response(),
                Err(other) => other.page(&cx),
            },
            _ => error.page(&cx),
        },
    }
}

async fn try_accept(cx: &Cx, name: &str, fields: &Given) -> PageResult<String> {
    check(cx, name)?;
    if !cx.console.settings.console.sources {
        return Err(PageError::Refused(cx.t.common.sources_off.to_owned()));
    }
    check_seen(fields, &epoch(cx, name).await?)?;
    check_name(cx, Damage::Much, fields, name)?;
    let reason = needed(cx, fields, "reason", cx.t.common.reason)?;
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let source = cx
        .console
        .sources
        .get(name)
        .map_err(tidemark_operations::error::OperationError::from)?;
    source_restore::accept(&cx.console.db, &who.actor(), source, reason).await?;
    Ok(cx.t.actions.accepted.replace("{source}", name))
}
