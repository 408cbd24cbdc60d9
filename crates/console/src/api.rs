//! `/api/v1`: the same as JSON, for programs with a token and for pages of one's own.

mod answer;
mod bulk;
mod change;
mod document;
mod idempotency;
mod operate;
mod plan;
pub mod problem;
mod read;
mod schema;
mod tenant;
mod webhook;

pub use self::document::document;

use crate::auth::who::Right::{Administer, Operate, Public, View};
use crate::routes::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/api/v1/openapi.json", Public, document::serve)
        .get("/api/v1/status", View, read::status)
        .get("/api/v1/tenants", View, read::tenants)
        .get("/api/v1/tenants/{tenant}", View, read::tenant)
        .post("/api/v1/tenants/{tenant}/pause", Operate, change::pause)
        .post("/api/v1/tenants/{tenant}/resume", Operate, change::resume)
        .post("/api/v1/tenants/{tenant}/runs", Operate, change::request_run)
        .get("/api/v1/tenants/{tenant}/plan", Operate, plan::plan)
        .post("/api/v1/tenants/{tenant}/repair", Operate, plan::repair)
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
        .post("/api/v1/tenants/{tenant}/settings", Administer, tenant::settings)
        .post(
            "/api/v1/tenants/{tenant}/watermark",
            Administer,
            tenant::watermark,
        )
        .post("/api/v1/tenants/{tenant}/inboxes/map", Administer, tenant::map)
        .post(
            "/api/v1/tenants/{tenant}/inboxes/unmap",
            Administer,
            tenant::unmap,
        )
        .post("/api/v1/tenants/{tenant}/forget", Administer, tenant::forget)
        .post("/api/v1/tenants/{tenant}/remove", Administer, tenant::remove)
        .post("/api/v1/dead/redrive", Operate, operate::redrive)
        .post("/api/v1/dead/purge", Administer, operate::purge)
        .post(
            "/api/v1/sources/{source}/accept-restore",
            Administer,
            operate::accept,
        )
        .get("/api/v1/webhooks", View, webhook::list)
        .post("/api/v1/webhooks", Administer, webhook::add)
        .get("/api/v1/webhooks/{webhook}", View, webhook::one)
        .get("/api/v1/webhooks/{webhook}/messages", View, webhook::messages)
        .post("/api/v1/webhooks/{webhook}/test", Operate, webhook::test)
        .post("/api/v1/webhooks/{webhook}/retry", Operate, webhook::retry)
        .post("/api/v1/webhooks/{webhook}/remove", Administer, webhook::remove)
        .get("/api/v1/bulk", View, bulk::list)
        .post("/api/v1/bulk", Operate, bulk::prepare)
        .get("/api/v1/bulk/{bulk}", View, bulk::one)
        .get("/api/v1/bulk/{bulk}/items", View, bulk::items)
        .post("/api/v1/bulk/{bulk}/start", Operate, bulk::start)
        .post("/api/v1/bulk/{bulk}/stop", Operate, bulk::stop)
        .get("/api/v1/rejects", View, read::rejects)
        .get("/api/v1/sources", View, read::sources)
        .get("/api/v1/processes", View, read::processes)
        .get("/api/v1/audit", View, read::audit)
}
