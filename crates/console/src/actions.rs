//! What people can do from a page: one route an action, with its right, its confirmation and its command.

pub mod audit;
pub mod button;
pub mod chunk;
pub mod dead;
pub mod form;
pub mod run;
pub mod source;
pub mod tenant;
mod tenant_fields;
mod tenant_work;

use crate::router::Routes;

/// How much an action can break, and so how it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// At once.
    None,
    /// A dialog with numbers.
    Some,
    /// A dialog in which the name has to be typed.
    Much,
}

pub(crate) fn add(routes: Routes) -> Routes {
    source::add(dead::add(chunk::add(run::add(tenant::add(routes)))))
}
