//! JSON answers with their ETag.

use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem;
use crate::actions::form::seen;
use crate::context::Cx;
use crate::error::{PageError, PageResult};

/// A list or a status: unchanged content is not sent again.
pub fn cached(headers: &HeaderMap, content: &impl Serialize) -> Response {
    let tag = tag(content);
    if names(headers, IF_NONE_MATCH.as_str(), &tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    json(StatusCode::OK, content, Some(tag))
}

/// An object whose ETag stands for the part that a change would alter.
pub fn changeable(content: &impl Serialize, state: &impl Serialize) -> Response {
    json(StatusCode::OK, content, Some(tag(state)))
}

pub fn json(status: StatusCode, content: &impl Serialize, tag: Option<String>) -> Response {
    let Ok(body) = serde_json::to_vec(content) else {
        return problem::plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer cannot be written as JSON",
        )
        .into_response();
    };
    let kind = [(CONTENT_TYPE, "application/json")];
    match tag {
        Some(tag) => (status, kind, [(ETAG, tag)], body).into_response(),
        None => (status, kind, body).into_response(),
    }
}

pub fn tag(content: &impl Serialize) -> String {
    format!("\"{}\"", seen(content))
}

/// Refuses a change that was decided upon another state. Without the header nothing is compared.
pub fn check_if_match(headers: &HeaderMap, state: &impl Serialize) -> PageResult<()> {
    if !headers.contains_key(IF_MATCH) || names(headers, IF_MATCH.as_str(), &tag(state)) {
        return Ok(());
    }
    Err(PageError::Stale)
}

fn names(headers: &HeaderMap, header: &str, tag: &str) -> bool {
    let values = headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|one| matches!(one.trim(), "*") || one.trim() == tag)
}

pub fn failed(cx: &Cx, error: &PageError) -> Response {
    problem::of(error, cx).into_response()
}
