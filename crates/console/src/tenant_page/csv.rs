//! The list of conversations as a file: the same cells as on the screen.

use axum::body::Body;
use axum::extract::{Path, Query as QueryOf};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tidemark_ledger::DbResult;
use tidemark_ledger::tenant_page::Look;
use tidemark_ledger::tenant_page::rows::{Place, Row, Selection};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::ids::TenantId;

use super::defuse;
use super::filters::Query;
use super::visit::Visit;
use super::words;
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::i18n::Language;

/// Rows of one look. Each is a transaction of its own, so a slow reader holds no snapshot of the database.
const ROWS: i64 = 4_000;
/// Spreadsheets read a file with it as UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

pub async fn download(cx: Cx, Path(slug): Path<String>, QueryOf(query): QueryOf<Query>) -> Response {
    match build(cx.clone(), &slug, &query).await {
        Ok(response) => response,
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, slug: &str, query: &Query) -> PageResult<Response> {
    let mut visit = Visit::open(cx, slug).await?;
    let asked = visit.asked(query)?;
    let shows = visit
        .reveal(asked.shows_values, "a file of conversations")
        .await?;
    let selection = asked.selection;
    // the days stay those of the first look, also when midnight passes
    let mut rows = visit.look.rows(&selection, None, ROWS).await?;
    let pool = visit
        .cx
        .console
        .tenant_pages
        .pool()
        .await
        .map_err(PageError::NoTenantPages)?;
    let Visit { cx, tenant, look, .. } = visit;
    drop(look);
    let name = format!(
        "{slug}-{}-{}-{}.csv",
        selection.counted.as_str(),
        selection.filter.first,
        selection.filter.last
    );
    let separator = match cx.preferences.language {
        Language::English => ',',
        Language::Portuguese => ';',
    };
    let lines = async_stream::stream! {
        let columns = words::columns(&cx).map(|column| Some(column.to_owned()));
        yield Ok::<_, std::io::Error>(format!("{BYTE_ORDER_MARK}{}", line(&columns, separator)));
        loop {
            let text: String = rows.iter().map(|row| line(&words::cells(&cx, row, shows), separator)).collect();
            yield Ok(text);
            let last = rows.last().filter(|_| i64::try_from(rows.len()) == Ok(ROWS));
            let Some(place) = last.and_then(|row| row.place(selection.counted)) else { break };
            match more(&pool, tenant, &selection, place).await {
                Ok(found) => rows = found,
                Err(error) => {
                    // the browser sees that the file is not whole
                    tracing::warn!(error = %report(&error), "file of conversations broken off");
                    yield Err(std::io::Error::other("the database does not answer"));
                    break;
                }
            }
        }
    };
    let body = Body::from_stream(lines);
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, body).into_response())
}

async fn more(pool: &DbPool, tenant: TenantId, selection: &Selection, place: Place) -> DbResult<Vec<Row>> {
    Look::begin(pool, tenant)
        .await?
        .rows(selection, Some(place), ROWS)
        .await
}

fn line(cells: &[Option<String>], separator: char) -> String {
    let cells: Vec<String> = cells
        .iter()
        .map(|cell| defuse::cell(cell.as_deref().unwrap_or_default(), separator))
        .collect();
    format!("{}\r\n", cells.join(&separator.to_string()))
}
