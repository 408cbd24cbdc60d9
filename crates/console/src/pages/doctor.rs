//! The check-up of every server and of the fleet, on demand.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger as ledger;
use tidemark_operations::doctor;
use tidemark_operations::doctor::report::DoctorReport;
use tidemark_runtime::finding::Level;

use super::on_demand::Answered;
use crate::actions::form::go;
use crate::auth::who::Right;
use crate::context::Cx;
use crate::error::PageError;
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{Tone, badge, code_line, command, empty, head};

pub async fn page(cx: Cx) -> Response {
    if !cx.who.as_ref().is_some_and(|who| who.sees_all()) {
        return PageError::NotFound.page(&cx);
    }
    let last = cx.console.on_demand.doctor.lock().await.clone();
    let p = &cx.t.pages;
    let obstacle = cx
        .refusal(Right::Operate)
        .or((!cx.console.settings.console.sources).then_some(cx.t.common.sources_off));
    let body = html! {
        (head(p.doctor, &html! { @if let Some(last) = &last { span.sub { (cx.t.common.as_of.replace("{time}", "")) (cx.time(last.at)) } } }))
        p.lead { (p.doctor_lead) }
        div.toolbar {
            form.inline method="post" action=(cx.links.to("/doctor/check")) {
                button.button.primary type="submit" disabled[obstacle.is_some()] title=[obstacle] { (p.check_now) }
            }
        }
        @if let Some(last) = &last { (findings(&cx, &last.answer)) } @else { (empty(p.not_checked_yet)) }
        (command(&cx, "tidemark doctor"))
    };
    whole_page(&cx, Section::Doctor, p.doctor, &body).into_response()
}

const fn tone(level: Level) -> Tone {
    match level {
        Level::Ok => Tone::Good,
        Level::NotChecked => Tone::Quiet,
        Level::Warning => Tone::Warn,
        Level::Error => Tone::Bad,
    }
}

const fn word(cx: &Cx, level: Level) -> &'static str {
    match level {
        Level::Ok => cx.t.states.ok,
        Level::NotChecked => cx.t.states.not_checked,
        Level::Warning => cx.t.states.warning,
        Level::Error => cx.t.states.error,
    }
}

fn findings(cx: &Cx, report: &DoctorReport) -> Markup {
    html! {
        @for group in &report.groups {
            section.card {
                h2 { (cx.t.finding_group(&group.group)) @if let Some(server) = &group.server { " " span.sub { (server) } } }
                ul.findings {
                    @for finding in &group.findings {
                        li {
                            (badge(tone(finding.level), word(cx, finding.level))) " " strong { (cx.t.check(finding.check)) } " " span.found { (cx.t.found(&finding.found)) }
                            @for todo in &finding.todo { (code_line(cx, todo)) }
                        }
                    }
                }
            }
        }
    }
}

/// Checks now. Two requests at once share one check-up.
pub async fn check(cx: Cx) -> Response {
    let sees_all = cx.who.as_ref().is_some_and(|who| who.sees_all());
    if !sees_all {
        return PageError::NotFound.page(&cx);
    }
    if !cx.console.settings.console.sources {
        return PageError::Refused(cx.t.common.sources_off.to_owned()).page(&cx);
    }
    let mut last = cx.console.on_demand.doctor.lock().await;
    let rabbit = cx
        .console
        .settings
        .amqp_url
        .is_some()
        .then(|| (cx.console.rabbit)());
    let settings = Arc::clone(&cx.console.settings);
    // the check-up's future cannot move between threads
    let runtime = tokio::runtime::Handle::current();
    let checked = tokio::task::spawn_blocking(move || runtime.block_on(doctor::check(&settings, rabbit)));
    let Ok(report) = checked.await else {
        return PageError::Refused(cx.t.common.internal_text.to_owned()).page(&cx);
    };
    let at = match ledger::console::view::now(&cx.console.db).await {
        Ok(at) => at,
        Err(error) => return PageError::from(error).page(&cx),
    };
    *last = Some(Answered {
        answer: Arc::new(report),
        at,
    });
    drop(last);
    go(&cx, "/doctor", "")
}
