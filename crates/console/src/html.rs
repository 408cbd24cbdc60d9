//! The parts of pages.

pub mod charts;
pub mod lag;
pub mod layout;
pub mod markup;
pub mod parts;
