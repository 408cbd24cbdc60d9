//! Webhooks: where events are reported, and the messages with their state.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger::webhook::WebhookMessage;
use tidemark_operations::page::Page;
use tidemark_operations::webhooks::{self, WebhookView};

use crate::actions::button;
use crate::actions::form::seen;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{Tone, badge, command, empty, facts, head, or_none, pager, quantity};

const A_PAGE: i64 = 50;

/// A webhook of a tenant that the author sees. One for all tenants is of those who see all.
pub async fn load(cx: &Cx, id: i32) -> PageResult<WebhookView> {
    let found = tidemark_ledger::webhook::list(&cx.console.db, Some(id))
        .await?
        .pop();
    let found = found.map(WebhookView::from).filter(|webhook| sees(cx, webhook));
    found.ok_or(PageError::NotFound)
}

pub fn sees(cx: &Cx, webhook: &WebhookView) -> bool {
    cx.who.as_ref().is_some_and(|who| match webhook.tenant_id {
        Some(tenant) => who.sees(tenant),
        None => who.sees_all(),
    })
}

pub async fn list(cx: Cx) -> Response {
    match build_list(&cx).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build_list(cx: &Cx) -> PageResult<Markup> {
    let w = &cx.t.webhooks;
    let mut found = webhooks::list(&cx.console.db).await?;
    found.retain(|webhook| sees(cx, webhook));
    let body = html! {
        (head(w.title, &button::add_webhook(cx)))
        p.lead { (w.lead) }
        @if found.is_empty() { (empty(w.none)) } @else { (table(cx, &found)) }
        (command(cx, "tidemark webhook list"))
    };
    Ok(whole_page(cx, Section::Webhooks, w.title, &body))
}

fn table(cx: &Cx, found: &[WebhookView]) -> Markup {
    let (w, p) = (&cx.t.webhooks, &cx.t.pages);
    html! {
        div.scroll tabindex="0" role="region" aria-label=(w.title) {
            table.stack {
                thead { tr {
                    th scope="col" { (w.webhook) } th scope="col" { (w.host) } th scope="col" { (w.events) } th scope="col" { (p.tenant) }
                    th.number scope="col" { (w.waiting) } th.number scope="col" { (w.delivered) } th.number scope="col" { (w.dead) }
                    th scope="col" { (w.last) } th scope="col" { (p.error) }
                } }
                tbody { @for webhook in found { tr {
                    th scope="row" { a.id href=(cx.links.to(&format!("/webhooks/{}", webhook.id))) { (webhook.id) } }
                    td data-label=(w.host) { (webhook.host) }
                    td.wide data-label=(w.events) { (events(cx, webhook)) }
                    td data-label=(p.tenant) { (tenant(cx, webhook)) }
                    td.number data-label=(w.waiting) { (quantity(cx, webhook.waiting)) }
                    td.number data-label=(w.delivered) { (quantity(cx, webhook.delivered)) }
                    td.number data-label=(w.dead) { (quantity(cx, webhook.dead)) }
                    td data-label=(w.last) { (cx.maybe_time(webhook.delivered_at)) }
                    td.wide data-label=(p.error) { (or_none(webhook.error.as_deref())) }
                } } }
            }
        }
    }
}

fn events(cx: &Cx, webhook: &WebhookView) -> String {
    let words: Vec<&str> = webhook.events.iter().map(|event| cx.t.event(event)).collect();
    words.join(", ")
}

fn tenant(cx: &Cx, webhook: &WebhookView) -> Markup {
    match webhook.tenant_id {
        Some(tenant) => html! { a.id href=(cx.links.tenant(tenant)) { (tenant) } },
        None => html! { (cx.t.webhooks.all_tenants) },
    }
}

fn format_of(cx: &Cx, format: &str) -> &'static str {
    match format {
        "slack" => cx.t.webhooks.slack,
        _ => cx.t.webhooks.json,
    }
}

pub async fn page(cx: Cx, Path(id): Path<i32>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let before = query.get("before").and_then(|id| id.parse().ok());
    match build(&cx, id, before).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: &Cx, id: i32, before: Option<i64>) -> PageResult<Markup> {
    let (w, p) = (&cx.t.webhooks, &cx.t.pages);
    let webhook = load(cx, id).await?;
    let page = webhooks::list_messages(&cx.console.db, id, before, A_PAGE).await?;
    let title = format!("{} {id}", w.webhook);
    let body = html! {
        (head(&title, &html! { span.sub { (webhook.host) } }))
        div.toolbar {
            (button::test_webhook(cx, id))
            @if webhook.dead > 0 { (button::retry_webhook(cx, id, None, Some(seen(&webhook.dead)))) }
            (button::remove_webhook(cx, id))
        }
        (facts(&[
            (w.events, html! { (events(cx, &webhook)) }),
            (p.tenant, tenant(cx, &webhook)),
            (w.format, html! { (format_of(cx, &webhook.format)) }),
            (p.by, html! { (webhook.created_by) }),
            (p.created, cx.time(webhook.created_at)),
            (w.waiting, html! { span.number { (cx.count(webhook.waiting)) } }),
            (w.delivered, html! { span.number { (cx.count(webhook.delivered)) } }),
            (w.dead, html! { span.number { (cx.count(webhook.dead)) } }),
        ]))
        section { h2 { (w.messages) } (messages(cx, id, before, &page)) }
        (command(cx, &format!("tidemark webhook show {id}")))
    };
    Ok(whole_page(cx, Section::Webhooks, &title, &body))
}

fn messages(cx: &Cx, id: i32, before: Option<i64>, page: &Page<WebhookMessage, i64>) -> Markup {
    let (w, p) = (&cx.t.webhooks, &cx.t.pages);
    if page.items.is_empty() {
        return empty(cx.t.common.nothing_here);
    }
    let older = page
        .next
        .map(|message| cx.links.to(&format!("/webhooks/{id}?before={message}")));
    let newest = before.map(|_| cx.links.to(&format!("/webhooks/{id}")));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(w.messages) {
            table.stack {
                thead { tr {
                    th scope="col" { (w.message) } th scope="col" { (w.event) } th scope="col" { (p.tenant) } th scope="col" { (p.created) }
                    th scope="col" { (p.state) } th.number scope="col" { (w.attempts) } th scope="col" { (w.next) } th.number scope="col" { (w.answer) }
                    th scope="col" { (p.error) } th scope="col" { span.hidden { (p.actions) } }
                } }
                tbody { @for message in &page.items { tr {
                    th scope="row" { (message.id) }
                    td data-label=(w.event) { (cx.t.event(&message.event)) }
                    td data-label=(p.tenant) { @match message.tenant_id { Some(tenant) => a.id href=(cx.links.tenant(tenant)) { (tenant) }, None => span.none { "–" } } }
                    td data-label=(p.created) { (cx.time(message.created_at)) }
                    td data-label=(p.state) { (state(cx, message)) }
                    td.number data-label=(w.attempts) { (message.attempt) }
                    td data-label=(w.next) { (cx.maybe_time(message.due_at)) }
                    td.number data-label=(w.answer) { @match message.status_code { Some(code) => (code), None => span.none { "–" } } }
                    td.wide data-label=(p.error) { (or_none(message.error.as_deref())) }
                    td { @if message.dead_at.is_some() && message.event != tidemark_shared::webhook::TEST_EVENT { (button::retry_webhook(cx, id, Some(message.id), None)) } }
                } } }
            }
        }
        (pager(cx, newest.as_deref(), older.as_deref()))
    }
}

fn state(cx: &Cx, message: &WebhookMessage) -> Markup {
    let w = &cx.t.webhooks;
    match (message.delivered_at, message.dead_at) {
        (Some(_), _) => badge(Tone::Good, w.state_delivered),
        (_, Some(_)) => badge(Tone::Bad, w.state_dead),
        _ if message.error.is_some() => badge(Tone::Warn, w.state_waiting),
        _ => badge(Tone::Active, w.state_waiting),
    }
}
