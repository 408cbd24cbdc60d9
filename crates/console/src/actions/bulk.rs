//! One action on many things: choose, look, confirm, stop.

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger::bulk::Bulk;
use tidemark_operations::bulk::{self, BulkAction, BulkFilter};

use super::form::{self, Given, given};
use super::job::{TYPED_ABOVE, load};
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::pages::bulk as pages;
use crate::routes::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .post("/bulk/prepare", Right::Operate, prepare)
        .post("/bulk/{bulk}/do/start", Right::Operate, start)
        .post("/bulk/{bulk}/do/stop", Right::Operate, stop)
}

/// The form below a list. Ticked rows belong to it by their `form`.
pub fn chooser(cx: &Cx, actions: &[BulkAction], filter: &[(&str, Option<String>)], back: &str) -> Markup {
    if cx.refusal(Right::Operate).is_some() {
        return html! {};
    }
    let b = &cx.t.bulk;
    html! {
        form #many.filters.many method="post" action=(cx.links.to("/bulk/prepare")) {
            @for (name, value) in filter {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            input type="hidden" name="back" value=(back);
            label.field { span { (b.with_many) } select name="action" {
                @for action in actions { option value=(action.as_str()) { (cx.t.bulk_action(*action)) } }
            } }
            button type="submit" name="which" value="ticked" { (b.choose_ticked) }
            button type="submit" name="which" value="all" { (b.choose_all) }
            a.sub href=(cx.links.to("/bulk")) { (b.title) }
        }
    }
}

/// The box before a row.
pub fn tick(cx: &Cx, id: &str, name: &str) -> Markup {
    if cx.refusal(Right::Operate).is_some() {
        return html! {};
    }
    html! { input.tick type="checkbox" form="many" name="ids" value=(id) aria-label=(cx.t.bulk.tick.replace("{name}", name)); }
}

/// The fields of a chooser; those that are ticked come more than once.
fn chosen(fields: &[(String, String)]) -> (BulkFilter, bool) {
    let one = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found
            .map(|(_, value)| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    let ticked = one("which").as_deref() != Some("all");
    if ticked {
        let ids = fields
            .iter()
            .filter(|(name, _)| name == "ids")
            .map(|(_, value)| value.clone());
        let filter = BulkFilter {
            ids: Some(ids.collect()),
            ..BulkFilter::default()
        };
        return (filter, true);
    }
    let filter = BulkFilter {
        ids: None,
        tenant: one("tenant").and_then(|id| id.parse().ok()),
        state: one("state"),
        source: one("source"),
        text: one("q"),
        status: one("status"),
        run_type: one("type"),
        side: one("side"),
        sqlstate: one("sqlstate"),
        error: one("error"),
    };
    (filter, false)
}

async fn prepare(cx: Cx, Form(fields): Form<Vec<(String, String)>>) -> Response {
    match try_prepare(&cx, &fields).await {
        Ok(bulk) => form::go(&cx, &format!("/bulk/{}", bulk.id), ""),
        Err(error) => error.page(&cx),
    }
}

async fn try_prepare(cx: &Cx, fields: &[(String, String)]) -> PageResult<Bulk> {
    let action = fields.iter().find(|(name, _)| name == "action");
    let action = action.and_then(|(_, action)| BulkAction::parse(action));
    let action = action.ok_or(PageError::NotFound)?;
    let (filter, ticked) = chosen(fields);
    if ticked && filter.ids.as_ref().is_some_and(Vec::is_empty) {
        return Err(PageError::Refused(cx.t.bulk.none_ticked.to_owned()));
    }
    store(cx, action, &filter, None).await
}

/// Stores a job of what the author sees.
pub async fn store(
    cx: &Cx,
    action: BulkAction,
    filter: &BulkFilter,
    reason: Option<&str>,
) -> PageResult<Bulk> {
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let (console, scope, actor) = (&cx.console, who.scope(), who.actor());
    let prepared = bulk::prepare(
        &console.db,
        &console.settings,
        &actor,
        scope.as_deref(),
        action,
        filter,
        reason,
    );
    Ok(prepared.await?)
}

/// Refuses many without the words that name them.
pub fn check_confirmed(cx: &Cx, bulk: &Bulk, typed: Option<&str>) -> PageResult<()> {
    let wanted = bulk::confirmation(bulk);
    if bulk.left() <= TYPED_ABOVE || typed == Some(wanted.as_str()) {
        return Ok(());
    }
    Err(PageError::Refused(
        cx.t.actions.wrong_name.replace("{name}", &wanted),
    ))
}

async fn start(cx: Cx, Path(id): Path<i64>, Form(fields): Form<Given>) -> Response {
    match try_start(&cx, id, &fields).await {
        Ok(()) => {
            let message = cx.t.bulk.started.replace("{id}", &id.to_string());
            form::go(&cx, &format!("/bulk/{id}"), &message)
        }
        Err(error) => match (error.text_or_stale(&cx), error.status()) {
            (Some(text), status) => match pages::confirm(&cx, id, &fields, Some(&text)).await {
                Ok(page) => (status, page).into_response(),
                Err(other) => other.page(&cx),
            },
            _ => error.page(&cx),
        },
    }
}

async fn try_start(cx: &Cx, id: i64, fields: &Given) -> PageResult<()> {
    let prepared = load(cx, id).await?;
    check_confirmed(cx, &prepared, given(fields, "confirm"))?;
    begin(cx, id, given(fields, "reason")).await?;
    Ok(())
}

/// Starts a job, and wakes who works on it.
pub async fn begin(cx: &Cx, id: i64, reason: Option<&str>) -> PageResult<Bulk> {
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let started = bulk::start(&cx.console.db, &who.actor(), id, reason).await?;
    cx.console.bulk_wake.notify_one();
    drop(cx.console.watcher.look_again().await);
    Ok(started)
}

async fn stop(cx: Cx, Path(id): Path<i64>) -> Response {
    match try_stop(&cx, id).await {
        Ok(stopped) => {
            let text = match stopped {
                true => cx.t.bulk.stopped_now,
                false => cx.t.bulk.ended_before,
            };
            let message = text.replace("{id}", &id.to_string());
            form::go(&cx, &format!("/bulk/{id}"), &message)
        }
        Err(error) => error.page(&cx),
    }
}

pub async fn try_stop(cx: &Cx, id: i64) -> PageResult<bool> {
    load(cx, id).await?;
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let stopped = bulk::stop(&cx.console.db, &who.actor(), id).await?;
    drop(cx.console.watcher.look_again().await);
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticked_rows_are_the_whole_choice_and_filters_only_count_for_all() {
        let fields = |which: &str| {
            vec![
                ("state".to_owned(), "late".to_owned()),
                ("which".to_owned(), which.to_owned()),
                ("ids".to_owned(), "4".to_owned()),
                ("ids".to_owned(), "5".to_owned()),
            ]
        };
        let (ticked, is_ticked) = chosen(&fields("ticked"));
        assert!(is_ticked && ticked.state.is_none());
        assert_eq!(ticked.ids, Some(vec!["4".to_owned(), "5".to_owned()]));
        let (all, is_ticked) = chosen(&fields("all"));
        assert!(!is_ticked && all.ids.is_none());
        assert_eq!(all.state.as_deref(), Some("late"));
    }
}
