//! The two ends of a transform, which extract and load share: a conversation as the source has it, and the target's columns
//! with how they are written.

pub mod columns;
mod copy_value;
pub mod encode;
pub mod source;
pub mod value;
