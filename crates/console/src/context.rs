//! The request as a page sees it: who asks, in which language, and how times are shown.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};
use tidemark_shared::ids::TenantId;

use crate::auth::who::{Right, Role, Who};
use crate::console::Console;
use crate::headers::Nonce;
use crate::i18n::{Language, Texts};
use crate::links::Links;
use crate::preferences::{Preferences, Zone};

#[derive(Clone)]
pub struct Cx {
    pub console: Arc<Console>,
    /// Nobody on public pages.
    pub who: Option<Who>,
    pub preferences: Preferences,
    pub t: &'static Texts,
    pub nonce: String,
    pub links: Links,
    /// Path and query of the request, without the prefix.
    pub here: String,
    /// The zone of the tenant that the page is about.
    pub tenant_zone: Option<Tz>,
    /// The ledger's clock, when the page has asked for it.
    pub now: Option<DateTime<Utc>>,
    /// The page goes into a dialog of another one.
    pub in_dialog: bool,
    /// The page is that of a tenant's own people.
    pub visiting: Option<Visiting>,
}

/// The tenant whose own page is looked at.
#[derive(Clone)]
pub struct Visiting {
    pub name: String,
    /// The path of its page, as links name it.
    pub path: String,
    pub tenant: TenantId,
}

impl FromRequestParts<Arc<Console>> for Cx {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Infallible> {
        let preferences = Preferences::of(&parts.headers);
        let uri = parts
            .extensions
            .get::<OriginalUri>()
            .map_or_else(|| parts.uri.clone(), |OriginalUri(uri)| uri.clone());
        let whole = uri.path_and_query().map_or("/", |whole| whole.as_str());
        let nonce = parts.extensions.get::<Nonce>().cloned();
        Ok(Self {
            links: console.links.clone(),
            here: console.links.strip(whole).to_owned(),
            console: Arc::clone(console),
            who: parts.extensions.get::<Who>().cloned(),
            t: preferences.language.texts(),
            preferences,
            nonce: nonce.map(|nonce| nonce.0).unwrap_or_default(),
            tenant_zone: None,
            now: None,
            in_dialog: parts.headers.contains_key("x-dialog"),
            visiting: None,
        })
    }
}

impl Cx {
    /// The same request, for a page about this tenant.
    pub fn about(mut self, timezone: &str) -> Self {
        self.tenant_zone = timezone.parse().ok();
        self
    }

    pub fn at(mut self, now: DateTime<Utc>) -> Self {
        self.now = Some(now);
        self
    }

    /// The same request, in this language.
    pub fn speaking(mut self, language: Language) -> Self {
        self.preferences.language = language;
        self.t = language.texts();
        self
    }

    /// Whether it is a page for a tenant's own people: without the menu of operators.
    pub fn is_visit(&self) -> bool {
        self.visiting.is_some() || self.who.as_ref().is_some_and(|who| who.role == Role::Tenant)
    }

    pub fn may(&self, right: Right) -> bool {
        self.who.as_ref().is_some_and(|who| who.may(right))
    }

    /// Why an action that needs this right cannot be done here; `None`: it can.
    pub fn refusal(&self, right: Right) -> Option<&'static str> {
        if self.console.settings.console.read_only {
            Some(self.t.common.console_read_only)
        } else if !self.may(right) {
            Some(match right {
                Right::Administer => self.t.common.needs_admin,
                _ => self.t.common.needs_operator,
            })
        } else {
            None
        }
    }

    pub fn zone(&self) -> Tz {
        match self.preferences.zone {
            Zone::Utc => Tz::UTC,
            Zone::Browser => self.preferences.browser_zone.unwrap_or(Tz::UTC),
            Zone::Tenant => self.tenant_zone.unwrap_or(Tz::UTC),
        }
    }

    /// A point in time with its zone.
    pub fn time(&self, at: DateTime<Utc>) -> Markup {
        let local = at.with_timezone(&self.zone());
        let format = match self.preferences.language {
            Language::English => "%Y-%m-%d %H:%M:%S %Z",
            Language::Portuguese => "%d/%m/%Y %H:%M:%S %Z",
        };
        html! { time datetime=(at.to_rfc3339()) { (local.format(format).to_string()) } }
    }

    pub fn maybe_time(&self, at: Option<DateTime<Utc>>) -> Markup {
        match at {
            Some(at) => self.time(at),
            None => html! { span.none { "–" } },
        }
    }

    /// How long ago, with the exact time in its tooltip.
    pub fn ago(&self, at: DateTime<Utc>) -> Markup {
        let Some(now) = self.now else { return self.time(at) };
        let local = at
            .with_timezone(&self.zone())
            .format("%Y-%m-%d %H:%M:%S %Z")
            .to_string();
        let (text, ahead) = match now - at {
            age if age < TimeDelta::zero() => (self.t.span(-age), true),
            age => (self.t.span(age), false),
        };
        let text = match ahead {
            true => self.t.common.in_future.replace("{span}", &text),
            false => self.t.common.ago.replace("{span}", &text),
        };
        html! { time datetime=(at.to_rfc3339()) title=(local) { (text) } }
    }

    /// For how long something lasts.
    pub fn lasting(&self, since: DateTime<Utc>) -> Markup {
        let Some(now) = self.now else {
            return self.time(since);
        };
        let text = self.t.causes.lasting.replace("{span}", &self.t.span(now - since));
        let local = since
            .with_timezone(&self.zone())
            .format("%Y-%m-%d %H:%M:%S %Z")
            .to_string();
        html! { time datetime=(since.to_rfc3339()) title=(local) { (text) } }
    }

    pub fn maybe_ago(&self, at: Option<DateTime<Utc>>) -> Markup {
        match at {
            Some(at) => self.ago(at),
            None => html! { span.none { "–" } },
        }
    }

    pub fn count(&self, number: i64) -> String {
        self.t.count(number)
    }
}
