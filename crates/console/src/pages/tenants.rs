//! All tenants: state, how far behind, what holds them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use maud::{Markup, html};
use tidemark_operations::bulk::BulkAction;
use tidemark_operations::status::{TenantFilter, TenantOverview, TenantState};
use tidemark_shared::held_by::BlockerKind;
use tidemark_shared::ids::TenantId;

use crate::actions::bulk::{chooser, tick};

use crate::context::Cx;
use crate::error::PageError;
use crate::html::lag::spark;
use crate::html::layout::{Section, live_page};
use crate::html::parts::{Tone, badge, head, no_match, pager, quantity, run_in_short, tenant_link};
use crate::links::encode;
use crate::watch::snapshot::Snapshot;
use crate::watch::trends::Trend;
use crate::watch::watcher::Look;

const A_PAGE: usize = 100;

/// What can be done with several.
const ACTIONS: [BulkAction; 5] = [
    BulkAction::TenantSync,
    BulkAction::TenantVerify,
    BulkAction::TenantPause,
    BulkAction::TenantResume,
    BulkAction::TenantFull,
];

/// Which tenants to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    which: TenantFilter,
    by_behind: bool,
    from: usize,
}

const fn state_text(cx: &Cx, state: TenantState) -> &'static str {
    match state {
        TenantState::Late => cx.t.states.late,
        TenantState::Failing => cx.t.states.failing,
        TenantState::Paused => cx.t.states.paused,
        TenantState::Never => cx.t.states.never_synced,
        TenantState::Rejects => cx.t.pages.with_rejects,
        TenantState::Attention => cx.t.pages.needs_you,
    }
}

/// Whether it is held by a process that does not run: every page says that above.
pub fn misses_process(tenant: &TenantOverview) -> bool {
    use BlockerKind::{NoFinalizer, NoProducer, NoWorker};
    let kind = tenant.blocker.as_ref().map(|blocker| blocker.kind);
    matches!(kind, Some(NoProducer | NoWorker | NoFinalizer))
}

impl Filter {
    pub fn of(query: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| {
            query
                .get(name)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        Self {
            which: TenantFilter {
                state: text("state").and_then(|text| TenantState::parse(&text)),
                source: text("source"),
                text: text("q"),
            },
            by_behind: query.get("sort").is_some_and(|sort| sort == "behind"),
            from: text("from")
                .and_then(|from| from.parse().ok())
                .unwrap_or_default(),
        }
    }

    const fn is_set(&self) -> bool {
        self.which.state.is_some() || self.which.source.is_some() || self.which.text.is_some()
    }

    fn takes(&self, snapshot: &Snapshot, tenant: &TenantOverview) -> bool {
        let id = tenant.tenant_id;
        self.which.takes(
            tenant,
            snapshot.tenants.get(&id),
            snapshot.rejects.contains_key(&id),
        )
    }

    /// The same, for an action on all that match.
    fn fields(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("state", self.which.state.map(|state| state.as_str().to_owned())),
            ("source", self.which.source.clone()),
            ("q", self.which.text.clone()),
        ]
    }

    /// The tenants of the page.
    fn part<'a, 'b>(&self, tenants: &'a [&'b TenantOverview]) -> &'a [&'b TenantOverview] {
        let from = self.from.min(tenants.len());
        &tenants[from..(from + A_PAGE).min(tenants.len())]
    }

    fn link(&self, from: usize) -> String {
        let mut link = format!("/tenants?from={from}");
        if let Some(state) = self.which.state {
            link += &format!("&state={}", state.as_str());
        }
        for (name, value) in [("source", &self.which.source), ("q", &self.which.text)] {
            if let Some(value) = value {
                link += &format!("&{name}={}", encode(value));
            }
        }
        if self.by_behind {
            link += "&sort=behind";
        }
        link
    }
}

pub async fn page(cx: Cx, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let look = match cx.console.watcher.look().await {
        Ok(look) => look,
        Err(error) => return PageError::from(error).page(&cx),
    };
    let cx = cx.at(look.now());
    let filter = Filter::of(&query);
    let trend = trend(&cx, &look, &filter).await;
    let content = content(&cx, &look.snapshot, &filter, &trend);
    live_page(&cx, Section::Tenants, cx.t.pages.tenants, &look, &content).into_response()
}

/// How far behind the tenants of the page were.
pub async fn trend(cx: &Cx, look: &Look, filter: &Filter) -> Trend {
    let all = matching(cx, &look.snapshot, filter);
    let shown: Vec<TenantId> = filter.part(&all).iter().map(|tenant| tenant.tenant_id).collect();
    match look.is_away {
        true => cx.console.trends.last(&shown).await,
        false => cx.console.trends.load(&cx.console.db, &shown).await,
    }
}

/// The tenants that the filter takes, in its order.
fn matching<'a>(cx: &Cx, snapshot: &'a Snapshot, filter: &Filter) -> Vec<&'a TenantOverview> {
    let mut tenants: Vec<&TenantOverview> = snapshot
        .overview
        .tenants
        .iter()
        .filter(|tenant| cx.who.as_ref().is_some_and(|who| who.sees(tenant.tenant_id)))
        .filter(|tenant| filter.takes(snapshot, tenant))
        .collect();
    if filter.by_behind {
        tenants.sort_by_key(|tenant| Reverse(tenant.behind_ms.unwrap_or(i64::MAX)));
    }
    tenants
}

pub fn content(cx: &Cx, snapshot: &Snapshot, filter: &Filter, trend: &Trend) -> Markup {
    let p = &cx.t.pages;
    let tenants = matching(cx, snapshot, filter);
    let count = i64::try_from(tenants.len()).unwrap_or(i64::MAX);
    let (from, shown) = (filter.from.min(tenants.len()), A_PAGE);
    let newest = (from > 0).then(|| cx.links.to(&filter.link(from.saturating_sub(shown))));
    let older = (from + shown < tenants.len()).then(|| cx.links.to(&filter.link(from + shown)));
    html! {
        (head(p.tenants, &html! { span.sub { (cx.t.counted(count, p.one_tenant, p.many_tenants)) } }))
        (filters(cx, snapshot, filter))
        @if tenants.is_empty() { (no_match(cx, "/tenants", filter.is_set())) }
        @else {
            (table(cx, snapshot, filter.part(&tenants), trend))
            (pager(cx, newest.as_deref(), older.as_deref()))
            (chooser(cx, &ACTIONS, &filter.fields(), &filter.link(0)))
        }
    }
}

fn filters(cx: &Cx, snapshot: &Snapshot, filter: &Filter) -> Markup {
    let p = &cx.t.pages;
    let mut sources: Vec<&str> = snapshot
        .tenants
        .values()
        .map(|tenant| tenant.source.as_str())
        .collect();
    sources.sort_unstable();
    sources.dedup();
    html! {
        form.filters method="get" action=(cx.links.to("/tenants")) data-auto {
            label.field { span { (p.state) } select name="state" {
                option value="" { (cx.t.common.all) }
                @for state in TenantState::ALL {
                    option value=(state.as_str()) selected[filter.which.state == Some(state)] { (state_text(cx, state)) }
                }
            } }
            @if sources.len() > 1 {
                label.field { span { (p.source) } select name="source" {
                    option value="" { (cx.t.common.all) }
                    @for source in sources { option value=(source) selected[filter.which.source.as_deref() == Some(source)] { (source) } }
                } }
            }
            label.field { span { (p.name_or_id) } input type="search" name="q" value=[filter.which.text.as_ref()] autocomplete="off"; }
            label.field { span { (p.order) } select name="sort" {
                option value="id" { (p.by_id) }
                option value="behind" selected[filter.by_behind] { (p.by_behind) }
            } }
            button type="submit" { (cx.t.common.filter) }
        }
    }
}

fn table(cx: &Cx, snapshot: &Snapshot, tenants: &[&TenantOverview], trend: &Trend) -> Markup {
    let p = &cx.t.pages;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.tenants) {
            table.stack.dense {
                thead { tr {
                    th scope="col" { (p.tenant) } th scope="col" { (p.state) } th.number scope="col" { (p.behind) }
                    th scope="col" { (p.last_run) } th.number scope="col" { (p.waiting) } th.number scope="col" { (p.running) }
                    th scope="col" { (p.next_sync) } th scope="col" { (p.verified) } th.number scope="col" { (p.rejects) }
                } }
                tbody {
                    @for tenant in tenants {
                        tr id={ "tenant-" (tenant.tenant_id) } {
                            th scope="row" { (tick(cx, &tenant.tenant_id.to_string(), &tenant.name)) (tenant_link(cx, tenant.tenant_id, &tenant.name)) }
                            td data-label=(p.state) { div { (state(cx, tenant)) (reason(cx, tenant)) } }
                            td.number.lagging data-label=(p.behind) { (behind(cx, tenant)) @if let Some(steps) = trend.get(&tenant.tenant_id) { (spark(cx, steps, snapshot.at)) } }
                            td data-label=(p.last_run) { @if let Some(run) = &tenant.last_run { (run_in_short(cx, run)) } @else { span.none { "–" } } }
                            td.number data-label=(p.waiting) { (quantity(cx, tenant.chunks_pending + tenant.chunks_queued)) }
                            td.number data-label=(p.running) { (quantity(cx, tenant.chunks_running)) }
                            td data-label=(p.next_sync) { (cx.ago(tenant.next_due_at)) }
                            td data-label=(p.verified) { (verified(cx, tenant)) }
                            td.number data-label=(p.rejects) { (quantity(cx, snapshot.rejects.get(&tenant.tenant_id).copied().unwrap_or_default())) }
                        }
                    }
                }
            }
        }
    }
}

/// The state in words. A tenant that was never synced is not on time.
pub fn state(cx: &Cx, tenant: &TenantOverview) -> Markup {
    let s = &cx.t.states;
    let kind = tenant.blocker.as_ref().map(|blocker| blocker.kind);
    match kind {
        Some(BlockerKind::Paused) => badge(Tone::Quiet, s.paused),
        Some(BlockerKind::NotActive) => badge(Tone::Quiet, s.not_active),
        Some(BlockerKind::Failing) => badge(Tone::Bad, s.failing),
        _ if is_on_time(tenant) => badge(Tone::Good, s.on_time),
        _ if tenant.watermark.is_none() => badge(Tone::Quiet, s.never_synced),
        _ if tenant.late => badge(Tone::Warn, s.late),
        _ => badge(Tone::Warn, s.blocked),
    }
}

/// Nobody has to do anything about such a tenant, although a run of it may wait.
pub fn is_on_time(tenant: &TenantOverview) -> bool {
    let kind = tenant.blocker.as_ref().map(|blocker| blocker.kind);
    tenant.watermark.is_some()
        && !tenant.late
        && matches!(kind, None | Some(BlockerKind::Limit | BlockerKind::Retrying))
}

/// What holds a tenant. The list leaves it out for one that is on time: there it comes and goes with every run, and each time the
/// rows below would move. The tenant's own page has it.
fn reason(cx: &Cx, tenant: &TenantOverview) -> Markup {
    let shown = tenant.blocker.as_ref().filter(|_| !is_on_time(tenant));
    html! { @if let Some(blocker) = shown { span.reason { (cx.t.held_by(&blocker.held_by)) } } }
}

pub fn behind(cx: &Cx, tenant: &TenantOverview) -> Markup {
    match tenant.behind_ms {
        Some(behind) => html! { (cx.t.span(TimeDelta::milliseconds(behind))) },
        None => html! { span.none { (cx.t.common.never) } },
    }
}

pub fn verified(cx: &Cx, tenant: &TenantOverview) -> Markup {
    let Some(last) = &tenant.last_verification else {
        return html! { span.none { (cx.t.common.never) } };
    };
    html! {
        @match last.compared.fault_count() {
            0 => (badge(Tone::Good, cx.t.states.equal)),
            faults => (badge(Tone::Warn, &cx.t.pages.at_fault.replace("{count}", &cx.count(faults)))),
        }
        " " span.sub { (cx.ago(last.verified_at)) }
    }
}
