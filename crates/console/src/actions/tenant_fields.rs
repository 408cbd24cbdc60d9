//! The fields of the dialogs of a tenant.

use maud::{Markup, html};
use tidemark_shared::tenant::Tenant;

use super::form::{Given, reason_field, text_field};
use super::tenant_action::TenantAction;
use crate::context::Cx;

pub fn fields(cx: &Cx, action: TenantAction, tenant: &Tenant, given: &Given) -> Markup {
    let a = &cx.t.actions;
    match action {
        TenantAction::Pause => reason_field(cx, given, true),
        TenantAction::Full => html! {
            (reason_field(cx, given, false))
            (mass_delete(cx, given))
        },
        TenantAction::Resync => resync(cx, given),
        TenantAction::MapInboxes => html! {
            (text_field("inboxes", a.inbox_ids, "1, 2, 3", given, true))
            (text_field("from", a.from_tenant, a.from_tenant_hint, given, false))
        },
        TenantAction::UnmapInboxes => text_field("inboxes", a.inbox_ids, "1, 2, 3", given, true),
        TenantAction::Watermark => html! {
            (text_field("to", a.new_watermark, "2026-01-31T08:00:00Z", given, true))
            (reason_field(cx, given, true))
        },
        TenantAction::Forget => html! {
            (text_field("contact", a.contact_id, "4711", given, true))
            (reason_field(cx, given, false))
        },
        TenantAction::Settings => settings(cx, tenant, given),
        TenantAction::Sync
        | TenantAction::Verify
        | TenantAction::Repair
        | TenantAction::RetryRejects
        | TenantAction::Plan
        | TenantAction::Resume
        | TenantAction::Remove => html! {},
    }
}

/// Only an admin may let unusually many rows be marked deleted.
fn mass_delete(cx: &Cx, given: &Given) -> Markup {
    if !cx.may(crate::auth::who::Right::Administer) {
        return html! {};
    }
    html! {
        label.check { input type="checkbox" name="allow_mass_delete" value="on" checked[given.contains_key("allow_mass_delete")]; span { (cx.t.actions.allow_mass_delete) } }
    }
}

fn resync(cx: &Cx, given: &Given) -> Markup {
    let a = &cx.t.actions;
    html! {
        label.field {
            span { (a.ids) }
            textarea name="ids" rows="4" placeholder="4711, 4712" spellcheck="false" { @if let Some(ids) = given.get("ids") { (ids) } }
        }
        label.field { span { (a.ids_file) } input type="file" name="ids_file" accept=".txt,.csv,text/plain" data-into="ids"; }
        div.pair {
            (text_field("from", a.changed_from, "2026-01-31T00:00:00Z", given, false))
            (text_field("to", a.changed_to, "2026-02-01T00:00:00Z", given, false))
        }
        (text_field("inboxes", a.only_inboxes, "1, 2, 3", given, false))
        label.check { input type="checkbox" name="all" value="on" checked[given.contains_key("all")]; span { (a.all_conversations) } }
        (reason_field(cx, given, true))
        (mass_delete(cx, given))
        input type="hidden" name="step" value="preview";
    }
}

fn settings(cx: &Cx, tenant: &Tenant, given: &Given) -> Markup {
    let p = &cx.t.pages;
    let span = |span| humantime::format_duration(span).to_string();
    let fields = [
        ("name", p.name, tenant.name.clone()),
        ("slug", p.slug, tenant.slug.clone()),
        ("timezone", p.timezone, tenant.timezone.clone()),
        ("sync_interval", p.sync_every, span(tenant.sync_interval)),
        (
            "verify_interval",
            p.verify_every,
            tenant.verify_interval.map_or_else(|| "off".to_owned(), span),
        ),
        ("chunk_size", p.chunk_size, tenant.chunk_size.to_string()),
        ("max_in_flight", p.in_flight, tenant.max_in_flight.to_string()),
    ];
    html! {
        @for (name, label, now) in fields {
            label.field { span { (label) } input type="text" name=(name) value=(given.get(name).cloned().unwrap_or(now)) required autocomplete="off"; }
        }
    }
}
