//! `/api/v1`: the same as JSON, for programs with a token and for pages of one's own.

mod answer;
mod change;
mod document;
mod idempotency;
pub mod problem;
mod read;
mod schema;

pub use self::document::document;

use crate::auth::who::Right::{Operate, Public, View};
use crate::router::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/api/v1/openapi.json", Public, document::serve)
        .get("/api/v1/status", View, read::status)
        .get("/api/v1/tenants", View, read::tenants)
        .get("/api/v1/tenants/{tenant}", View, read::tenant)
        .post("/api/v1/tenants/{tenant}/pause", Operate, change::pause)
        .post("/api/v1/tenants/{tenant}/resume", Operate, change::resume)
        .post("/api/v1/tenants/{tenant}/runs", Operate, change::request_run)
        .get("/api/v1/runs", View, read::runs)
        .get("/api/v1/runs/{run}", View, read::run)
        .get("/api/v1/runs/{run}/chunks", View, read::chunks)
        .post("/api/v1/runs/{run}/cancel", Operate, change::cancel)
        .post("/api/v1/runs/{run}/retry", Operate, change::retry)
        .post(
            "/api/v1/runs/{run}/chunks/{seq}/retry",
            Operate,
            change::retry_chunk,
        )
        .get("/api/v1/rejects", View, read::rejects)
        .get("/api/v1/sources", View, read::sources)
        .get("/api/v1/processes", View, read::processes)
        .get("/api/v1/audit", View, read::audit)
}
