//! Who did what, when, from where and why.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::Value;
use tidemark_ledger::audit::{AuditFilter, Recorded};
use tidemark_operations::audit;
use tidemark_shared::audit::{Action, ActionResult};
use tidemark_shared::ids::TenantId;

use super::scope;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{Tone, badge, head, no_match, or_none, pager};
use crate::links::encode;

/// Changed fields that are shown at once; more are folded.
const CHANGES: usize = 4;
const A_PAGE: i64 = 100;

#[derive(Debug, Default)]
struct Asked {
    tenant: Option<TenantId>,
    actor: Option<String>,
    action: Option<Action>,
    before: Option<i64>,
}

impl Asked {
    fn of(query: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| {
            query
                .get(name)
                .map(|text| text.trim())
                .filter(|text| !text.is_empty())
        };
        Self {
            tenant: text("tenant").and_then(|id| id.parse().ok()),
            actor: text("actor").map(str::to_owned),
            action: text("action")
                .and_then(|name| Action::ALL.iter().copied().find(|action| action.as_str() == name)),
            before: text("before").and_then(|id| id.parse().ok()),
        }
    }

    const fn is_set(&self) -> bool {
        self.tenant.is_some() || self.actor.is_some() || self.action.is_some()
    }

    fn link(&self, before: Option<i64>) -> String {
        let mut link = "/audit?".to_owned();
        if let Some(tenant) = self.tenant {
            link += &format!("tenant={tenant}&");
        }
        if let Some(actor) = &self.actor {
            link += &format!("actor={}&", encode(actor));
        }
        if let Some(action) = self.action {
            link += &format!("action={}&", action.as_str());
        }
        if let Some(before) = before {
            link += &format!("before={before}");
        }
        link
    }
}

pub async fn page(cx: Cx, Query(query): Query<BTreeMap<String, String>>) -> Response {
    match build(&cx, &Asked::of(&query)).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: &Cx, asked: &Asked) -> PageResult<Markup> {
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let (p, db) = (&cx.t.pages, &cx.console.db);
    let of = |tenant| async move {
        let filter = AuditFilter {
            tenant,
            actor: asked.actor.clone(),
            actions: asked.action.into_iter().collect(),
            since: None,
        };
        Ok(audit::list(db, &filter, asked.before, A_PAGE).await?.items)
    };
    let entries = scope::list(who, asked.tenant, of, |entries: &mut Vec<Recorded>| {
        entries.sort_by_key(|entry| Reverse(entry.id));
        entries.truncate(usize::try_from(A_PAGE).unwrap_or_default());
    })
    .await?;
    let more = i64::try_from(entries.len()).is_ok_and(|count| count == A_PAGE);
    let older = entries
        .last()
        .filter(|_| more)
        .map(|entry| cx.links.to(&asked.link(Some(entry.id))));
    let newest = asked.before.map(|_| cx.links.to(&asked.link(None)));
    let body = html! {
        (head(p.audit, &html! {}))
        p.lead { (p.audit_lead) }
        (filters(cx, asked))
        @if entries.is_empty() { (no_match(cx, "/audit", asked.is_set())) }
        @else { (table(cx, &entries)) (pager(cx, newest.as_deref(), older.as_deref())) }
    };
    Ok(whole_page(cx, Section::Audit, p.audit, &body))
}

fn filters(cx: &Cx, asked: &Asked) -> Markup {
    let p = &cx.t.pages;
    html! {
        form.filters method="get" action=(cx.links.to("/audit")) data-auto {
            label.field { span { (p.action) } select name="action" {
                option value="" { (cx.t.common.all) }
                @for action in Action::ALL { option value=(action.as_str()) selected[asked.action == Some(*action)] { (cx.t.act(action.as_str())) } }
            } }
            label.field { span { (p.tenant) } input type="text" inputmode="numeric" name="tenant" value=[asked.tenant]; }
            label.field { span { (p.by) } input type="text" name="actor" placeholder="console:" value=[asked.actor.as_ref()]; }
            button type="submit" { (cx.t.common.filter) }
        }
    }
}

/// The field with the reason why an item of a job was skipped.
const WHY: &str = "why";

fn tone(result: &str) -> Tone {
    match result {
        done if done == ActionResult::Done.as_str() => Tone::Good,
        begun if begun == ActionResult::Begun.as_str() => Tone::Active,
        refused if refused == ActionResult::Refused.as_str() => Tone::Warn,
        failed if failed == ActionResult::Failed.as_str() => Tone::Bad,
        _ => Tone::Quiet,
    }
}

pub fn table(cx: &Cx, entries: &[Recorded]) -> Markup {
    let p = &cx.t.pages;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.audit) {
            table.stack {
                thead { tr { th scope="col" { (p.when) } th scope="col" { (p.by) } th scope="col" { (p.action) } th scope="col" { (p.tenant) } th scope="col" { (p.subject) } th scope="col" { (cx.t.common.reason) } th scope="col" { (p.change) } th scope="col" { (p.result) } } }
                tbody { @for entry in entries {
                    tr {
                        td data-label=(p.when) { (cx.time(entry.acted_at)) }
                        td data-label=(p.by) { (entry.actor) @if let Some(origin) = &entry.origin { " " span.sub { (origin) } } }
                        td data-label=(p.action) { (cx.t.act(&entry.action)) div.sub { (entry.action) } }
                        td data-label=(p.tenant) { @if let Some(tenant) = entry.tenant_id { a href=(cx.links.tenant(tenant)) { (tenant) } } @else { "–" } }
                        td data-label=(p.subject) { (or_none(entry.subject.as_deref())) }
                        td.wide data-label=(cx.t.common.reason) { (or_none(entry.reason.as_deref())) }
                        td.wide data-label=(p.change) { (change(cx, entry)) }
                        td data-label=(p.result) { (badge(tone(&entry.result), cx.t.action_result(&entry.result))) }
                    }
                } }
            }
        }
    }
}

/// Each field with its value before and after; a value that is no object is a field without a name.
fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<(String, Option<String>, Option<String>)> {
    let fields = |value: Option<&Value>| -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match value {
            None => BTreeMap::new(),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            Some(value) => [(String::new(), text(value))].into(),
        }
    };
    let (mut before, mut after) = (fields(before), fields(after));
    let names: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
    let line = |name: String| {
        let (old, new) = (before.remove(&name), after.remove(&name));
        (name, old, new)
    };
    names.into_iter().map(line).collect()
}

fn change_list(cx: &Cx, lines: &[(String, Option<String>, Option<String>)]) -> Markup {
    html! {
        ul.changes {
            @for (name, old, new) in lines {
                li {
                    @if !name.is_empty() { span.sub { (name) } }
                    @if let Some(old) = old { code { (old) } }
                    @if old.is_some() && new.is_some() { " → " }
                    @if let Some(new) = new { code { @if name == WHY { (cx.t.skipped_why(new)) } @else { (new) } } }
                }
            }
        }
    }
}

fn change(cx: &Cx, entry: &Recorded) -> Markup {
    html! {
        @match (&entry.before, &entry.after) {
            (None, None) => "–",
            (before, after) => {
                @let lines = changes(before.as_ref(), after.as_ref());
                @if lines.len() > CHANGES {
                    details { summary { (lines.len()) } (change_list(cx, &lines)) }
                } @else { (change_list(cx, &lines)) }
            }
        }
    }
}
