//! The dialog of an action: what it does in numbers, its fields, its command, Cancel first and the act by its name.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{AppendHeaders, IntoResponse, Response};
use maud::{Markup, html};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Damage;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout;
use crate::html::parts::command;
use crate::links::encode;
use crate::pages::is_own_path;

/// The fields of a form that was sent.
pub type Given = BTreeMap<String, String>;

/// A field that is left empty counts as not given.
pub fn given<'a>(fields: &'a Given, name: &str) -> Option<&'a str> {
    fields
        .get(name)
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
}

/// A field that has to be filled in.
pub fn needed<'a>(cx: &Cx, fields: &'a Given, name: &str, label: &str) -> PageResult<&'a str> {
    given(fields, name).ok_or_else(|| PageError::Refused(cx.t.actions.is_needed.replace("{field}", label)))
}

/// Shows what a form was made from: when that changes before the form is sent, nothing is done.
pub fn seen(state: &impl Serialize) -> String {
    let text = serde_json::to_vec(state).unwrap_or_default();
    let hash = Sha256::digest(text);
    hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a form that was made from another state.
pub fn check_seen(fields: &Given, state: &impl Serialize) -> PageResult<()> {
    match fields.get("seen") {
        Some(before) if *before != seen(state) => Err(PageError::Stale),
        _ => Ok(()),
    }
}

/// A dialog before it is drawn.
pub struct Dialog<'a> {
    pub title: String,
    /// What it does, in a sentence.
    pub text: &'a str,
    /// What it concerns, in numbers.
    pub numbers: Vec<(&'a str, String)>,
    pub fields: Markup,
    pub action: String,
    pub button: &'a str,
    pub command: String,
    pub damage: Damage,
    /// To be typed, where much can break.
    pub name: &'a str,
    pub seen: Option<String>,
    pub back: String,
    /// One of its fields is a file.
    pub has_file: bool,
}

impl Dialog<'_> {
    pub fn render(&self, cx: &Cx, given: &Given, error: Option<&str>) -> Markup {
        let danger = self.damage == Damage::Much;
        let body = html! {
            @if let Some(error) = error { div.banner.bad role="alert" { (error) } }
            p { (self.text) }
            @if !self.numbers.is_empty() {
                dl.facts { @for (label, number) in &self.numbers { div { dt { (label) } dd.number { (number) } } } }
            }
            form.act method="post" action=(self.action) enctype=[self.has_file.then_some("multipart/form-data")] {
                input type="hidden" name="back" value=(self.back);
                @if let Some(seen) = &self.seen { input type="hidden" name="seen" value=(seen); }
                (self.fields)
                @if danger {
                    label.field {
                        span { (cx.t.actions.type_name.replace("{name}", self.name)) }
                        input type="text" name="confirm" required autocomplete="off" value=[given.get("confirm")];
                    }
                }
                div.buttons {
                    a.button href=(cx.links.to(&self.back)) data-close autofocus { (cx.t.common.cancel) }
                    button class={ "button " (if danger { "danger" } else { "primary" }) } type="submit" { (self.button) }
                }
            }
            (command(cx, &self.command))
        };
        layout::dialog(cx, &self.title, &body)
    }
}

/// Refuses where the name was not typed.
pub fn check_name(cx: &Cx, damage: Damage, fields: &Given, name: &str) -> PageResult<()> {
    if damage != Damage::Much || given(fields, "confirm") == Some(name.trim()) {
        return Ok(());
    }
    let text = cx.t.actions.wrong_name.replace("{name}", name);
    Err(PageError::Refused(text))
}

pub fn text_field(name: &str, label: &str, hint: &str, given: &Given, required: bool) -> Markup {
    html! {
        label.field {
            span { (label) }
            input type="text" name=(name) placeholder=(hint) value=[given.get(name)] required[required] autocomplete="off";
        }
    }
}

pub fn reason_field(cx: &Cx, given: &Given, required: bool) -> Markup {
    text_field(
        "reason",
        cx.t.common.reason,
        cx.t.common.reason_hint,
        given,
        required,
    )
}

/// Back to the page where the action began, with a message there.
pub fn done(cx: &Cx, fields: &Given, fallback: &str, message: &str) -> Response {
    let back = fields.get("back").filter(|back| is_own_path(back));
    go(cx, back.map_or(fallback, String::as_str), message)
}

/// To this page, with a message there.
pub fn go(cx: &Cx, to: &str, message: &str) -> Response {
    let flash = format!("tm_message={}; Path=/; Max-Age=10; SameSite=Lax", encode(message));
    let headers = AppendHeaders([(LOCATION, cx.links.to(to)), (SET_COOKIE, flash)]);
    (StatusCode::SEE_OTHER, headers).into_response()
}
