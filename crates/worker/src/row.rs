//! The row types that extract, transform and load share: a conversation as the source has it, and the target's columns.

pub mod columns;
mod copy_value;
pub mod encode;
pub mod source;
pub mod value;
