//! Writes transformed rows into the target.

pub mod columns;
pub mod encode;
pub mod value;
