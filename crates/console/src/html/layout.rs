//! The frame of every page.

use maud::{DOCTYPE, Markup, html};
use tidemark_runtime::config::ConsoleAuth;

use super::markup::icon;
use crate::assets;
use crate::auth::who::{Kind, Right};
use crate::context::Cx;
use crate::i18n::Language;
use crate::links::encode;
use crate::preferences::{Theme, Zone};
use crate::watch::watcher::Look;

/// The entry of the menu that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Overview,
    Tenants,
    Runs,
    Rejects,
    Sources,
    Fleet,
    Dead,
    Doctor,
    Verify,
    Audit,
    Bulk,
    Webhooks,
    Settings,
    None,
}

const MENU: [(Section, &str, &str); 13] = [
    (Section::Overview, "/", "overview"),
    (Section::Tenants, "/tenants", "tenants"),
    (Section::Runs, "/runs", "runs"),
    (Section::Rejects, "/rejects", "rejects"),
    (Section::Sources, "/sources", "sources"),
    (Section::Fleet, "/fleet", "fleet"),
    (Section::Dead, "/dead", "dead"),
    (Section::Doctor, "/doctor", "doctor"),
    (Section::Verify, "/verify", "verify"),
    (Section::Audit, "/audit", "audit"),
    (Section::Bulk, "/bulk", "bulk"),
    (Section::Webhooks, "/webhooks", "webhooks"),
    (Section::Settings, "/settings", "settings"),
];

impl Section {
    const fn name(self, cx: &Cx) -> &'static str {
        let p = &cx.t.pages;
        match self {
            Self::Overview => p.overview,
            Self::Tenants => p.tenants,
            Self::Runs => p.runs,
            Self::Rejects => p.rejects,
            Self::Sources => p.sources,
            Self::Fleet => p.fleet,
            Self::Dead => p.dead,
            Self::Doctor => p.doctor,
            Self::Verify => p.verify,
            Self::Audit => p.audit,
            Self::Bulk => cx.t.bulk.title,
            Self::Webhooks => cx.t.webhooks.title,
            Self::Settings => p.settings,
            Self::None => "",
        }
    }
}

/// A page without a live part.
pub fn page(cx: &Cx, section: Section, title: &str, body: &Markup) -> Markup {
    frame(cx, section, title, &html! { div.page { (body) } })
}

/// A page whose content follows the ledger.
pub fn live_page(cx: &Cx, section: Section, title: &str, look: &Look, body: &Markup) -> Markup {
    live_page_with(cx, section, title, look, body, &html! {})
}

/// The same, with a part below that stays as it was loaded.
pub fn live_page_with(
    cx: &Cx,
    section: Section,
    title: &str,
    look: &Look,
    body: &Markup,
    below: &Markup,
) -> Markup {
    let stream = cx.links.to(&format!("/events?page={}", encode(&cx.here)));
    frame(
        cx,
        section,
        title,
        &html! {
            div #live.page hx-sse:connect=(stream) hx-swap="innerMorph" hx-nonce=(cx.nonce) {
                (live_content(cx, look, body))
            }
            div.page { (below) }
        },
    )
}

/// The live part with what is wrong with everything, above.
pub fn live_content(cx: &Cx, look: &Look, body: &Markup) -> Markup {
    let common = &cx.t.common;
    let snapshot = &look.snapshot;
    html! {
        @if look.is_away {
            div.banner.bad role="status" {
                strong { (common.ledger_away) }
                " " (common.as_of.replace("{time}", "")) (cx.time(snapshot.at))
            }
        }
        @if snapshot.queues.is_none() && !look.is_away {
            div.banner.warn role="status" { (common.broker_away) }
        }
        @for (role, text) in [
            ("producer", cx.t.causes.no_producer),
            ("worker", cx.t.causes.no_worker),
            ("finalizer", cx.t.causes.no_finalizer),
        ] {
            @if !snapshot.has_live(role) && !look.is_away && !snapshot.tenants.is_empty() {
                div.banner.warn role="status" {
                    (text) ". " (cx.t.causes.cure_no_process) " " code { "tidemark " (role) }
                }
            }
        }
        div.content.stale[look.is_away] { (body) }
    }
}

/// A page with one message, such as an error.
pub fn message(cx: &Cx, title: &str, text: &str) -> Markup {
    message_with(cx, title, text, false)
}

/// A message in the place of a page that can be read later: our script tries again until then.
pub fn message_until_later(cx: &Cx, title: &str, text: &str) -> Markup {
    message_with(cx, title, text, true)
}

fn message_with(cx: &Cx, title: &str, text: &str, tries_again: bool) -> Markup {
    if cx.in_dialog {
        return dialog(cx, title, &html! { p { (text) } });
    }
    page(
        cx,
        Section::None,
        title,
        &html! {
            header.head { h1 { (title) } }
            div.empty data-again[tries_again] { p { (text) } p { a href=(cx.links.to("/")) { @if cx.is_visit() { (cx.t.visit.back) } @else { (cx.t.pages.overview) } } } }
        },
    )
}

/// Content for a dialog; without our script it is a page of its own.
pub fn dialog(cx: &Cx, title: &str, body: &Markup) -> Markup {
    let content = html! {
        header.head { h2 #dialog-title { (title) } }
        (body)
    };
    if cx.in_dialog {
        return content;
    }
    page(
        cx,
        Section::None,
        title,
        &html! { h1.hidden { (title) } div.card.alone { (content) } },
    )
}

fn frame(cx: &Cx, section: Section, title: &str, content: &Markup) -> Markup {
    let common = &cx.t.common;
    html! {
        (DOCTYPE)
        html lang=(cx.preferences.language.code()) data-theme=(cx.preferences.theme.as_str()) {
            (head(cx, title))
            body {
                a.skip href="#main" { (common.skip) }
                @if let Some(visiting) = cx.visiting.as_ref().filter(|_| cx.who.is_some()) {
                    header.top.visit {
                        a.brand href=(visiting.path) { span.mark aria-hidden="true" {} (visiting.name) }
                        @if cx.may(Right::View) { a href=(cx.links.tenant(visiting.tenant)) { (cx.t.visit.behind_page) } }
                        (account(cx))
                    }
                } @else if cx.is_visit() {
                    header.top.visit { a.brand href=(cx.links.to("/")) { span.mark aria-hidden="true" {} "Tidemark" } (account(cx)) }
                } @else if cx.who.is_some() {
                    (menu(cx, section))
                    header.top { (search(cx)) (account(cx)) }
                }
                main #main tabindex="-1" {
                    @if cx.console.settings.console.read_only { div.banner { (common.read_only) } }
                    @if !cx.is_visit() && !cx.here.starts_with("/t/") {
                        div #stream-away.banner.warn role="status" hidden { (common.stream_away) }
                        div #ledger-away.banner.bad role="status" hidden { (common.ledger_away) }
                    }
                    @if let Some(visiting) = cx.visiting.as_ref().filter(|_| cx.may(Right::View)) {
                        div.banner.visit-note { (cx.t.visit.as_operator.replace("{name}", &visiting.name)) }
                    }
                    (content)
                }
                dialog #dialog aria-labelledby="dialog-title" {}
                div #toast.toast role="status" aria-live="polite" {}
            }
        }
    }
}

fn head(cx: &Cx, title: &str) -> Markup {
    let asset = |stem, extension| cx.links.to(&format!("/assets/{}", assets::name(stem, extension)));
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="htmx-config" content=r#"{"extensions":"hx-csp,sse","includeIndicatorCSS":false,"history":false,"morphIgnore":["data-htmx-powered","open"]}"#;
            title { (title) " · Tidemark" }
            link rel="icon" type="image/svg+xml" href=(asset("icon", "svg"));
            link rel="stylesheet" href=(asset("console", "css"));
            script src=(asset("console", "js")) nonce=(cx.nonce) defer {}
        }
    }
}

fn menu(cx: &Cx, active: Section) -> Markup {
    html! {
        nav.menu aria-label=(cx.t.common.menu) {
            a.brand href=(cx.links.to("/")) { span.mark aria-hidden="true" {} "Tidemark" }
            details.fold {
                summary { (icon("menu")) span { (active_name(cx, active)) } }
                (entries(cx, active))
            }
            div.wide { (entries(cx, active)) }
        }
    }
}

const fn active_name(cx: &Cx, active: Section) -> &'static str {
    match active {
        Section::None => cx.t.common.menu,
        section => section.name(cx),
    }
}

fn entries(cx: &Cx, active: Section) -> Markup {
    html! {
        ul {
            @for (section, path, image) in MENU {
                li {
                    a href=(cx.links.to(path)) aria-current=[(section == active).then_some("page")] {
                        (icon(image)) span { (section.name(cx)) }
                    }
                }
            }
        }
    }
}

fn search(cx: &Cx) -> Markup {
    let common = &cx.t.common;
    html! {
        form.search role="search" action=(cx.links.to("/search")) method="get" {
            label.hidden for="search" { (common.search) }
            (icon("search"))
            input #search type="search" name="q" placeholder=(common.search_hint) autocomplete="off" spellcheck="false"
                aria-keyshortcuts="/";
            kbd aria-hidden="true" { "/" }
        }
    }
}

fn account(cx: &Cx) -> Markup {
    let common = &cx.t.common;
    let Some(who) = &cx.who else { return html! {} };
    html! {
        details.account {
            summary {
                @if who.kind == Kind::Local { (common.preferences) }
                @else if cx.is_visit() { (who.name) }
                @else { (common.signed_in_as.replace("{user}", &who.name).replace("{role}", who.role.as_str())) }
            }
            div.sheet {
                form method="post" action=(cx.links.to("/preferences")) {
                    input type="hidden" name="to" value=(cx.here);
                    (choice("language", common.language, Language::ALL.map(|one| (one.code(), one.name(), one == cx.preferences.language))))
                    @if cx.visiting.is_some() { input type="hidden" name="zone" value=(cx.preferences.zone.as_str()); }
                    @else { (choice("zone", common.zone, Zone::ALL.map(|one| (one.as_str(), zone_name(cx, one), one == cx.preferences.zone)))) }
                    (choice("theme", common.theme, Theme::ALL.map(|one| (one.as_str(), theme_name(cx, one), one == cx.preferences.theme))))
                    button type="submit" { (common.save) }
                }
                @if who.kind == Kind::Session {
                    form method="post" action=(cx.links.to("/logout")) { button.plain type="submit" { (common.sign_out) } }
                }
                @if cx.console.settings.console.auth == ConsoleAuth::Off { p.note { (common.off_notice) } }
            }
        }
    }
}

const fn zone_name(cx: &Cx, zone: Zone) -> &'static str {
    match zone {
        Zone::Utc => cx.t.common.zone_utc,
        Zone::Browser => cx.t.common.zone_browser,
        Zone::Tenant => cx.t.common.zone_tenant,
    }
}

const fn theme_name(cx: &Cx, theme: Theme) -> &'static str {
    match theme {
        Theme::Auto => cx.t.common.theme_auto,
        Theme::Light => cx.t.common.theme_light,
        Theme::Dark => cx.t.common.theme_dark,
    }
}

fn choice<const N: usize>(name: &str, label: &str, options: [(&str, &str, bool); N]) -> Markup {
    html! {
        label.field {
            span { (label) }
            select name=(name) {
                @for (value, text, selected) in options { option value=(value) selected[selected] { (text) } }
            }
        }
    }
}
