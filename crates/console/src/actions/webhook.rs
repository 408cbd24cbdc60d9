//! Adds, tries and removes webhooks, and sends dead messages again.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use secrecy::ExposeSecret;
use serde::Serialize;
use tidemark_ledger::webhook::NewWebhook;
use tidemark_operations::webhooks::{self, AddedWebhook, WebhookView};
use tidemark_shared::ids::TenantId;
use tidemark_shared::webhook::{WebhookEvent, WebhookFormat};

use super::Damage;
use super::form::{self, Dialog, Given, check_name, check_seen, seen, text_field};
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{code_line, command, head};
use crate::pages::webhooks::load;
use crate::routes::Routes;

type Fields = Vec<(String, String)>;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/webhooks/do/add", Right::Administer, |cx: Cx| async move {
            ask_add(&cx, &Vec::new(), None)
        })
        .post("/webhooks/do/add", Right::Administer, add_one)
        .post("/webhooks/{webhook}/do/test", Right::Operate, test)
        .post("/webhooks/{webhook}/do/retry", Right::Operate, retry_all)
        .post(
            "/webhooks/{webhook}/messages/{message}/do/retry",
            Right::Operate,
            retry_one,
        )
        .get("/webhooks/{webhook}/do/remove", Right::Administer, ask_remove)
        .post("/webhooks/{webhook}/do/remove", Right::Administer, remove)
}

fn ask_add(cx: &Cx, fields: &Fields, error: Option<&str>) -> Markup {
    let w = &cx.t.webhooks;
    let has = |name: &str, value: &str| fields.iter().any(|(n, v)| n == name && v == value);
    let given: Given = fields.iter().cloned().collect();
    let is_slack = has("format", WebhookFormat::Slack.as_str());
    Dialog {
        title: w.add.to_owned(),
        text: w.add_effect,
        numbers: Vec::new(),
        fields: html! {
            (text_field("url", w.url, w.url_hint, &given, true))
            fieldset {
                legend { (w.events) }
                @for event in WebhookEvent::ALL {
                    label.check { input type="checkbox" name="event" value=(event.as_str()) checked[has("event", event.as_str())]; span { (cx.t.event(event.as_str())) " " code { (event.as_str()) } } }
                }
            }
            (text_field("tenant", cx.t.pages.tenant, w.tenant_hint, &given, false))
            label.field { span { (w.format) } select name="format" {
                option value="json" { (w.json) }
                option value="slack" selected[is_slack] { (w.slack) }
            } }
        },
        action: cx.links.to("/webhooks/do/add"),
        button: w.add,
        command: "tidemark webhook add --url URL --event run.failed,tenant.late".to_owned(),
        damage: Damage::Some,
        name: "",
        seen: None,
        back: "/webhooks".to_owned(),
        has_file: false,
    }
    .render(cx, &given, error)
}

async fn add_one(cx: Cx, Form(fields): Form<Fields>) -> Response {
    match try_add(&cx, &fields).await {
        Ok(added) => shown_once(&cx, &added).into_response(),
        Err(error) => match (error.text_or_stale(&cx), error.status()) {
            (Some(text), status) => (status, ask_add(&cx, &fields, Some(&text))).into_response(),
            _ => error.page(&cx),
        },
    }
}

async fn try_add(cx: &Cx, fields: &Fields) -> PageResult<AddedWebhook> {
    let one = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    };
    let is_named = |event: &&WebhookEvent| {
        fields
            .iter()
            .any(|(name, value)| name == "event" && value == event.as_str())
    };
    let tenant = match one("tenant") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| PageError::Refused(cx.t.actions.not_a_number.replace("{text}", text)))?,
        ),
    };
    let format = one("format").and_then(|name| {
        WebhookFormat::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
    });
    let new = NewWebhook {
        url: one("url")
            .ok_or_else(|| PageError::Refused(cx.t.actions.is_needed.replace("{field}", cx.t.webhooks.url)))?
            .to_owned(),
        events: WebhookEvent::ALL.iter().filter(is_named).copied().collect(),
        tenant,
        format: format.unwrap_or(WebhookFormat::Json),
    };
    if new.events.is_empty() {
        return Err(PageError::Refused(cx.t.webhooks.one_event.to_owned()));
    }
    add_within_scope(cx, &new).await
}

/// Only who sees every tenant adds a webhook for all.
pub async fn add_within_scope(cx: &Cx, new: &NewWebhook) -> PageResult<AddedWebhook> {
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let sees = |tenant: Option<TenantId>| tenant.map_or(who.sees_all(), |tenant| who.sees(tenant));
    if !sees(new.tenant) {
        return Err(PageError::NotFound);
    }
    let console = &cx.console;
    let key = console.settings.webhook_key.as_ref();
    Ok(webhooks::add(&console.db, &who.actor(), key, new).await?)
}

/// The secret, for the only time.
fn shown_once(cx: &Cx, added: &AddedWebhook) -> Markup {
    let (w, id) = (&cx.t.webhooks, added.webhook.id);
    let title = w.added.replace("{id}", &id.to_string());
    let body = html! {
        (head(&title, &html! { span.sub { (added.webhook.host) } }))
        @match &added.secret {
            Some(secret) => { p { (w.secret) } (code_line(cx, secret.expose_secret())) },
            None => p { (w.unsigned) },
        }
        p { a.button.primary href=(cx.links.to(&format!("/webhooks/{id}"))) { (w.go_on) } }
        (command(cx, &format!("tidemark webhook test {id}")))
    };
    whole_page(cx, Section::Webhooks, &title, &body)
}

async fn test(cx: Cx, Path(id): Path<i32>) -> Response {
    match try_test(&cx, id).await {
        Ok(message) => form::go(&cx, &format!("/webhooks/{id}"), &message),
        Err(error) => error.page(&cx),
    }
}

async fn try_test(cx: &Cx, id: i32) -> PageResult<String> {
    load(cx, id).await?;
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let message = webhooks::begin_test(&cx.console.db, &who.actor(), id).await?;
    let tried = webhooks::wait_for_test(&cx.console.db, message).await?;
    let w = &cx.t.webhooks;
    Ok(match &tried.error {
        Some(error) => w.test_failed.replace("{error}", error),
        None => w.test_took.to_owned(),
    })
}

async fn retry_all(cx: Cx, Path(id): Path<i32>, Form(fields): Form<Given>) -> Response {
    retry(&cx, id, None, &fields).await
}

async fn retry_one(cx: Cx, Path((id, message)): Path<(i32, i64)>, Form(fields): Form<Given>) -> Response {
    retry(&cx, id, Some(message), &fields).await
}

async fn retry(cx: &Cx, id: i32, only: Option<i64>, fields: &Given) -> Response {
    match retry_seen(cx, id, only, fields).await {
        Ok(count) => {
            let text = cx.t.webhooks.retried.replace("{count}", &count.to_string());
            form::go(cx, &format!("/webhooks/{id}"), &text)
        }
        Err(error) => error.page(cx),
    }
}

/// One message that is sent twice is refused by its own state, so only all of them are compared with the page.
async fn retry_seen(cx: &Cx, id: i32, only: Option<i64>, fields: &Given) -> PageResult<u64> {
    if only.is_none() {
        check_seen(fields, &load(cx, id).await?.dead)?;
    }
    try_retry(cx, id, only).await
}

pub async fn try_retry(cx: &Cx, id: i32, only: Option<i64>) -> PageResult<u64> {
    load(cx, id).await?;
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    Ok(webhooks::retry(&cx.console.db, &who.actor(), id, only).await?)
}

async fn ask_remove(cx: Cx, Path(id): Path<i32>) -> Response {
    match remove_dialog(&cx, id, &BTreeMap::new(), None).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

/// What a removal takes with it. What is delivered stays delivered.
fn lost_with(webhook: &WebhookView) -> impl Serialize {
    (webhook.created_at, webhook.waiting, webhook.dead)
}

async fn remove_dialog(cx: &Cx, id: i32, given: &Given, error: Option<&str>) -> PageResult<Markup> {
    let w = &cx.t.webhooks;
    let webhook = load(cx, id).await?;
    let dialog = Dialog {
        title: format!("{}: {}", w.remove, webhook.host),
        text: w.remove_effect,
        numbers: vec![
            (w.waiting, cx.count(webhook.waiting)),
            (w.delivered, cx.count(webhook.delivered)),
            (w.dead, cx.count(webhook.dead)),
        ],
        fields: html! {},
        action: cx.links.to(&format!("/webhooks/{id}/do/remove")),
        button: w.remove,
        command: format!("tidemark webhook remove {id}"),
        damage: Damage::Much,
        name: &webhook.host,
        seen: Some(seen(&lost_with(&webhook))),
        back: format!("/webhooks/{id}"),
        has_file: false,
    };
    Ok(dialog.render(cx, given, error))
}

async fn remove(cx: Cx, Path(id): Path<i32>, Form(fields): Form<Given>) -> Response {
    match try_remove(&cx, id, &fields).await {
        Ok(()) => {
            let text = cx.t.webhooks.removed.replace("{id}", &id.to_string());
            form::go(&cx, "/webhooks", &text)
        }
        Err(error) => match (error.text_or_stale(&cx), error.status()) {
            (Some(text), status) => match remove_dialog(&cx, id, &fields, Some(&text)).await {
                Ok(page) => (status, page).into_response(),
                Err(other) => other.page(&cx),
            },
            _ => error.page(&cx),
        },
    }
}

pub async fn try_remove(cx: &Cx, id: i32, fields: &Given) -> PageResult<()> {
    let webhook = load(cx, id).await?;
    check_seen(fields, &lost_with(&webhook))?;
    check_name(cx, Damage::Much, fields, &webhook.host)?;
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    Ok(webhooks::remove(&cx.console.db, &who.actor(), id).await?)
}
