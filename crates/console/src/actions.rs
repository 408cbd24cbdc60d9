//! What people can do from a page: one route an action, with its right, its confirmation and its command.

pub mod audit;
pub mod bulk;
pub mod button;
pub mod chunk;
pub mod dead;
pub mod form;
pub mod job;
pub mod run;
pub mod source;
pub mod tenant;
pub mod tenant_action;
mod tenant_fields;
pub mod tenant_work;
pub mod upload;
pub mod webhook;

use crate::routes::Routes;

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
    webhook::add(bulk::add(source::add(dead::add(chunk::add(run::add(
        tenant::add(routes),
    ))))))
}
