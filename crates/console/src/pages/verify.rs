//! The last comparison of each tenant, and the buttons to compare and to repair.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::tenants::verified;
use crate::actions::button;
use crate::actions::tenant_action::TenantAction;
use crate::context::Cx;
use crate::error::PageError;
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{command, empty, head, run_link, tenant_link};
use crate::watch::snapshot::Snapshot;

const SHOWN: usize = 100;

pub async fn page(cx: Cx) -> Response {
    let look = match cx.console.watcher.look().await {
        Ok(look) => look,
        Err(error) => return PageError::from(error).page(&cx),
    };
    let cx = cx.at(look.now());
    let body = html! {
        (head(cx.t.pages.verify, &html! {}))
        p.lead { (cx.t.pages.verify_lead) }
        (table(&cx, &look.snapshot))
        (command(&cx, "tidemark verify --all --wait"))
    };
    whole_page(&cx, Section::Verify, cx.t.pages.verify, &body).into_response()
}

fn table(cx: &Cx, snapshot: &Snapshot) -> Markup {
    let p = &cx.t.pages;
    let seen = |id| cx.who.as_ref().is_some_and(|who| who.sees(id));
    let mut tenants: Vec<_> = snapshot
        .overview
        .tenants
        .iter()
        .filter(|tenant| seen(tenant.tenant_id))
        .collect();
    if tenants.is_empty() {
        return empty(cx.t.common.nothing_here);
    }
    // those at fault first, then those that were never or longest ago compared
    tenants.sort_by_key(|tenant| {
        let last = tenant.last_verification.as_ref();
        (
            std::cmp::Reverse(last.map_or(0, |last| last.compared.fault_count())),
            last.map(|last| last.verified_at),
        )
    });
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.verify) {
            table.stack.dense {
                thead { tr {
                    th scope="col" { (p.tenant) } th scope="col" { (p.verified) } th scope="col" { (p.run) } th.number scope="col" { (p.in_source) } th.number scope="col" { (p.in_target) }
                    th.number scope="col" { (p.missing) } th.number scope="col" { (p.extra) } th.number scope="col" { (p.stale) } th.number scope="col" { (cx.t.states.different) }
                    th.number scope="col" { (p.impossible) } th.number scope="col" { (p.unproven) } th scope="col" { (p.actions) }
                } }
                tbody { @for tenant in tenants.iter().take(SHOWN) {
                    tr {
                        th scope="row" { (tenant_link(cx, tenant.tenant_id, &tenant.name)) }
                        td data-label=(p.verified) { (verified(cx, tenant)) }
                        @match &tenant.last_verification {
                            Some(last) => {
                                td data-label=(p.run) { @if let Some(run) = last.run_id { (run_link(cx, run)) } @else { "–" } }
                                @for (label, count) in [
                                    (p.in_source, last.compared.source_rows), (p.in_target, last.compared.target_rows), (p.missing, last.compared.missing),
                                    (p.extra, last.compared.extra), (p.stale, last.compared.stale), (cx.t.states.different, last.compared.different),
                                    (p.impossible, last.compared.impossible), (p.unproven, last.compared.unproven),
                                ] { td.number data-label=(label) { (cx.count(count)) } }
                            }
                            None => { td data-label=(p.run) { span.none { "–" } } @for _ in 0..8 { td.number data-label="" { span.none { "–" } } } }
                        }
                        td data-label=(p.actions) { div.row-actions { (button::tenant(cx, tenant.tenant_id, TenantAction::Verify)) (button::tenant(cx, tenant.tenant_id, TenantAction::Repair)) } }
                    }
                } }
            }
        }
    }
}
