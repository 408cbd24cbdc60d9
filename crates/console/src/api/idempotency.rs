//! `Idempotency-Key`: a repeated request gets the first answer, and changes nothing.

use std::future::Future;

use axum::body::to_bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tidemark_ledger as ledger;
use tidemark_postgres::report::report;

use super::answer::{failed, json};
use super::problem;
use crate::auth::secret;
use crate::context::Cx;
use crate::error::PageError;

const LONGEST_KEY: usize = 200;
/// Answers of changes are small.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Makes the change, unless the same author has sent the same request with this key before.
pub async fn once(
    cx: &Cx,
    headers: &HeaderMap,
    body: &[u8],
    change: impl Future<Output = Response>,
) -> Response {
    let Some(key) = headers.get("idempotency-key") else {
        return change.await;
    };
    let Some(key) = key
        .to_str()
        .ok()
        .filter(|key| (1..=LONGEST_KEY).contains(&key.len()))
    else {
        return problem::plain(
            StatusCode::BAD_REQUEST,
            "the Idempotency-Key is not 1 to 200 visible characters: send a UUID",
        )
        .into_response();
    };
    let Some(who) = &cx.who else {
        return failed(cx, &PageError::NotFound);
    };
    let actor = who.actor();
    let db = &cx.console.db;
    let hash = secret::hash(&format!("{}\n{}", cx.here, String::from_utf8_lossy(body)));
    match ledger::console::request::begin(db, actor.as_str(), key, &hash).await {
        Ok(true) => {}
        Ok(false) => return again(cx, actor.as_str(), key, &hash).await,
        Err(error) => return failed(cx, &error.into()),
    }
    let response = change.await;
    let (parts, content) = response.into_parts();
    let bytes = to_bytes(content, LONGEST_ANSWER).await.unwrap_or_default();
    let status = parts.status;
    // what failed by itself may be tried again
    let stored = if status.is_server_error() {
        ledger::console::request::abandon(db, actor.as_str(), key).await
    } else {
        let mut answer: Option<Value> = serde_json::from_slice(&bytes).ok();
        // it is shown once, and not stored
        if let Some(Value::Object(fields)) = &mut answer {
            fields.remove("secret");
        }
        ledger::console::request::end(db, actor.as_str(), key, status.as_u16(), answer.as_ref()).await
    };
    if let Err(error) = stored {
        tracing::warn!(error = %report(&error), "answer of a request with a key not stored");
    }
    Response::from_parts(parts, bytes.into())
}

async fn again(cx: &Cx, actor: &str, key: &str, hash: &[u8]) -> Response {
    let earlier = match ledger::console::request::find(&cx.console.db, actor, key).await {
        Ok(earlier) => earlier,
        Err(error) => return failed(cx, &error.into()),
    };
    match earlier {
        Some(earlier) if earlier.request_hash != hash => problem::plain(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key belongs to another request: send a new key",
        )
        .into_response(),
        Some(earlier) => match earlier.status.and_then(|status| u16::try_from(status).ok()) {
            Some(204) => StatusCode::NO_CONTENT.into_response(),
            Some(status) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                json(status, &earlier.body, None)
            }
            None => in_hand(),
        },
        None => in_hand(),
    }
}

fn in_hand() -> Response {
    problem::plain(
        StatusCode::CONFLICT,
        "the first request with this Idempotency-Key has not ended: repeat in a moment",
    )
    .into_response()
}
