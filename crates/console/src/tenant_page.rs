//! The page of a tenant's own people: `/t/{slug}`. Its rows come from a pool of its own, and the tenant from the session.

mod charts;
mod conversation;
mod csv;
mod defuse;
mod filters;
mod list;
mod measures;
pub mod not_set_up;
mod numbers;
mod overview;
mod places;
pub mod pool;
mod responses;
mod visit;
mod words;

use crate::auth::who::Right::Visit;
use crate::routes::Routes;

pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/t/{slug}", Visit, overview::page)
        .get("/t/{slug}/conversations", Visit, list::page)
        .get("/t/{slug}/conversations.csv", Visit, csv::download)
        .get(
            "/t/{slug}/conversations/{conversation}",
            Visit,
            conversation::page,
        )
}
