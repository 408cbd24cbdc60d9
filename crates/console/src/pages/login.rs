//! Sign in and out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Form;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tidemark_ledger as ledger;
use tidemark_runtime::config::ConsoleAuth;

use crate::auth::{password, session};
use crate::console::Console;
use crate::context::Cx;
use crate::error::PageError;
use crate::html::layout::{Section, page};
use crate::html::parts::code_line;

#[derive(Debug, Default, Deserialize)]
pub struct Destination {
    to: Option<String>,
}

impl Destination {
    /// Only a path of the console.
    fn path(&self) -> &str {
        self.to.as_deref().filter(|to| is_own_path(to)).unwrap_or("/")
    }
}

/// A path of this console, and no other site: `//evil` and `/\evil` are read as hosts.
pub fn is_own_path(to: &str) -> bool {
    to.starts_with('/') && !to.starts_with("//") && !to.contains('\\') && !to.chars().any(char::is_control)
}

pub async fn form(cx: Cx, Query(destination): Query<Destination>) -> Response {
    if cx.console.settings.console.auth != ConsoleAuth::Password {
        return Redirect::to(&cx.links.to("/")).into_response();
    }
    match build(&cx, destination.path(), &Kept::default(), None).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

/// A form that was sent after the session had ended. It is shown again after the sign-in, and sent by a click.
#[derive(Debug, Default)]
pub struct Kept {
    /// Where it goes; empty: nothing was kept.
    pub action: String,
    pub fields: String,
}

/// The sign-in, with the form that was sent meanwhile.
pub async fn ask(cx: &Cx, kept: &Kept) -> Response {
    match build(cx, "/", kept, None).await {
        Ok(page) => (StatusCode::UNAUTHORIZED, page).into_response(),
        Err(error) => error.page(cx),
    }
}

/// The form that was kept, to be sent by a click.
fn go_on(cx: &Cx, kept: &Kept) -> Markup {
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(kept.fields.as_bytes())
        .into_owned()
        .collect();
    let body = html! {
        div.login {
            h1 { (cx.t.common.signed_in) }
            p { (cx.t.common.go_on_text) }
            form method="post" action=(cx.links.to(&kept.action)) {
                @for (name, value) in &fields { input type="hidden" name=(name) value=(value); }
                button.primary type="submit" { (cx.t.common.go_on) }
            }
            p { a href=(cx.links.to("/")) { (cx.t.common.cancel) } }
        }
    };
    page(cx, Section::None, cx.t.common.signed_in, &body)
}

async fn build(cx: &Cx, to: &str, kept: &Kept, error: Option<&str>) -> Result<Markup, PageError> {
    let common = &cx.t.common;
    let has_users = !ledger::console::user::list(&cx.console.db).await?.is_empty();
    let body = html! {
        div.login {
            p.brand { span.mark aria-hidden="true" {} "Tidemark" }
            h1 { (common.sign_in) }
            @if let Some(error) = error { div.banner.bad role="alert" { (error) } }
            @if !has_users {
                p { (common.no_users) }
                (code_line(cx, "tidemark console user add NAME --role admin"))
            }
            form method="post" action=(cx.links.to("/login")) {
                input type="hidden" name="to" value=(to);
                @if !kept.action.is_empty() {
                    input type="hidden" name="action" value=(kept.action);
                    input type="hidden" name="fields" value=(kept.fields);
                }
                label.field { span { (common.user) } input type="text" name="user" autocomplete="username" autocapitalize="none" required autofocus; }
                label.field { span { (common.password) } input type="password" name="password" autocomplete="current-password" required; }
                button.primary type="submit" { (common.sign_in) }
            }
        }
    };
    Ok(page(cx, Section::None, common.sign_in, &body))
}

#[derive(Deserialize)]
pub struct Credentials {
    user: String,
    password: String,
    to: Option<String>,
    #[serde(default)]
    action: String,
    #[serde(default)]
    fields: String,
}

pub async fn sign_in(
    cx: Cx,
    State(console): State<Arc<Console>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Response {
    if console.settings.console.auth != ConsoleAuth::Password {
        return PageError::NotFound.page(&cx);
    }
    let destination = Destination { to: given.to };
    let kept = Kept {
        action: if is_own_path(&given.action) {
            given.action
        } else {
            String::new()
        },
        fields: given.fields,
    };
    let (account, from) = (
        format!("user {}", given.user.to_lowercase()),
        format!("peer {}", peer.ip()),
    );
    let names = [account.as_str(), from.as_str()];
    if let Some(wait) = console.attempts.wait(&names, Instant::now()) {
        let seconds = (wait.as_secs() + 1).to_string();
        let text = cx.t.common.too_many_attempts.replace("{seconds}", &seconds);
        let page = build(&cx, destination.path(), &kept, Some(&text)).await;
        return match page {
            Ok(page) => (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)], page).into_response(),
            Err(error) => error.page(&cx),
        };
    }
    let stored = match ledger::console::user::find_password(&console.db, &given.user).await {
        Ok(stored) => stored,
        Err(error) => return PageError::from(error).page(&cx),
    };
    if !password::is_right(given.password, stored).await {
        console.attempts.failed(&names, Instant::now());
        tracing::info!(peer = %peer.ip(), "sign-in refused");
        return match build(&cx, destination.path(), &kept, Some(cx.t.common.wrong_password)).await {
            Ok(page) => (StatusCode::UNAUTHORIZED, page).into_response(),
            Err(error) => error.page(&cx),
        };
    }
    console.attempts.succeeded(&account);
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let peer = peer.ip().to_string();
    match session::begin(&console, &given.user, Some(&peer), agent).await {
        Ok(cookie) if !kept.action.is_empty() => ([(SET_COOKIE, cookie)], go_on(&cx, &kept)).into_response(),
        Ok(cookie) => {
            let to = cx.links.to(destination.path());
            (StatusCode::SEE_OTHER, [(LOCATION, to), (SET_COOKIE, cookie)]).into_response()
        }
        Err(error) => PageError::from(error).page(&cx),
    }
}

pub async fn sign_out(cx: Cx, State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    let to = cx.links.to("/login");
    let Some(id) = session::id_of(&console, &headers) else {
        return Redirect::to(&to).into_response();
    };
    match session::end(&console, id).await {
        Ok(cookie) => (StatusCode::SEE_OTHER, [(LOCATION, to), (SET_COOKIE, cookie)]).into_response(),
        Err(error) => PageError::from(error).page(&cx),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_sign_in_nobody_is_sent_to_another_site() {
        for own in ["/", "/runs/18?chunks=dead", "/search?q=a%20b"] {
            assert!(is_own_path(own), "{own}");
        }
        for other in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\r\nb",
        ] {
            assert!(!is_own_path(other), "{other}");
        }
    }
}
