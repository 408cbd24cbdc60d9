//! Retries one chunk.

use axum::extract::Path;
use axum::response::Response;
use tidemark_shared::ids::RunId;

use super::form;
use super::run::try_retry;
use crate::auth::who::Right;
use crate::context::Cx;
use crate::routes::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes.post("/runs/{run}/chunks/{seq}/do/retry", Right::Operate, retry)
}

async fn retry(cx: Cx, Path((run, seq)): Path<(RunId, i32)>) -> Response {
    match try_retry(&cx, run, Some(seq)).await {
        Ok((run, message)) => form::go(&cx, &format!("/runs/{run}"), &message),
        Err(error) => error.page(&cx),
    }
}
