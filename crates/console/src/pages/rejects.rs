//! Rejected conversations: first by cause, then one by one. No values.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger::reject::{RejectFilter, RejectGroup, RejectSide, RejectedRow};
use tidemark_operations::bulk::BulkAction;
use tidemark_operations::lists;
use tidemark_shared::ids::{ConversationKey, TenantId};

use super::scope;
use crate::actions::bulk::{chooser, tick};
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{command, empty, head, no_match, or_none, pager, run_link};
use crate::links::encode;

const A_PAGE: i64 = 100;
const GROUPS: i64 = 50;

#[derive(Debug, Default)]
struct Asked {
    tenant: Option<TenantId>,
    side: Option<RejectSide>,
    sqlstate: Option<String>,
    error: Option<String>,
    after: Option<ConversationKey>,
}

impl Asked {
    fn of(query: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| {
            query
                .get(name)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let is_code = |text: &&str| text.len() <= 5 && text.chars().all(|sign| sign.is_ascii_alphanumeric());
        Self {
            tenant: text("tenant").and_then(|id| id.parse().ok()),
            side: text("side")
                .and_then(|text| RejectSide::ALL.into_iter().find(|side| side.as_str() == text)),
            sqlstate: text("sqlstate").filter(is_code).map(str::to_uppercase),
            error: text("error").map(str::to_owned),
            after: text("after").and_then(|key| key.parse().ok()),
        }
    }

    const fn is_set(&self) -> bool {
        self.tenant.is_some() || self.side.is_some() || self.sqlstate.is_some() || self.error.is_some()
    }

    /// The same, for an action on all that match.
    fn fields(&self) -> [(&'static str, Option<String>); 4] {
        [
            ("tenant", self.tenant.map(|tenant| tenant.to_string())),
            ("side", self.side.map(|side| side.as_str().to_owned())),
            ("sqlstate", self.sqlstate.clone()),
            ("error", self.error.clone()),
        ]
    }

    fn link(&self, after: Option<ConversationKey>) -> String {
        let mut link = "/rejects?".to_owned();
        if let Some(tenant) = self.tenant {
            link += &format!("tenant={tenant}&");
        }
        if let Some(side) = self.side {
            link += &format!("side={}&", side.as_str());
        }
        if let Some(sqlstate) = &self.sqlstate {
            link += &format!("sqlstate={}&", encode(sqlstate));
        }
        if let Some(error) = &self.error {
            link += &format!("error={}&", encode(error));
        }
        if let Some(after) = after {
            link += &format!("after={}", encode(&after.to_string()));
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
    let groups = |tenant| async move { Ok(lists::reject_groups(db, tenant, GROUPS).await?) };
    let groups = scope::list(who, asked.tenant, groups, merge_groups).await?;
    let of = |tenant| async move {
        let filter = RejectFilter {
            tenant,
            side: asked.side,
            sqlstate: asked.sqlstate.clone(),
            error: asked.error.clone(),
            ..RejectFilter::default()
        };
        let page = lists::rejects(db, &filter, asked.after, A_PAGE).await?;
        Ok(page.items)
    };
    let rows = scope::list(who, asked.tenant, of, |rows: &mut Vec<RejectedRow>| {
        rows.sort_by_key(RejectedRow::key);
        rows.truncate(usize::try_from(A_PAGE).unwrap_or_default());
    })
    .await?;
    let more = i64::try_from(rows.len()).is_ok_and(|count| count == A_PAGE);
    let older = rows
        .last()
        .filter(|_| more)
        .map(|row| cx.links.to(&asked.link(Some(row.key()))));
    let newest = asked.after.map(|_| cx.links.to(&asked.link(None)));
    let body = html! {
        (head(p.rejects, &html! {}))
        p.lead { (p.rejects_lead) }
        section { h2 { (p.by_cause) } (causes(cx, &groups)) }
        section {
            h2 { (p.conversations) }
            (filters(cx, asked))
            @if rows.is_empty() { (no_match(cx, "/rejects", asked.is_set())) }
            @else {
                (table(cx, &rows, true))
                (pager(cx, newest.as_deref(), older.as_deref()))
                (chooser(cx, &[BulkAction::RejectResync], &asked.fields(), &asked.link(None)))
            }
        }
        (command(cx, "tidemark rejected list"))
    };
    Ok(whole_page(cx, Section::Rejects, p.rejects, &body))
}

fn merge_groups(groups: &mut Vec<RejectGroup>) {
    let mut merged: Vec<RejectGroup> = Vec::new();
    for group in groups.drain(..) {
        let same = |other: &&mut RejectGroup| {
            (&other.side, &other.sqlstate, &other.error) == (&group.side, &group.sqlstate, &group.error)
        };
        match merged.iter_mut().find(same) {
            Some(other) => {
                other.rejects += group.rejects;
                other.tenants += group.tenants;
                other.last_seen_at = other.last_seen_at.max(group.last_seen_at);
            }
            None => merged.push(group),
        }
    }
    merged.sort_by_key(|group| std::cmp::Reverse(group.rejects));
    *groups = merged;
}

fn causes(cx: &Cx, groups: &[RejectGroup]) -> Markup {
    let p = &cx.t.pages;
    if groups.is_empty() {
        return empty(p.no_rejects);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.by_cause) {
            table.stack {
                thead { tr { th.number scope="col" { (p.rejects) } th scope="col" { (p.side) } th scope="col" { "SQLSTATE" } th scope="col" { (cx.t.pages.error) } th.number scope="col" { (p.tenants) } th scope="col" { (p.last_seen) } } }
                tbody { @for group in groups {
                    @let code = group.sqlstate.as_deref().unwrap_or_default();
                    tr {
                        td.number data-label=(p.rejects) { (cx.count(group.rejects)) }
                        td data-label=(p.side) { a href=(cx.links.to(&format!("/rejects?side={}&sqlstate={}&error={}", group.side, encode(code), encode(&group.error)))) { (group.side) } }
                        td data-label="SQLSTATE" { @if code.is_empty() { "–" } @else { code { (code) } } }
                        td.wide data-label=(cx.t.pages.error) { (group.error) }
                        td.number data-label=(p.tenants) { (cx.count(group.tenants)) }
                        td data-label=(p.last_seen) { (cx.time(group.last_seen_at)) }
                    }
                } }
            }
        }
    }
}

fn filters(cx: &Cx, asked: &Asked) -> Markup {
    let p = &cx.t.pages;
    html! {
        form.filters method="get" action=(cx.links.to("/rejects")) data-auto {
            label.field { span { (p.tenant) } input type="text" inputmode="numeric" name="tenant" value=[asked.tenant]; }
            label.field { span { (p.side) } select name="side" {
                option value="" { (cx.t.common.all) }
                @for side in RejectSide::ALL { option value=(side.as_str()) selected[asked.side == Some(side)] { (side.as_str()) } }
            } }
            label.field { span { "SQLSTATE" } input type="text" name="sqlstate" maxlength="5" value=[asked.sqlstate.as_ref()]; }
            @if let Some(error) = &asked.error { label.field { span { (p.error) } input type="text" name="error" value=(error); } }
            button type="submit" { (cx.t.common.filter) }
        }
    }
}

/// Rejects, each with the way to its explanation.
pub fn table(cx: &Cx, rows: &[RejectedRow], ticks: bool) -> Markup {
    let p = &cx.t.pages;
    if rows.is_empty() {
        return empty(p.no_rejects);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.rejects) {
            table.stack {
                thead { tr { th scope="col" { (p.conversation) } th scope="col" { (p.side) } th scope="col" { "SQLSTATE" } th scope="col" { (cx.t.pages.error) } th scope="col" { (p.run) } th.number scope="col" { (p.attempts) } th scope="col" { (p.last_seen) } } }
                tbody { @for row in rows {
                    tr {
                        th scope="row" { @if ticks { (tick(cx, &row.key().to_string(), &row.key().to_string())) } a.id href=(cx.links.conversation(row.tenant_id, row.conversation_id)) { (row.tenant_id) ":" (row.conversation_id) } }
                        td data-label=(p.side) { (row.side) }
                        td data-label="SQLSTATE" { (or_none(row.sqlstate.as_deref())) }
                        td.wide data-label=(cx.t.pages.error) { (row.error) }
                        td data-label=(p.run) { (run_link(cx, row.run_id)) }
                        td.number data-label=(p.attempts) { (row.attempts) }
                        td data-label=(p.last_seen) { (cx.time(row.last_seen_at)) }
                    }
                } }
            }
        }
    }
}
