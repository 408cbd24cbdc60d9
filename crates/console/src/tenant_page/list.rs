//! The conversations behind a number.

use axum::extract::{Path, Query as QueryOf};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tidemark_ledger::tenant_page::rows::{Counted, Row};

use super::filters::{Asked, Query, place_text};
use super::visit::Visit;
use super::words;
use crate::context::Cx;
use crate::error::PageResult;
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::{none, pager};

const ROWS: usize = 50;

pub async fn page(cx: Cx, Path(slug): Path<String>, QueryOf(query): QueryOf<Query>) -> Response {
    match build(cx.clone(), &slug, &query).await {
        Ok(page) => page.into_response(),
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, slug: &str, query: &Query) -> PageResult<Markup> {
    let mut visit = Visit::open(cx, slug).await?;
    let asked = visit.asked(query)?;
    // one more shows whether there is another page
    let limit = i64::try_from(ROWS).unwrap_or(i64::MAX) + 1;
    let mut rows = visit.look.rows(&asked.selection, asked.after, limit).await?;
    let has_more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let shows = visit
        .reveal(asked.shows_values, "the list of conversations")
        .await?;
    let cx = &visit.cx;
    let path = format!("{}/conversations", visit.path);
    let last = rows
        .last()
        .filter(|_| has_more)
        .and_then(|row| row.place(asked.selection.counted));
    let older = last.map(|place| asked.link(&path, &[("after", Some(place_text(place)))]));
    let newest = asked.after.map(|_| asked.link(&path, &[]));
    let title = title(cx, &asked);
    let body = html! {
        p.sub { a href=(asked.link(&visit.path, &[("of", None), ("hour", None), ("weekday", None), ("by", None), ("values", None)])) { "← " (cx.t.visit.back) } }
        header.head { h1 { (title) } div.beside { (parts(cx, &asked)) } }
        @if visit.may_ask_for_values() && !shows { p { (ask_for_values(cx, &asked, &path)) } }
        div.toolbar { a.button href=(asked.link(&format!("{path}.csv"), &[])) download { (cx.t.visit.download) } }
        (table(cx, &visit.path, &rows, shows))
        (pager(cx, newest.as_deref(), older.as_deref()))
    };
    Ok(whole_page(cx, Section::None, &title, &body))
}

fn ask_for_values(cx: &Cx, asked: &Asked, path: &str) -> Markup {
    let link = asked.link(path, &[("values", Some("1".to_owned()))]);
    html! { a.button href=(link) { (cx.t.visit.show_values) } " " span.note { (cx.t.visit.show_values_note) } }
}

fn title(cx: &Cx, asked: &Asked) -> String {
    let selection = &asked.selection;
    let what = words::counted(cx, selection.counted);
    if selection.counted == Counted::Waiting {
        return what.to_owned();
    }
    let text = cx.t.visit.of_rows.replace("{what}", what);
    let text = text.replace("{from}", &words::date(cx, selection.filter.first));
    text.replace("{to}", &words::date(cx, selection.filter.last))
}

/// What narrows the list, in words.
fn parts(cx: &Cx, asked: &Asked) -> Markup {
    let selection = &asked.selection;
    let text = &cx.t.visit;
    let filter = &selection.filter;
    let mut all: Vec<String> = Vec::new();
    all.extend(filter.inbox.map(|id| format!("{} {id}", text.inbox)));
    all.extend(filter.team.map(|id| match id {
        0 => text.no_team.to_owned(),
        id => format!("{} {id}", text.team),
    }));
    all.extend(filter.agent.map(|id| match id {
        0 => text.nobody_assigned.to_owned(),
        id => format!("{} {id}", text.agent),
    }));
    all.extend(filter.channel.as_deref().map(|one| words::channel(cx, one)));
    all.extend(selection.weekday.and_then(|day| {
        let names = words::weekdays(cx);
        usize::try_from(day)
            .ok()
            .and_then(|day| names.get(day).map(|name| (*name).to_owned()))
    }));
    all.extend(selection.hour.map(|hour| format!("{hour} h")));
    all.extend(
        selection
            .handled_by
            .as_deref()
            .map(|by| words::handler(cx, by).to_owned()),
    );
    html! { @for one in &all { span.badge.quiet { (one) } } }
}

fn table(cx: &Cx, path: &str, rows: &[Row], shows: bool) -> Markup {
    if rows.is_empty() {
        return html! { div.empty { p { (cx.t.common.nothing_matches) } } };
    }
    let columns = words::columns(cx);
    let values = if shows { "?values=1" } else { "" };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(cx.t.visit.conversations) {
            table.stack {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { @for row in rows {
                    tr {
                        @for (index, (column, cell)) in columns.into_iter().zip(words::cells(cx, row, shows)).enumerate() {
                            @if index == 0 {
                                th scope="row" { a.id href={ (path) "/conversations/" (row.conversation_id) (values) } { (cell.unwrap_or_default()) } }
                            } @else {
                                td data-label=(column) { @if let Some(cell) = cell { (cell) } @else { span.none { (none()) } } }
                            }
                        }
                    }
                } }
            }
        }
    }
}
