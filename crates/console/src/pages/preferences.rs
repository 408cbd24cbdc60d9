//! Saves language, zone and theme in cookies of the browser.

use axum::Form;
use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;

use super::login::is_own_path;
use crate::context::Cx;
use crate::i18n::Language;
use crate::preferences::{LANGUAGE, THEME, Theme, ZONE, Zone};

#[derive(Debug, Deserialize)]
pub struct Chosen {
    language: String,
    zone: String,
    theme: String,
    to: Option<String>,
}

pub async fn save(cx: Cx, Form(chosen): Form<Chosen>) -> Response {
    let language = Language::parse(&chosen.language).unwrap_or(Language::English);
    let zone = Zone::ALL
        .into_iter()
        .find(|zone| zone.as_str() == chosen.zone)
        .unwrap_or(Zone::Utc);
    let theme = Theme::ALL
        .into_iter()
        .find(|theme| theme.as_str() == chosen.theme)
        .unwrap_or(Theme::Auto);
    let cookie = |name: &str, value: &str| {
        let value = format!("{name}={value}; Path=/; Max-Age=31536000; SameSite=Lax");
        (SET_COOKIE, value)
    };
    let to = chosen.to.as_deref().filter(|to| is_own_path(to)).unwrap_or("/");
    (
        StatusCode::SEE_OTHER,
        AppendHeaders([
            (LOCATION, cx.links.to(to)),
            cookie(LANGUAGE, language.code()),
            cookie(ZONE, zone.as_str()),
            cookie(THEME, theme.as_str()),
        ]),
    )
        .into_response()
}
