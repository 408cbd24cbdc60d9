//! Why a conversation looks in the target as it does: the sentence first, then the evidence. Values are masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::Value;
use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_operations::tenants;
use tidemark_operations::why::{WhyAnswer, explain_conversation};
use tidemark_shared::audit::Action;
use tidemark_shared::ids::TenantId;

use crate::actions::button;
use crate::actions::tenant_action::TenantAction;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{Tone, badge, command, facts, head, or_none, run_link, tenant_link};

const CHUNKS: i64 = 20;

pub async fn page(
    cx: Cx,
    Path((tenant, conversation)): Path<(TenantId, i64)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    match build(cx.clone(), tenant, conversation, query.contains_key("values")).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, id: TenantId, conversation: i64, values: bool) -> PageResult<Markup> {
    let console = Arc::clone(&cx.console);
    let who = cx.who.clone().ok_or(PageError::NotFound)?;
    if conversation < 1 || ledger::tenant::find(&console.db, id).await?.is_none() {
        return Err(PageError::NotFound);
    }
    if !console.settings.console.sources {
        return Err(PageError::Refused(cx.t.common.sources_off.to_owned()));
    }
    if values && !who.sees_values() {
        return Err(PageError::Refused(cx.t.common.needs_values.to_owned()));
    }
    let tenant = tenants::load(&console.db, id).await?;
    let cx = cx.about(&tenant.timezone);
    let asking = explain_conversation(
        &console.db,
        Arc::clone(&console.sources),
        &console.settings,
        &tenant,
        conversation,
        CHUNKS,
    );
    let answer = Box::pin(asking).await?;
    if values {
        let entry = Entry::new(Action::ValuesShow)
            .tenant(id)
            .subject(format!("conversation {conversation}"));
        ledger::audit::record(&console.db, &who.actor(), &entry).await?;
    }
    let p = &cx.t.pages;
    let title = format!("{} {id}:{conversation}", p.conversation);
    let body = html! {
        (head(&title, &tenant_link(&cx, id, &tenant.name)))
        p.sentence { (cx.t.why(&answer)) }
        (evidence(&cx, &answer))
        (columns(&cx, &answer, values))
        (chunks(&cx, &answer))
        div.toolbar { (button::tenant(&cx, id, TenantAction::Sync)) (button::tenant(&cx, id, TenantAction::Resync)) }
        (command(&cx, &format!("tidemark why --tenant {id} {conversation}")))
    };
    Ok(whole_page(&cx, Section::Tenants, &title, &body))
}

fn evidence(cx: &Cx, answer: &WhyAnswer) -> Markup {
    let p = &cx.t.pages;
    let yes = |is: bool| html! { @if is { (cx.t.common.yes) } @else { (cx.t.common.no) } };
    let mut rows = vec![
        (p.in_source, yes(answer.source.exists)),
        (p.in_inbox_of_tenant, yes(answer.source.is_tenants)),
        (
            p.inbox,
            answer
                .source
                .inbox_id
                .map_or_else(|| html! { "–" }, |id| html! { (id) }),
        ),
        (p.writer_open, yes(answer.source.writer_open)),
        (p.in_target, yes(answer.target.is_some())),
        (
            p.signals,
            html! { @if answer.signals.is_empty() { "–" } @for signal in &answer.signals { code { (signal) } " " } },
        ),
        (p.watermark, cx.maybe_time(answer.watermark.watermark)),
        (p.next_sync, cx.time(answer.watermark.next_due_at)),
        (
            p.held_by,
            or_none(
                answer
                    .blocker
                    .as_ref()
                    .filter(|_| answer.held_by.is_some())
                    .map(|blocker| cx.t.held_by(&blocker.held_by))
                    .as_deref(),
            ),
        ),
    ];
    if let Some(row) = &answer.target {
        rows.push((p.written_by, run_link(cx, row.etl_run_id)));
        rows.push((p.written_at, cx.time(row.etl_updated_at)));
        rows.push((p.read_at, cx.time(row.source_extracted_at)));
        rows.push((p.marked_deleted, cx.maybe_time(row.source_deleted_at)));
    }
    if let Some(reject) = &answer.reject {
        rows.push((p.rejected, html! { (reject.side) " · " (reject.error) }));
    }
    html! { section { h2 { (p.evidence) } (facts(&rows)) } }
}

fn columns(cx: &Cx, answer: &WhyAnswer, values: bool) -> Markup {
    let p = &cx.t.pages;
    // those that differ first
    let mut columns: Vec<_> = answer.columns.iter().collect();
    columns.sort_by_key(|column| !column.differs);
    let differing = columns.iter().filter(|column| column.differs).count();
    let may = cx.who.as_ref().is_some_and(|who| who.sees_values());
    html! {
        section {
            h2 { (p.columns) " " span.sub { (p.differing_columns.replace("{count}", &differing.to_string())) } }
            @if !values && may {
                p { a.button href="?values=1" { (p.show_values) } " " span.note { (p.show_values_note) } }
            }
            details open[differing > 0] {
                summary { (p.columns) }
                div.scroll tabindex="0" role="region" aria-label=(p.columns) {
                    table {
                        thead { tr { th scope="col" { (p.column) } th scope="col" { (p.state) } th scope="col" { (p.source) } th scope="col" { (p.target) } } }
                        tbody { @for column in columns {
                            tr {
                                th scope="row" { code { (column.column) } }
                                td { @if column.differs { (badge(Tone::Warn, cx.t.states.different)) } @else { (badge(Tone::Good, cx.t.states.equal)) } }
                                td.value { (shown(&column.source, values)) }
                                td.value { (shown(&column.target, values)) }
                            }
                        } }
                    }
                }
            }
        }
    }
}

/// A value, or only its kind.
fn shown(value: &Value, values: bool) -> Markup {
    if values {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        return html! { (text) };
    }
    let kind = match value {
        Value::Null => return html! { span.none { "NULL" } },
        Value::Bool(_) => "•",
        Value::Number(_) => "•••",
        Value::String(_) | Value::Array(_) | Value::Object(_) => "••••••",
    };
    html! { span.masked { (kind) } }
}

fn chunks(cx: &Cx, answer: &WhyAnswer) -> Markup {
    let p = &cx.t.pages;
    if answer.runs.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { (p.chunks_that_covered) }
            div.scroll tabindex="0" role="region" aria-label=(p.chunks_that_covered) {
                table {
                    thead { tr { th scope="col" { (p.chunk) } th scope="col" { (p.kind) } th scope="col" { (p.status) } th scope="col" { (p.finished) } th scope="col" { (cx.t.pages.error) } } }
                    tbody { @for view in &answer.runs {
                        @let state = view.chunk.status.as_str();
                        tr {
                            th scope="row" { a.id href=(cx.links.run(view.chunk.run_id)) { (view.chunk.id()) } @if view.wrote_row { " " (badge(Tone::Active, p.wrote_row)) } }
                            td { (cx.t.run_type(view.chunk.run_type)) }
                            td { (badge(Tone::of_chunk(state), cx.t.chunk_state(state))) }
                            td { (cx.maybe_time(view.chunk.finished_at)) }
                            td.wide { (or_none(view.chunk.error.as_deref())) }
                        }
                    } }
                }
            }
        }
    }
}
