//! The pages.

mod audit;
pub mod bulk;
mod dead;
mod doctor;
mod fleet;
mod history;
pub mod live;
pub mod login;
mod needs;
pub mod on_demand;
mod overview;
mod preferences;
pub mod preview;
mod rejects;
mod run;
mod runs;
pub mod scope;
mod search;
mod settings;
mod sources;
mod tenant;
mod tenants;
mod verify;
pub mod webhooks;
mod why;

pub use self::login::is_own_path;

use crate::auth::who::Right::{Administer, Operate, Public, View, Visit};
use crate::routes::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/login", Public, login::form)
        .post("/login", Public, login::sign_in)
        .post("/logout", Visit, login::sign_out)
        .post("/preferences", Public, preferences::save)
        .get("/", View, overview::page)
        .get("/tenants", View, tenants::page)
        .get("/tenants/{tenant}", View, tenant::page)
        .get("/tenants/{tenant}/conversations/{conversation}", View, why::page)
        .get("/runs", View, runs::page)
        .get("/runs/{run}", View, run::page)
        .get("/rejects", View, rejects::page)
        .get("/sources", View, sources::page)
        .get("/fleet", View, fleet::page)
        .get("/dead", View, dead::page)
        .post("/dead/look", Operate, dead::look)
        .get("/doctor", View, doctor::page)
        .post("/doctor/check", Operate, doctor::check)
        .get("/verify", View, verify::page)
        .get("/audit", View, audit::page)
        .get("/webhooks", View, webhooks::list)
        .get("/webhooks/{webhook}", View, webhooks::page)
        .get("/bulk", View, bulk::list)
        .get("/bulk/{bulk}", View, bulk::page)
        .get("/settings", Administer, settings::page)
        .post(
            "/settings/sessions/{session}/revoke",
            Administer,
            settings::revoke,
        )
        .get("/search", View, search::page)
}
