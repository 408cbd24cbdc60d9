//! Language, zone and theme of one browser, kept in cookies.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE};
use chrono_tz::Tz;

use crate::i18n::Language;

pub const LANGUAGE: &str = "tm_language";
pub const ZONE: &str = "tm_zone";
pub const THEME: &str = "tm_theme";
/// The browser's own zone, set by our script.
pub const BROWSER_ZONE: &str = "tm_browser_zone";

/// The zone in which times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    Utc,
    Browser,
    /// That of the tenant that the page is about, else UTC.
    Tenant,
}

impl Zone {
    pub const ALL: [Self; 3] = [Self::Utc, Self::Browser, Self::Tenant];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utc => "utc",
            Self::Browser => "browser",
            Self::Tenant => "tenant",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Preferences {
    pub language: Language,
    /// The language was chosen here, and not taken from the browser's.
    pub has_chosen_language: bool,
    pub zone: Zone,
    pub theme: Theme,
    pub browser_zone: Option<Tz>,
}

impl Preferences {
    pub fn of(headers: &HeaderMap) -> Self {
        let named = |name: &str| cookie(headers, name);
        let chosen = named(LANGUAGE).and_then(Language::parse);
        let zone = named(ZONE).and_then(|text| Zone::ALL.into_iter().find(|zone| zone.as_str() == text));
        let theme = named(THEME).and_then(|text| Theme::ALL.into_iter().find(|theme| theme.as_str() == text));
        Self {
            language: chosen.unwrap_or_else(|| accepted(headers)),
            has_chosen_language: chosen.is_some(),
            zone: zone.unwrap_or(Zone::Utc),
            theme: theme.unwrap_or(Theme::Auto),
            browser_zone: named(BROWSER_ZONE).and_then(|text| text.replace("%2F", "/").parse().ok()),
        }
    }
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The first language of the browser that the console has.
fn accepted(headers: &HeaderMap) -> Language {
    let wanted = headers
        .get(ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    wanted
        .split(',')
        .filter_map(|part| Language::parse(part.split(';').next()?.trim()))
        .next()
        .unwrap_or(Language::English)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Preferences {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Preferences::of(&headers)
    }

    #[test]
    fn a_cookie_decides_and_else_the_browser() {
        assert_eq!(of(&[]).language, Language::English);
        assert_eq!(
            of(&[("accept-language", "de-DE,pt-BR;q=0.8,en;q=0.5")]).language,
            Language::Portuguese
        );
        let chosen = of(&[
            ("accept-language", "pt-BR"),
            ("cookie", "a=b; tm_language=en; tm_theme=dark; tm_zone=<script>"),
        ]);
        assert_eq!(
            (chosen.language, chosen.theme, chosen.zone),
            (Language::English, Theme::Dark, Zone::Utc)
        );
        let zone = of(&[("cookie", "tm_browser_zone=America%2FSao_Paulo")]).browser_zone;
        assert_eq!(zone, Some(chrono_tz::America::Sao_Paulo));
    }
}
