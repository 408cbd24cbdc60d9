//! The published view of an installation: which of the columns that are read it has, and as what.

mod columns;
mod lookup;
mod message_keys;
mod shape;

pub use self::shape::ViewShape;
