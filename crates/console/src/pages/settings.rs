//! The settings of this process, and the users, sessions and tokens of the console. No secret is shown.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::console::session::SessionReport;
use tidemark_ledger::console::token::ConsoleToken;
use tidemark_ledger::console::user::ConsoleUser;
use tidemark_shared::audit::Action;

use crate::actions::form::go;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{command, empty, head, or_none, setting_facts, whole_span};

pub async fn page(cx: Cx) -> Response {
    match build(&cx).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: &Cx) -> PageResult<Markup> {
    if !cx.who.as_ref().is_some_and(|who| who.sees_all()) {
        return Err(PageError::NotFound);
    }
    let (p, db) = (&cx.t.pages, &cx.console.db);
    let users = ledger::console::user::list(db).await?;
    let sessions = ledger::console::session::list(db, None).await?;
    let tokens = ledger::console::token::list(db).await?;
    let body = html! {
        (head(p.settings, &html! {}))
        section { h2 { (p.console) } (console(cx)) }
        section { h2 { (p.users) } (user_table(cx, &users)) (command(cx, "tidemark console user add NAME --role operator")) }
        section { h2 { (p.sessions) } (session_table(cx, &sessions)) }
        section { h2 { (p.tokens) } (token_table(cx, &tokens)) (command(cx, "tidemark console token add NAME --role viewer --expires 90days")) }
        section { h2 { (p.fleet_settings) } (fleet(cx)) (command(cx, "tidemark config show")) }
    };
    Ok(whole_page(cx, Section::Settings, p.settings, &body))
}

fn console(cx: &Cx) -> Markup {
    let console = &cx.console.settings.console;
    let yes = |is: bool| html! { @if is { (cx.t.common.yes) } @else { (cx.t.common.no) } };
    setting_facts(&[
        ("console.auth", html! { (console.auth.as_str()) }),
        ("console.read_only", yes(console.read_only)),
        ("console.sources", yes(console.sources)),
        (
            "console.path_prefix",
            html! { @if console.path_prefix.is_empty() { "–" } @else { (console.path_prefix) } },
        ),
        ("console.insecure_cookie", yes(console.insecure_cookie)),
    ])
}

fn fleet(cx: &Cx) -> Markup {
    let settings = &cx.console.settings;
    let span = |span| html! { (whole_span(span)) };
    let count = |number: i64| html! { (cx.count(number)) };
    setting_facts(&[
        ("producer.tick", span(settings.producer.tick)),
        ("producer.fence_interval", span(settings.producer.fence_interval)),
        ("producer.safety_lag", span(settings.producer.safety_lag)),
        (
            "producer.digest_interval",
            span(settings.producer.digest_interval),
        ),
        (
            "producer.max_in_flight",
            count(settings.producer.max_in_flight.into()),
        ),
        ("producer.requeue_after", span(settings.producer.requeue_after)),
        ("worker.concurrency", count(settings.worker.concurrency.into())),
        ("worker.lease", span(settings.worker.lease)),
        ("retention.success", span(settings.retention.success)),
        ("retention.failed", span(settings.retention.failed)),
        ("retention.audit", span(settings.retention.audit)),
        ("retention.changes", span(settings.retention.changes)),
    ])
}

fn scope(cx: &Cx, tenants: Option<&Vec<i32>>) -> String {
    match tenants {
        None => cx.t.common.all.to_owned(),
        Some(tenants) => tenants
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn user_table(cx: &Cx, users: &[ConsoleUser]) -> Markup {
    let p = &cx.t.pages;
    if users.is_empty() {
        return empty(p.no_users);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.users) { table {
            thead { tr { th scope="col" { (p.name) } th scope="col" { (p.role) } th scope="col" { (p.tenants) } th scope="col" { (p.sees_values) } th scope="col" { (p.has_password) } th scope="col" { (p.created) } } }
            tbody { @for user in users { tr {
                th scope="row" { (user.name) } td { (user.role) } td { (scope(cx, user.tenants.as_ref())) }
                td { @if user.sees_values { (cx.t.common.yes) } @else { (cx.t.common.no) } }
                td { @if user.has_password { (cx.t.common.yes) } @else { (cx.t.common.no) } }
                td { (cx.time(user.created_at)) }
            } } }
        } }
    }
}

fn session_table(cx: &Cx, sessions: &[SessionReport]) -> Markup {
    let p = &cx.t.pages;
    if sessions.is_empty() {
        return empty(p.no_sessions);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.sessions) { table {
            thead { tr { th scope="col" { (cx.t.common.user) } th scope="col" { (p.started) } th scope="col" { (p.last_seen) } th scope="col" { (p.address) } th scope="col" { (p.browser) } th scope="col" { span.hidden { (p.actions) } } } }
            tbody { @for session in sessions { tr {
                th scope="row" { (session.user_name) } td { (cx.time(session.created_at)) } td { (cx.time(session.last_seen_at)) }
                td { (or_none(session.peer.as_deref())) } td.wide { (or_none(session.agent.as_deref())) }
                td { form.inline method="post" action=(cx.links.to(&format!("/settings/sessions/{}/revoke", session.id))) { button.button type="submit" { (p.revoke) } } }
            } } }
        } }
    }
}

fn token_table(cx: &Cx, tokens: &[ConsoleToken]) -> Markup {
    let p = &cx.t.pages;
    if tokens.is_empty() {
        return empty(p.no_tokens);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(p.tokens) { table {
            thead { tr { th scope="col" { (p.name) } th scope="col" { (p.role) } th scope="col" { (p.tenants) } th scope="col" { (p.created) } th scope="col" { (p.expires) } th scope="col" { (p.last_used) } } }
            tbody { @for token in tokens { tr {
                th scope="row" { (token.name) } td { (token.role) } td { (scope(cx, token.tenants.as_ref())) }
                td { (cx.time(token.created_at)) " " span.sub { (token.created_by) } } td { (cx.maybe_time(token.expires_at)) } td { (cx.maybe_time(token.last_used_at)) }
            } } }
        } }
    }
}

/// Ends a session of somebody.
pub async fn revoke(cx: Cx, Path(session): Path<String>) -> Response {
    match try_revoke(&cx, &session).await {
        Ok(()) => go(&cx, "/settings", cx.t.pages.session_ended),
        Err(error) => error.page(&cx),
    }
}

async fn try_revoke(cx: &Cx, session: &str) -> PageResult<()> {
    let who = cx
        .who
        .as_ref()
        .filter(|who| who.sees_all())
        .ok_or(PageError::NotFound)?;
    let mut tx = cx.console.db.begin().await.map_err(|source| ledger::DbError {
        attempted: "begin a transaction",
        source,
    })?;
    if !ledger::console::session::revoke(&mut *tx, session, None).await? {
        return Err(PageError::NotFound);
    }
    let entry = Entry::new(Action::SessionRevoke).subject(session);
    ledger::audit::record(&mut *tx, &who.actor(), &entry).await?;
    tx.commit().await.map_err(|source| ledger::DbError {
        attempted: "end the session",
        source,
    })?;
    Ok(())
}
