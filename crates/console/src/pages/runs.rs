//! Runs: the open ones live, all of them by filters, newest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger::run::RunFilter;
use tidemark_operations::lists;
use tidemark_shared::ids::RunId;
use tidemark_shared::run::{RunReport, RunStatus, RunType};

use super::{overview, scope};
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::charts::length;
use crate::html::layout::{Section, live_page_with};
use crate::html::parts::{
    Tone, bar, head, no_match, or_none, pager, quantity, run_badge, run_link, tenant_link,
};
use crate::watch::snapshot::{RunView, Snapshot};

const A_PAGE: i64 = 100;

/// Which runs to show.
#[derive(Debug, Default)]
struct Asked {
    filter: RunFilter,
    status: Option<RunStatus>,
    run_type: Option<RunType>,
    before: Option<i64>,
}

impl Asked {
    fn of(query: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| {
            query
                .get(name)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let status =
            text("status").and_then(|text| RunStatus::ALL.into_iter().find(|status| status.as_str() == text));
        let run_type =
            text("type").and_then(|text| RunType::ALL.into_iter().find(|one| one.as_str() == text));
        Self {
            filter: RunFilter {
                tenant: text("tenant").and_then(|id| id.parse().ok()),
                statuses: status.into_iter().collect(),
                types: run_type.into_iter().collect(),
                since: None,
            },
            status,
            run_type,
            before: text("before").and_then(|id| id.parse().ok()),
        }
    }

    const fn is_set(&self) -> bool {
        self.filter.tenant.is_some() || self.status.is_some() || self.run_type.is_some()
    }

    fn link(&self, before: Option<i64>) -> String {
        let mut link = "/runs?".to_owned();
        if let Some(tenant) = self.filter.tenant {
            link += &format!("tenant={tenant}&");
        }
        if let Some(status) = self.status {
            link += &format!("status={}&", status.as_str());
        }
        if let Some(run_type) = self.run_type {
            link += &format!("type={}&", run_type.as_str());
        }
        if let Some(before) = before {
            link += &format!("before={before}");
        }
        link.trim_end_matches(['&', '?']).to_owned()
    }
}

pub async fn page(cx: Cx, Query(query): Query<BTreeMap<String, String>>) -> Response {
    match build(cx.clone(), Asked::of(&query)).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, asked: Asked) -> PageResult<Markup> {
    let look = cx.console.watcher.look().await?;
    let cx = cx.at(look.now());
    let list = list(&cx, &asked).await?;
    let live = live(&cx, &look.snapshot);
    let more = i64::try_from(list.len()).is_ok_and(|count| count == A_PAGE);
    let older = list
        .last()
        .filter(|_| more)
        .map(|run| cx.links.to(&asked.link(Some(run.run_id.0))));
    let newest = asked.before.map(|_| cx.links.to(&asked.link(None)));
    let below = html! {
        section {
            h2 { (cx.t.pages.all_runs) }
            (filters(&cx, &look.snapshot, &asked))
            @if list.is_empty() { (no_match(&cx, "/runs", asked.is_set())) }
            @else { (table(&cx, &list, Some(&look.snapshot))) (pager(&cx, newest.as_deref(), older.as_deref())) }
        }
    };
    Ok(live_page_with(
        &cx,
        Section::Runs,
        cx.t.pages.runs,
        &look,
        &live,
        &below,
    ))
}

/// A page of runs that the author may see, newest first.
async fn list(cx: &Cx, asked: &Asked) -> PageResult<Vec<RunReport>> {
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let db = &cx.console.db;
    let of = |tenant| async move {
        let filter = RunFilter {
            tenant,
            ..asked.filter.clone()
        };
        Ok(lists::runs(db, &filter, asked.before.map(RunId), A_PAGE)
            .await?
            .items)
    };
    scope::list(who, asked.filter.tenant, of, |runs: &mut Vec<RunReport>| {
        runs.sort_by_key(|run| Reverse(run.run_id));
        runs.truncate(usize::try_from(A_PAGE).unwrap_or_default());
    })
    .await
}

/// Runs that have not ended.
pub fn live(cx: &Cx, snapshot: &Snapshot) -> Markup {
    html! {
        (head(cx.t.pages.runs, &html! {}))
        section { h2 { (cx.t.pages.open_runs) } (overview::open_runs(cx, snapshot, 200)) }
    }
}

/// One open run in a few words.
pub fn open_run(cx: &Cx, view: &RunView) -> Markup {
    let run = &view.report;
    html! {
        div.line {
            (run_link(cx, run.run_id)) " " span.sub { (cx.t.run_type(run.run_type)) } " " (run_badge(cx, run.status))
            @if let Some(progress) = &view.progress {
                (bar(cx.t.pages.progress, progress.keys_ended, progress.keys_total))
                @if let Some(pace) = progress.pace { span.number { (cx.t.decimal(pace.rows_per_second)) "/s" } }
                @if let Some(eta) = progress.pace.and_then(|pace| pace.eta_ms) { span.sub { (cx.t.pages.eta) " " (cx.t.milliseconds(eta)) } }
            }
        }
    }
}

fn filters(cx: &Cx, snapshot: &Snapshot, asked: &Asked) -> Markup {
    let p = &cx.t.pages;
    html! {
        form.filters method="get" action=(cx.links.to("/runs")) data-auto {
            label.field { span { (p.status) } select name="status" {
                option value="" { (cx.t.common.all) }
                @for status in RunStatus::ALL { option value=(status.as_str()) selected[asked.status == Some(status)] { (cx.t.run_status(status)) } }
            } }
            label.field { span { (p.kind) } select name="type" {
                option value="" { (cx.t.common.all) }
                @for run_type in RunType::ALL { option value=(run_type.as_str()) selected[asked.run_type == Some(run_type)] { (cx.t.run_type(run_type)) } }
            } }
            label.field { span { (p.tenant) } input type="text" inputmode="numeric" name="tenant" list="tenants" value=[asked.filter.tenant]; }
            datalist #tenants {
                @for tenant in snapshot.tenants.values().filter(|tenant| cx.who.as_ref().is_some_and(|who| who.sees(tenant.id))).take(200) {
                    option value=(tenant.id) { (tenant.name) }
                }
            }
            button type="submit" { (cx.t.common.filter) }
        }
    }
}

/// Runs with their outcome. `names`: with a column for the tenant.
pub fn table(cx: &Cx, runs: &[RunReport], names: Option<&Snapshot>) -> Markup {
    let p = &cx.t.pages;
    if runs.is_empty() {
        return crate::html::parts::empty(cx.t.common.nothing_here);
    }
    let longest = runs.iter().map(|run| run.duration_ms).max().unwrap_or_default();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.runs) {
            table.stack {
                thead { tr {
                    th scope="col" { (p.run) }
                    @if names.is_some() { th scope="col" { (p.tenant) } }
                    th scope="col" { (p.kind) } th scope="col" { (p.status) } th scope="col" { (p.requested) } th.number scope="col" { (p.took) }
                    th.number scope="col" { (p.chunks) } th.number scope="col" { (p.extracted) } th.number scope="col" { (p.written) }
                    th.number scope="col" { (p.rejected) } th scope="col" { (cx.t.pages.error) }
                } }
                tbody { @for run in runs {
                    tr {
                        th scope="row" { (run_link(cx, run.run_id)) }
                        @if let Some(snapshot) = names { td.name data-label=(p.tenant) { (tenant_link(cx, run.tenant_id, snapshot.name(run.tenant_id))) } }
                        td data-label=(p.kind) { (cx.t.run_type(run.run_type)) }
                        td data-label=(p.status) { (run_badge(cx, run.status)) }
                        td data-label=(p.requested) { (cx.ago(run.requested_at)) }
                        td.number.length data-label=(p.took) { (cx.t.milliseconds(run.duration_ms)) (length(run.duration_ms, longest, Tone::of_run(run.status))) }
                        td.number data-label=(p.chunks) { (cx.count(run.chunks.done.into())) span.sub { " / " (cx.count(run.chunks.total.into())) } }
                        td.number data-label=(p.extracted) { (quantity(cx, run.records.extracted)) }
                        td.number data-label=(p.written) { (quantity(cx, run.records.inserted + run.records.updated)) }
                        td.number data-label=(p.rejected) { (quantity(cx, run.records.rejected)) }
                        td.clip data-label=(cx.t.pages.error) title=[run.error.as_deref()] { (or_none(run.error.as_deref())) }
                    }
                } }
            }
        }
    }
}
