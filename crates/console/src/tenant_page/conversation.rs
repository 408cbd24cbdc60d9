//! One conversation with its messages.

use axum::extract::{Path, Query as QueryOf};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDateTime, Utc};
use maud::{Markup, html};
use serde_json::Value;
use tidemark_ledger::tenant_page::rows::Conversation;

use super::filters::Query;
use super::visit::Visit;
use super::words;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{fact_rows, or_none};

pub async fn page(cx: Cx, Path((slug, id)): Path<(String, i64)>, QueryOf(query): QueryOf<Query>) -> Response {
    match build(cx.clone(), &slug, id, query.contains_key("values")).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, slug: &str, id: i64, values: bool) -> PageResult<Markup> {
    let mut visit = Visit::open(cx, slug).await?;
    let found = visit.look.conversation(id).await?.ok_or(PageError::NotFound)?;
    let shows = visit.reveal(values, &format!("conversation {id}")).await?;
    let cx = &visit.cx;
    let number = found.row.display_id.map_or(id, i64::from);
    let title = format!("{} {number}", cx.t.visit.conversation);
    let body = html! {
        p.sub { a href={ (visit.path) "/conversations" } { "← " (cx.t.visit.conversations) } }
        header.head { h1 { (title) } }
        @if visit.may_ask_for_values() && !shows {
            p { a.button href="?values=1" { (cx.t.visit.show_values) } " " span.note { (cx.t.visit.show_values_note) } }
        }
        div.split.visit-conversation {
            section { h2 { (cx.t.visit.messages) } (messages(cx, &found, shows)) }
            section.card { (about(cx, &found, shows)) }
        }
    };
    Ok(whole_page(cx, Section::None, &title, &body))
}

fn about(cx: &Cx, found: &Conversation, shows: bool) -> Markup {
    let text = &cx.t.visit;
    let cells = words::cells(cx, &found.row, shows);
    let mut rows: Vec<(&str, Markup)> = words::columns(cx)
        .into_iter()
        .zip(&cells)
        .skip(1)
        .map(|(column, cell)| (column, or_none(cell.as_deref())))
        .collect();
    let labels = Some(found.labels.join(", ")).filter(|labels| !labels.is_empty());
    rows.extend([
        (
            text.email,
            or_none(words::personal(found.contact_email.as_deref(), shows).as_deref()),
        ),
        (text.labels, or_none(labels.as_deref())),
        (
            text.resolved_at,
            or_none(found.resolved_at.map(|at| words::minute(cx, at)).as_deref()),
        ),
        (
            text.reopened,
            or_none(
                found
                    .reopened_count
                    .map(|count| cx.count(count.into()))
                    .as_deref(),
            ),
        ),
        (
            text.feedback,
            or_none(words::personal(found.csat_feedback.as_deref(), shows).as_deref()),
        ),
    ]);
    fact_rows(&rows)
}

fn messages(cx: &Cx, found: &Conversation, shows: bool) -> Markup {
    let all = found.message_compiled.as_ref().and_then(Value::as_array);
    let Some(all) = all.filter(|all| !all.is_empty()) else {
        return html! { p.empty { (cx.t.visit.no_messages) } };
    };
    html! {
        ol.messages {
            @for message in all {
                @let side = side(message);
                li class={ "message " (side) } {
                    p { (words::personal(message["text"].as_str().filter(|text| !text.is_empty()), shows).as_deref().unwrap_or(cx.t.visit.deleted_message)) }
                    div.sub {
                        (sender(cx, message, side))
                        @if let Some(at) = sent_at(message) { " · " time datetime=(at.to_rfc3339()) { (words::minute(cx, at)) } }
                    }
                }
            }
        }
    }
}

/// Where it stands: from the contact, to the contact, seen by agents alone, or what happened.
fn side(message: &Value) -> &'static str {
    if message["private"].as_bool() == Some(true) {
        return "note";
    }
    match (message["message_type"].as_i64(), message["sender"].as_str()) {
        (Some(2), _) => "event",
        (_, Some("Contact")) | (Some(0), _) => "contact",
        _ => "agent",
    }
}

fn sender<'a>(cx: &Cx, message: &'a Value, side: &str) -> &'a str {
    let text = &cx.t.visit;
    match (side, message["sender"].as_str()) {
        ("note", _) => text.private_note,
        (_, Some("Contact")) => text.contact,
        (_, Some("User")) => text.agent,
        (_, Some("AgentBot" | "Captain::Assistant")) => text.bot,
        (_, Some(other)) => other,
        (_, None) => "–",
    }
}

/// As the source has it: UTC without a zone.
fn sent_at(message: &Value) -> Option<DateTime<Utc>> {
    let text = message["sent_at"].as_str()?;
    text.parse::<NaiveDateTime>().ok().map(|at| at.and_utc())
}
