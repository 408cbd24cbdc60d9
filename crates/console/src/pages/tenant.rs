//! One tenant: how it stands, its runs, inboxes, rejects, watermark, settings, and every action.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use tidemark_ledger as ledger;
use tidemark_ledger::audit::AuditFilter;
use tidemark_ledger::reject::RejectFilter;
use tidemark_ledger::run::RunFilter;
use tidemark_ledger::watermark::Move;
use tidemark_operations::status::TenantOverview;
use tidemark_operations::{audit as audits, lists};
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;

use super::tenants::{behind, is_on_time, misses_process, state, verified};
use super::{audit, history, rejects, runs};
use crate::actions::button;
use crate::actions::tenant_action::TenantAction;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::lag;
use crate::html::layout::{Section, live_page_with};
use crate::html::parts::{command, facts, head, or_none, run_in_short, run_link, whole_span};
use crate::watch::lag::Step;
use crate::watch::snapshot::Snapshot;
use crate::watch::watcher::Look;

/// Entries of each tab.
const SHOWN: i64 = 50;
/// Moves of the watermark in the chart: a day with one every three minutes.
const MOVES: i64 = 480;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Runs,
    Inboxes,
    Rejects,
    Watermark,
    History,
    Settings,
}

impl Tab {
    const ALL: [Self; 6] = [
        Self::Runs,
        Self::Inboxes,
        Self::Rejects,
        Self::Watermark,
        Self::History,
        Self::Settings,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Inboxes => "inboxes",
            Self::Rejects => "rejects",
            Self::Watermark => "watermark",
            Self::History => "history",
            Self::Settings => "settings",
        }
    }

    const fn text(self, cx: &Cx) -> &'static str {
        match self {
            Self::Runs => cx.t.pages.runs,
            Self::Inboxes => cx.t.pages.inboxes,
            Self::Rejects => cx.t.pages.rejects,
            Self::Watermark => cx.t.pages.watermark,
            Self::History => cx.t.pages.history,
            Self::Settings => cx.t.pages.settings,
        }
    }
}

pub async fn page(
    cx: Cx,
    Path(id): Path<TenantId>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let tab = query
        .get("tab")
        .and_then(|text| Tab::ALL.into_iter().find(|tab| tab.as_str() == text));
    match build(cx.clone(), id, tab.unwrap_or(Tab::Runs)).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, id: TenantId, tab: Tab) -> PageResult<Markup> {
    let look: Look = cx.console.watcher.look().await?;
    let tenant = look
        .snapshot
        .tenants
        .get(&id)
        .cloned()
        .ok_or(PageError::NotFound)?;
    let cx = cx.about(&tenant.timezone).at(look.now());
    let live = live(&cx, &look.snapshot, id);
    let tab_content = tab_content(&cx, &tenant, tab).await?;
    let below = html! { (story(&cx, &tenant, look.now()).await?) (tabs(&cx, &tenant, tab, &tab_content)) };
    Ok(live_page_with(
        &cx,
        Section::Tenants,
        &tenant.name,
        &look,
        &live,
        &below,
    ))
}

/// How far behind the tenant was, and what happened to it.
async fn story(cx: &Cx, tenant: &Tenant, now: DateTime<Utc>) -> PageResult<Markup> {
    let (db, id) = (&cx.console.db, Some(tenant.id));
    let moves = lists::moves(db, tenant.id, None, MOVES).await?.items;
    let steps: Vec<Step> = moves.iter().filter_map(Step::of).collect();
    let of_runs = RunFilter {
        tenant: id,
        ..RunFilter::default()
    };
    let runs = lists::runs(db, &of_runs, None, SHOWN).await?.items;
    let of_actions = AuditFilter {
        tenant: id,
        ..AuditFilter::default()
    };
    let actions = audits::list(db, &of_actions, None, SHOWN).await?.items;
    Ok(html! {
        div.split.even {
            section.card { (lag::chart(cx, &steps, now)) }
            section.card {
                h2 { (cx.t.pages.timeline) }
                (history::timeline(cx, &runs, &moves, &actions))
            }
        }
    })
}

/// The part that follows the ledger.
pub fn live(cx: &Cx, snapshot: &Snapshot, id: TenantId) -> Markup {
    let (Some(tenant), Some(about)) = (snapshot.tenant(id), snapshot.tenants.get(&id)) else {
        return html! { p { (cx.t.common.unknown_page_text) } };
    };
    let p = &cx.t.pages;
    let open: Vec<_> = snapshot
        .open_runs
        .iter()
        .filter(|run| run.report.tenant_id == id)
        .collect();
    let blocker = tenant.blocker.as_ref().filter(|_| !misses_process(tenant));
    html! {
        (head(&tenant.name, &html! { (state(cx, tenant)) " " span.sub {
            "#" (id) @if about.slug != tenant.name { " · " (about.slug) }
            // beside the heading: a banner that comes and goes with every run would move everything
            @if let Some(blocker) = blocker.filter(|_| is_on_time(tenant)) { " · " (cx.t.held_by(&blocker.held_by)) }
        } }))
        @if let Some(blocker) = blocker.filter(|_| !is_on_time(tenant)) {
            div.banner.warn role="status" {
                strong { (cx.t.cause(blocker.kind).0) } " · "
                (cx.t.held_by(&blocker.held_by))
            }
        }
        (actions(cx, about))
        section.card { (facts(&[
            (p.behind, behind(cx, tenant)),
            (p.watermark, cx.maybe_time(tenant.watermark)),
            (p.checked, cx.maybe_ago(tenant.checked_at)),
            (p.next_sync, cx.ago(tenant.next_due_at)),
            (p.last_run, tenant.last_run.as_ref().map_or_else(|| html! { "–" }, |run| run_in_short(cx, run))),
            (p.chunks_open, chunks_open(cx, tenant)),
            (p.verified, verified(cx, tenant)),
            (p.rejects, html! { (cx.count(snapshot.rejects.get(&id).copied().unwrap_or_default())) }),
            (p.inboxes, html! { (cx.count(tenant.inboxes)) }),
            (p.source, html! { a href=(cx.links.source(&about.source)) { (about.source) } }),
        ])) }
        @for line in snapshot.overview.inbox_lines(Some(&[id])) { div.banner.warn { (line) } }
        @if !open.is_empty() {
            section {
                h2 { (p.open_runs) }
                @for view in open { (runs::open_run(cx, view)) }
            }
        }
    }
}

/// The chunks that are not done yet, by state; states without any are left out.
fn chunks_open(cx: &Cx, tenant: &TenantOverview) -> Markup {
    let s = &cx.t.states;
    let states = [
        (tenant.chunks_pending, s.pending),
        (tenant.chunks_queued, s.queued),
        (tenant.chunks_running, s.running),
    ];
    let parts: Vec<String> = states
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{} {state}", cx.count(*count)))
        .collect();
    html! { @if parts.is_empty() { span.none { "–" } } @else { (parts.join(" · ")) } }
}

/// Every action. Those that destroy something stand apart.
fn actions(cx: &Cx, tenant: &Tenant) -> Markup {
    let id = tenant.id;
    let stop = if tenant.paused_at.is_some() {
        TenantAction::Resume
    } else {
        TenantAction::Pause
    };
    html! {
        div.toolbar role="group" aria-label=(cx.t.pages.actions) {
            (button::tenant_primary(cx, id, TenantAction::Sync))
            @for action in [stop, TenantAction::Plan, TenantAction::Verify, TenantAction::RetryRejects] { (button::tenant(cx, id, action)) }
            details.more {
                summary.button { (cx.t.pages.more_actions) }
                div.sheet {
                    @for action in [TenantAction::Full, TenantAction::Resync, TenantAction::Repair, TenantAction::MapInboxes, TenantAction::UnmapInboxes] {
                        (button::tenant(cx, id, action))
                    }
                    hr;
                    @for action in [TenantAction::Watermark, TenantAction::Forget, TenantAction::Remove] { (button::tenant(cx, id, action)) }
                }
            }
            a.button href=(cx.links.visit(&tenant.slug)) { (cx.t.visit.tenant_page) }
        }
    }
}

fn tabs(cx: &Cx, tenant: &Tenant, active: Tab, content: &Markup) -> Markup {
    html! {
        section.tabbed {
            nav.tabs aria-label=(cx.t.pages.details) {
                @for tab in Tab::ALL {
                    a href={ (cx.links.tenant(tenant.id)) "?tab=" (tab.as_str()) } aria-current=[(tab == active).then_some("true")] { (tab.text(cx)) }
                }
            }
            h2.hidden { (active.text(cx)) }
            (content)
        }
    }
}

async fn tab_content(cx: &Cx, tenant: &Tenant, tab: Tab) -> PageResult<Markup> {
    let db = &cx.console.db;
    Ok(match tab {
        Tab::Runs => {
            let filter = RunFilter {
                tenant: Some(tenant.id),
                ..RunFilter::default()
            };
            let reports = lists::runs(db, &filter, None, SHOWN).await?.items;
            html! {
                (runs::table(cx, &reports, None))
                p { a href=(cx.links.to(&format!("/runs?tenant={}", tenant.id))) { (cx.t.pages.all_runs) } }
            }
        }
        Tab::Inboxes => inboxes(cx, &ledger::inbox::list(db, Some(tenant.id)).await?),
        Tab::Rejects => {
            let filter = RejectFilter {
                tenant: Some(tenant.id),
                ..RejectFilter::default()
            };
            rejects::table(cx, &lists::rejects(db, &filter, None, SHOWN).await?.items, false)
        }
        Tab::Watermark => moves(cx, &lists::moves(db, tenant.id, None, SHOWN).await?.items),
        Tab::History => {
            let filter = AuditFilter {
                tenant: Some(tenant.id),
                ..AuditFilter::default()
            };
            let entries = audits::list(db, &filter, None, SHOWN).await?.items;
            match entries.is_empty() {
                true => crate::html::parts::empty(cx.t.common.nothing_here),
                false => audit::table(cx, &entries),
            }
        }
        Tab::Settings => settings(cx, tenant),
    })
}

fn inboxes(cx: &Cx, inboxes: &[ledger::inbox::InboxMapping]) -> Markup {
    let p = &cx.t.pages;
    if inboxes.is_empty() {
        return crate::html::parts::empty(cx.t.causes.no_inboxes);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.inboxes) {
            table {
                thead { tr { th.number scope="col" { (p.inbox) } th scope="col" { (p.name) } th scope="col" { (p.channel) } th scope="col" { (p.source) } th scope="col" { (p.state) } } }
                tbody { @for inbox in inboxes {
                    tr {
                        td.number { (inbox.inbox_id) }
                        td { (or_none(inbox.inbox_name.as_deref())) }
                        td { (or_none(inbox.channel_type.as_deref())) }
                        td { (inbox.source) }
                        td { @if inbox.is_active { (p.mapped) } @else { (p.unmapped) } }
                    }
                } }
            }
        }
    }
}

fn moves(cx: &Cx, moves: &[Move]) -> Markup {
    let p = &cx.t.pages;
    if moves.is_empty() {
        return crate::html::parts::empty(cx.t.common.nothing_here);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.watermark) {
            table {
                thead { tr { th scope="col" { (p.moved) } th scope="col" { (p.from) } th scope="col" { (p.to) } th scope="col" { (p.run) } th scope="col" { (p.by) } th scope="col" { (cx.t.common.reason) } } }
                tbody { @for one in moves {
                    tr {
                        td { (cx.time(one.moved_at)) }
                        td { (cx.maybe_time(one.old)) }
                        td { (cx.maybe_time(one.new)) }
                        td { @if let Some(run) = one.run_id { (run_link(cx, run)) } @else { "–" } }
                        td { (or_none(one.actor.as_deref())) }
                        td.wide { (or_none(one.reason.as_deref())) }
                    }
                } }
            }
        }
    }
}

fn settings(cx: &Cx, tenant: &Tenant) -> Markup {
    let p = &cx.t.pages;
    let span = |span| html! { (whole_span(span)) };
    html! {
        (facts(&[
            (p.name, html! { (tenant.name) }),
            (p.slug, html! { (tenant.slug) }),
            (p.source, html! { (tenant.source) }),
            (p.account, tenant.account_id.map_or_else(|| html! { "–" }, |id| html! { (id) })),
            (p.discovers, html! { @if tenant.discovered_account().is_some() { (cx.t.common.yes) } @else { (cx.t.common.no) } }),
            (p.timezone, html! { (tenant.timezone) }),
            (p.sync_every, span(tenant.sync_interval)),
            (p.lookback, span(tenant.lookback)),
            (p.verify_every, tenant.verify_interval.map_or_else(|| html! { "–" }, span)),
            (p.chunk_size, html! { (cx.count(tenant.chunk_size.into())) }),
            (p.in_flight, html! { (cx.count(tenant.max_in_flight.into())) }),
            (p.privacy, html! { (tenant.privacy) }),
        ]))
        (button::tenant(cx, tenant.id, TenantAction::Settings))
        (command(cx, &format!("tidemark tenant show --tenant {}", tenant.id)))
    }
}
