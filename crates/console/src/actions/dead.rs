//! Redrives and purges dead messages.

use std::collections::BTreeMap;

use axum::Form;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_broker::Queue;
use tidemark_operations::dead_messages;

use super::Damage;
use super::form::{self, Dialog, Given, check_name};
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
            ask(&cx, false, &BTreeMap::new(), None)
        })
        .post(
            "/dead/do/redrive",
            Right::Operate,
            |cx: Cx, Form(given): Form<Given>| act(cx, false, given),
        )
        .get("/dead/do/purge", Right::Administer, |cx: Cx| async move {
            ask(&cx, true, &BTreeMap::new(), None)
        })
        .post(
            "/dead/do/purge",
            Right::Administer,
            |cx: Cx, Form(given): Form<Given>| act(cx, true, given),
        )
}

fn ask(cx: &Cx, purge: bool, fields: &Given, error: Option<&str>) -> Markup {
    let a = &cx.t.actions;
    let (name, title, text, damage) = match purge {
        true => ("purge", a.purge, a.purge_effect, Damage::Much),
        false => ("redrive", a.redrive, a.redrive_effect, Damage::Some),
    };
    Dialog {
        title: title.to_owned(),
        text,
        numbers: Vec::new(),
        fields: html! {},
        action: cx.links.to(&format!("/dead/do/{name}")),
        button: title,
        command: match purge {
            true => "tidemark dead purge --yes".to_owned(),
            false => "tidemark dead redrive".to_owned(),
        },
        damage,
        name: WORD,
        seen: None,
        back: "/dead".to_owned(),
        has_file: false,
    }
    .render(cx, fields, error)
}

async fn act(cx: Cx, purge: bool, fields: Given) -> Response {
    match attempt(&cx, purge, &fields).await {
        Ok(message) => form::go(&cx, "/dead", &message),
        Err(error) => match (error.text(), error.status()) {
            (Some(text), status) => (status, ask(&cx, purge, &fields, Some(&text))).into_response(),
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
    let rabbit = (cx.console.rabbit)().map_err(PageError::Refused)?;
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
