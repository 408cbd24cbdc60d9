//! Refuses requests that another site's page makes, and names of this machine that another site has chosen.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tidemark_runtime::config::ConsoleAuth;

use crate::auth::token;
use crate::console::Console;
use crate::error::Refused;

pub async fn check(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    // without a sign-in, a page of another site could point its own name at the loopback address
    if console.settings.console.auth == ConsoleAuth::Off && !is_loopback_name(host(headers)) {
        return Refused::OtherHost.into_response();
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // a browser never adds a token by itself
    let has_token = token::of(headers).is_some();
    if is_safe || has_token || is_same_origin(headers) {
        next.run(request).await
    } else {
        Refused::OtherOrigin.into_response()
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn host(headers: &HeaderMap) -> &str {
    text(headers, HOST.as_str()).unwrap_or_default()
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = text(headers, "sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text(headers, ORIGIN.as_str()) else {
        return false;
    };
    let host = host(headers);
    !host.is_empty() && origin.split_once("://").is_some_and(|(_, name)| name == host)
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|sign| sign.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_our_own_page_may_change_something() {
        let host = ("host", "ops.example:9480");
        for (pairs, allowed) in [
            (vec![host, ("sec-fetch-site", "same-origin")], true),
            (vec![host, ("sec-fetch-site", "same-site")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], false),
            (vec![host, ("sec-fetch-site", "none")], false),
            (vec![host, ("origin", "https://ops.example:9480")], true),
            (vec![host, ("origin", "https://ops.example")], false),
            (vec![host, ("origin", "https://evil.example")], false),
            (vec![host, ("origin", "null")], false),
            (vec![host], false),
            // the browser's own word counts, whatever the origin
            (
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "https://ops.example:9480"),
                ],
                false,
            ),
        ] {
            assert_eq!(is_same_origin(&headers(&pairs)), allowed, "{pairs:?}");
        }
    }

    #[test]
    fn without_a_sign_in_only_names_of_this_machine_are_served() {
        for name in [
            "localhost",
            "localhost:9480",
            "127.0.0.1:1",
            "[::1]:9480",
            "LOCALHOST",
        ] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "",
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.evil.example",
            "10.0.0.1",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }
}
