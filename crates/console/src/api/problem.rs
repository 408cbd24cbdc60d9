//! Errors of the API: RFC 9457, with what to do and the exit code that the command would have.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidemark_operations::error::OperationError;
use utoipa::ToSchema;

use crate::console::Console;
use crate::context::Cx;
use crate::error::PageError;
use crate::i18n::Language;

/// The kind of content of every error of the API.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Longer texts of errors are no texts.
const LONGEST: usize = 4_096;

/// `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what_to_do: Option<String>,
    /// The code with which the command would end.
    pub exit_code: u8,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(CONTENT_TYPE, PROBLEM_JSON)];
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, kind, [(RETRY_AFTER, "5")], body).into_response();
        }
        (status, kind, body).into_response()
    }
}

/// Makes a problem of every refusal of the API that came about before its functions: a path, a query or a body that cannot be
/// read, another site.
pub async fn complete(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let is_api = console.links.strip(request.uri().path()).starts_with("/api/");
    let response = next.run(request).await;
    let status = response.status();
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes() == PROBLEM_JSON.as_bytes());
    if !is_api || is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, LONGEST)
        .await
        .ok()
        .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let text = text.filter(|text| !text.is_empty());
    let text = text.unwrap_or_else(|| match status {
        StatusCode::METHOD_NOT_ALLOWED => "this method is not possible here: see the header Allow".to_owned(),
        _ => "this request cannot be read: see /api/v1/openapi.json".to_owned(),
    });
    let mut response = plain(status, &text).into_response();
    if let Some(allow) = parts.headers.get(ALLOW) {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}

/// The problem of a status alone.
pub fn plain(status: StatusCode, detail: &str) -> Problem {
    let exit_code = match status.as_u16() {
        401 | 403 => 78,
        503 | 502 => 69,
        400..500 => 64,
        _ => 1,
    };
    // texts of errors name the remedy after the last colon
    let (detail, what_to_do) = match detail.split_once(": ") {
        Some((what, next)) => (what.to_owned(), Some(next.to_owned())),
        None => (detail.to_owned(), None),
    };
    Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("error").to_owned(),
        status: status.as_u16(),
        detail,
        what_to_do,
        exit_code,
    }
}

pub fn of(error: &PageError, _: &Cx) -> Problem {
    let status = error.status();
    let mut problem = match error {
        PageError::NotFound => plain(
            status,
            "there is nothing of this id, or it is another tenant's: list what there is with the path one level up",
        ),
        PageError::Forbidden { needed, role } => plain(
            status,
            &format!(
                "the role {} may not do this: use a token with the role {}",
                role.as_str(),
                needed.role().as_str()
            ),
        ),
        PageError::ReadOnly => plain(status, "the console is read-only: console.read_only is set"),
        PageError::Stale => plain(
            status,
            "it has changed since it was read: read it again, and repeat with its new ETag",
        ),
        // programs know the English texts
        _ => match error.text(Language::English.texts()) {
            Some(text) => plain(status, &text),
            None if status == StatusCode::SERVICE_UNAVAILABLE => {
                plain(status, "the ledger does not answer: repeat in a moment")
            }
            None => plain(
                status,
                "the request failed: the log of the console has the details",
            ),
        },
    };
    if let PageError::Operation(OperationError::Refused(refusal)) = error
        && refusal.needs_setup()
    {
        problem.exit_code = 78;
    }
    problem
}
