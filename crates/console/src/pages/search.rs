//! One field for everything: a run, a chunk, a tenant, a conversation, a trace, an inbox.

use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tidemark_ledger as ledger;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};

use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{empty, head, run_in_short, tenant_link};

const SHOWN: usize = 50;

#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    q: String,
}

/// What a text stands for.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Chunk(ChunkId),
    Conversation(TenantId, i64),
    /// A run, a tenant or an inbox.
    Number(i64),
    Trace(String),
    Text(String),
}

fn meaning(text: &str) -> Meaning {
    let text = text.trim();
    if let Ok(chunk) = text.parse() {
        return Meaning::Chunk(chunk);
    }
    if let Some((tenant, conversation)) = text.split_once(':')
        && let (Ok(tenant), Ok(conversation)) = (tenant.parse(), conversation.parse())
    {
        return Meaning::Conversation(tenant, conversation);
    }
    if let Ok(number) = text.parse() {
        return Meaning::Number(number);
    }
    if text.len() == 32 && text.chars().all(|sign| sign.is_ascii_hexdigit()) {
        return Meaning::Trace(text.to_lowercase());
    }
    Meaning::Text(text.to_lowercase())
}

pub async fn page(cx: Cx, Query(asked): Query<Asked>) -> Response {
    let to = match meaning(&asked.q) {
        Meaning::Chunk(chunk) => Some(format!(
            "{}?after={}#chunks",
            cx.links.run(chunk.run_id),
            chunk.seq - 1
        )),
        Meaning::Conversation(tenant, conversation) => Some(cx.links.conversation(tenant, conversation)),
        _ => None,
    };
    if let Some(to) = to {
        return Redirect::to(&to).into_response();
    }
    match build(cx.clone(), &asked.q).await {
        Ok(found) => found,
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, text: &str) -> PageResult<Response> {
    let look = cx.console.watcher.look().await?;
    let cx = cx.at(look.now());
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let (db, snapshot) = (&cx.console.db, &look.snapshot);
    let meaning = meaning(text);
    let runs: Vec<RunId> = match &meaning {
        Meaning::Number(number) => vec![RunId(*number)],
        Meaning::Trace(trace) => ledger::console::view::find_runs_of_trace(db, trace).await?,
        _ => Vec::new(),
    };
    let mut runs = ledger::run::reports(db, &runs).await?;
    runs.retain(|run| who.sees(run.tenant_id));
    let of_inbox: Vec<TenantId> = match &meaning {
        Meaning::Number(number) => match i32::try_from(*number) {
            Ok(inbox) => ledger::console::view::find_tenants_of_inbox(db, inbox).await?,
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    };
    let is_asked = |tenant: &&tidemark_shared::tenant::Tenant| match &meaning {
        Meaning::Number(number) => i64::from(tenant.id.0) == *number || of_inbox.contains(&tenant.id),
        Meaning::Text(text) => {
            !text.is_empty() && (tenant.name.to_lowercase().contains(text) || tenant.slug.contains(text))
        }
        _ => false,
    };
    let tenants: Vec<_> = snapshot
        .tenants
        .values()
        .filter(|tenant| who.sees(tenant.id))
        .filter(is_asked)
        .take(SHOWN)
        .collect();
    // one thing: there
    match (runs.as_slice(), tenants.as_slice()) {
        ([run], []) => return Ok(Redirect::to(&cx.links.run(run.run_id)).into_response()),
        ([], [tenant]) => return Ok(Redirect::to(&cx.links.tenant(tenant.id)).into_response()),
        _ => {}
    }
    let p = &cx.t.pages;
    let body = html! {
        (head(&format!("{}: {}", cx.t.common.search, text), &html! {}))
        @if runs.is_empty() && tenants.is_empty() { (empty(cx.t.common.nothing_here)) (hints(&cx)) }
        @if !tenants.is_empty() {
            section { h2 { (p.tenants) } ul.plain-list { @for tenant in tenants { li {
                (tenant_link(&cx, tenant.id, &tenant.name))
                @if of_inbox.contains(&tenant.id) { " " span.sub { (p.inbox) " " (text) } }
            } } } }
        }
        @if !runs.is_empty() {
            section { h2 { (p.runs) } ul.plain-list { @for run in &runs { li { (run_in_short(&cx, run)) } } } }
        }
    };
    Ok(whole_page(&cx, Section::None, cx.t.common.search, &body).into_response())
}

fn hints(cx: &Cx) -> Markup {
    html! { p.note { (cx.t.common.search_hint) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_what_it_looks_like() {
        let chunk = ChunkId {
            run_id: RunId(18),
            seq: 3,
        };
        assert_eq!(meaning(" 18/3 "), Meaning::Chunk(chunk));
        assert_eq!(meaning("1:4711"), Meaning::Conversation(TenantId(1), 4711));
        assert_eq!(meaning("18"), Meaning::Number(18));
        assert_eq!(meaning("Acme: Ltd"), Meaning::Text("acme: ltd".to_owned()));
        let trace = "4BF92F3577B34DA6A3CE929D0E0E4736";
        assert_eq!(meaning(trace), Meaning::Trace(trace.to_lowercase()));
    }
}
