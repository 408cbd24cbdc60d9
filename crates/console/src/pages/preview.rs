//! What runs would do, before they are requested.

use maud::{Markup, html};
use tidemark_operations::plan_preview::{PlanReport, Preview};
use tidemark_operations::resync::KnownIds;
use tidemark_shared::tenant::Tenant;

use crate::actions::form::Given;
use crate::context::Cx;
use crate::html::layout::{self, Section};
use crate::html::parts::{command, facts, head, tenant_link};

/// The plan of the next sync.
pub fn page(cx: &Cx, tenant: &Tenant, previews: &[Preview]) -> Markup {
    let p = &cx.t.pages;
    let body = html! {
        (head(p.plan, &tenant_link(cx, tenant.id, &tenant.name)))
        p.lead { (p.plan_lead) }
        (list(cx, previews))
        (command(cx, &format!("tidemark plan --tenant {}", tenant.id)))
    };
    layout::page(cx, Section::Tenants, p.plan, &body)
}

/// The numbers of a resync, and the button that requests it with the same fields.
pub fn confirm(
    cx: &Cx,
    tenant: &Tenant,
    known: Option<KnownIds>,
    previews: &[Preview],
    fields: &Given,
) -> Markup {
    let (p, a) = (&cx.t.pages, &cx.t.actions);
    let body = html! {
        (head(&format!("{}: {}", a.resync, tenant.name), &html! {}))
        p.lead { (p.preview_lead) }
        @if let Some(known) = known { (ids(cx, known)) }
        (list(cx, previews))
        form.act method="post" action=(cx.links.to(&format!("/tenants/{}/do/resync", tenant.id))) {
            @for (name, value) in fields.iter().filter(|(name, _)| name.as_str() != "step") { input type="hidden" name=(name) value=(value); }
            input type="hidden" name="step" value="go";
            div.buttons {
                a.button href=(cx.links.tenant(tenant.id)) autofocus { (cx.t.common.cancel) }
                button.button.primary type="submit" { (a.resync) }
            }
        }
        (command(cx, &format!("tidemark resync --tenant {} --ids-file FILE --reason TEXT", tenant.id)))
    };
    layout::page(cx, Section::Tenants, a.resync, &body)
}

/// Whose conversations the ids are.
fn ids(cx: &Cx, known: KnownIds) -> Markup {
    let p = &cx.t.pages;
    let count =
        |number: usize| html! { span.number { (cx.count(i64::try_from(number).unwrap_or(i64::MAX))) } };
    html! {
        section.card {
            h2 { (p.ids_given) }
            (facts(&[
                (p.ids_known, count(known.known)),
                (p.ids_elsewhere, count(known.elsewhere)),
                (p.ids_unknown, count(known.unknown)),
            ]))
            @if known.elsewhere + known.unknown > 0 { p.note { (p.ids_left) } }
        }
    }
}

fn list(cx: &Cx, previews: &[Preview]) -> Markup {
    html! {
        @for preview in previews {
            @match preview {
                Preview::Planned(plan) => (planned(cx, plan)),
                Preview::Refused(refused) => div.banner.bad { (cx.t.plan_error(&refused.cause)) },
            }
        }
    }
}

fn planned(cx: &Cx, plan: &PlanReport) -> Markup {
    let p = &cx.t.pages;
    html! {
        section.card {
            h2 { (cx.t.run_type(plan.run_type)) }
            @for warning in &plan.warnings { div.banner.warn { (warning) } }
            (facts(&[
                (p.conversations, html! { span.number { (cx.count(plan.keys)) } }),
                (p.chunks, html! { (cx.count(plan.chunks.into())) }),
                (p.watermark_from, cx.maybe_time(plan.watermark_start)),
                (p.watermark_to, cx.maybe_time(plan.watermark_end)),
                (p.signals, html! { @if plan.signals.is_empty() { "–" } @for (signal, hits) in &plan.signals { code { (signal) } " " (cx.count(*hits)) " " } }),
            ]))
        }
    }
}
