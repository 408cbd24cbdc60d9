//! `/api/v1`: the same as JSON.

pub mod problem;

use crate::router::Routes;

/// The description of the API.
#[must_use]
pub fn document() -> String {
    String::new()
}

pub(crate) fn add(routes: Routes) -> Routes {
    routes
}
