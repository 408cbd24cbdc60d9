//! The published view of an installation: its columns, their types, and the expressions over them.

mod accounts;
mod columns;
mod lookup;
mod message_keys;
mod shape;

pub use self::shape::{ShownName, ViewShape};
