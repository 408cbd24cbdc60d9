//! The web console: pages rendered on the server, live by one stream a tab, and a JSON API.

mod actions;
mod api;
mod assets;
pub mod auth;
mod console;
mod context;
mod error;
mod headers;
mod html;
mod i18n;
mod links;
mod live;
mod metrics;
mod origin;
mod pages;
mod preferences;
mod router;
mod routes;
mod server;
mod tenant_page;
mod watch;

pub use self::api::document as api_document;
pub use self::console::{Console, OpenRabbit, Parts};
pub use self::router::routes;
pub use self::routes::RouteReport;
pub use self::server::{Bound, bind};
pub use self::tenant_page::pool::{NoTenantPages, OpenTenantPages};
