//! Forms with a file of ids. The file is read as it comes; only the ids are kept.

use axum::Form;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use tidemark_operations::ids::{IdReader, IdsError};

use super::form::Given;
use crate::context::Cx;
use crate::error::{PageError, PageResult};

/// The field with the file, and the field that its ids are added to.
const FILE: &str = "ids_file";
const IDS: &str = "ids";
/// The longest text of another field.
const TEXT_LIMIT: usize = 1024 * 1024;

pub fn is_multipart(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"))
}

/// The fields of a form that may have a file of ids.
pub async fn fields(cx: &Cx, request: Request) -> PageResult<Given> {
    let unreadable = || PageError::Refused(cx.t.actions.unreadable_form.to_owned());
    if !is_multipart(request.headers()) {
        let form = Form::<Given>::from_request(request, &()).await;
        return form.map(|Form(fields)| fields).map_err(|_| unreadable());
    }
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|_| unreadable())?;
    let mut fields = Given::new();
    let mut from_file = None;
    while let Some(part) = parts.next_field().await.map_err(|error| explain(cx, &error))? {
        let Some(name) = part.name().map(str::to_owned) else {
            continue;
        };
        if name == FILE {
            // a form without a file sends one without a name
            let is_chosen = part.file_name().is_some_and(|name| !name.is_empty());
            let read = read_ids(cx, part).await?;
            from_file = is_chosen.then_some(read);
        } else {
            fields.insert(name, read_text(cx, part).await?);
        }
    }
    if let Some(ids) = from_file {
        let ids = ids.map_err(|error| PageError::Refused(cx.t.ids_error(&error)))?;
        let typed = fields.entry(IDS.to_owned()).or_default();
        for id in ids {
            if !typed.is_empty() {
                typed.push(',');
            }
            typed.push_str(&id.to_string());
        }
    }
    Ok(fields)
}

async fn read_ids(cx: &Cx, mut part: Field<'_>) -> PageResult<Result<Vec<i64>, IdsError>> {
    let mut reader = IdReader::default();
    while let Some(bytes) = part.chunk().await.map_err(|error| explain(cx, &error))? {
        reader
            .push(&bytes)
            .map_err(|error| PageError::Refused(cx.t.ids_error(&error)))?;
    }
    Ok(reader.finish())
}

async fn read_text(cx: &Cx, mut part: Field<'_>) -> PageResult<String> {
    let mut text = Vec::new();
    while let Some(bytes) = part.chunk().await.map_err(|error| explain(cx, &error))? {
        text.extend_from_slice(&bytes);
        if text.len() > TEXT_LIMIT {
            return Err(PageError::Refused(cx.t.actions.too_large.to_owned()));
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn explain(cx: &Cx, error: &MultipartError) -> PageError {
    PageError::Refused(match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => cx.t.actions.too_large.to_owned(),
        _ => cx.t.actions.unreadable_form.to_owned(),
    })
}
