//! Errors of the API: RFC 9457, with what to do and the exit code that the command would have.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidemark_operations::error::OperationError;
use utoipa::ToSchema;

use crate::context::Cx;
use crate::error::PageError;

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
        let kind = [(CONTENT_TYPE, "application/problem+json")];
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, kind, [(RETRY_AFTER, "5")], body).into_response();
        }
        (status, kind, body).into_response()
    }
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
        PageError::Stale => plain(
            status,
            "it has changed since it was read: read it again, and repeat with its new ETag",
        ),
        _ => match error.text() {
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
    if matches!(error, PageError::Operation(OperationError::NotSetUp(_))) {
        problem.exit_code = 78;
    }
    problem
}
