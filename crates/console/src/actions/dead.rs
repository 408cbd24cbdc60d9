//! Redrives and purges dead messages.

use std::collections::BTreeMap;

use axum::Form;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_broker::Queue;
use tidemark_operations::dead_messages;

use super::Damage;
use super::form::{self, Dialog, Given, check_name, check_seen, seen};
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::routes::Routes;

const LIMIT: usize = 1_000;
/// To be typed before all messages are removed.
const WORD: &str = "purge";

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/dead/do/redrive", Right::Operate, |cx: Cx| async move {
            ask(&cx, false, &BTreeMap::new(), None).await
        })
        .post(
            "/dead/do/redrive",
            Right::Operate,
            |cx: Cx, Form(given): Form<Given>| act(cx, false, given),
        )
        .get("/dead/do/purge", Right::Administer, |cx: Cx| async move {
            ask(&cx, true, &BTreeMap::new(), None).await
        })
        .post(
            "/dead/do/purge",
            Right::Administer,
            |cx: Cx, Form(given): Form<Given>| act(cx, true, given),
        )
}

/// How many messages are in the queue. A broker that is away is not asked twice: the action says so.
async fn messages(cx: &Cx) -> Option<u32> {
    let rabbit = (cx.console.rabbit)().ok()?;
    let count = dead_messages::count(&rabbit).await;
    rabbit.close().await;
    count.ok()
}

async fn ask(cx: &Cx, purge: bool, fields: &Given, error: Option<&str>) -> Markup {
    let a = &cx.t.actions;
    let is_shown = cx.who.as_ref().is_some_and(|who| who.sees_all());
    let count = if is_shown { messages(cx).await } else { None };
    let (name, title, text, damage) = match purge {
        true => ("purge", a.purge, a.purge_effect, Damage::Much),
        false => ("redrive", a.redrive, a.redrive_effect, Damage::Some),
    };
    Dialog {
        title: title.to_owned(),
        text,
        numbers: count
            .map(|count| (cx.t.pages.messages, cx.count(count.into())))
            .into_iter()
            .collect(),
        fields: html! {},
        action: cx.links.to(&format!("/dead/do/{name}")),
        button: title,
        command: match purge {
            true => "tidemark dead purge --yes".to_owned(),
            false => "tidemark dead redrive".to_owned(),
        },
        damage,
        name: WORD,
        seen: count.map(|count| seen(&Some(count))),
        back: "/dead".to_owned(),
        has_file: false,
    }
    .render(cx, fields, error)
}

async fn act(cx: Cx, purge: bool, fields: Given) -> Response {
    match attempt(&cx, purge, &fields).await {
        Ok(message) => form::go(&cx, "/dead", &message),
        Err(error) => match (error.text_or_stale(&cx), error.status()) {
            (Some(text), status) => (status, ask(&cx, purge, &fields, Some(&text)).await).into_response(),
            _ => error.page(&cx),
        },
    }
}

async fn attempt(cx: &Cx, purge: bool, fields: &Given) -> PageResult<String> {
    let who = cx
        .who
        .as_ref()
        .filter(|who| who.sees_all())
        .ok_or(PageError::NotFound)?;
    if purge {
        check_name(cx, Damage::Much, fields, WORD)?;
    }
    if fields.contains_key("seen") {
        check_seen(fields, &messages(cx).await)?;
    }
    let rabbit = (cx.console.rabbit)().map_err(|error| PageError::Refused(cx.t.broker_not_set(&error)))?;
    let (db, actor, a) = (&cx.console.db, who.actor(), &cx.t.actions);
    let outcome = match purge {
        true => dead_messages::purge(db, &actor, &rabbit)
            .await
            .map(|count| a.purged.replace("{count}", &count.to_string())),
        false => dead_messages::redrive(db, &actor, &rabbit, LIMIT)
            .await
            .map(|outcome| {
                let left = outcome.unreadable + outcome.unwanted + outcome.refused;
                a.redriven
                    .replace("{count}", &outcome.redriven.to_string())
                    .replace("{left}", &left.to_string())
            }),
    };
    rabbit.close().await;
    cx.console.on_demand.forget_dead().await;
    Ok(outcome?)
}
