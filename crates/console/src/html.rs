//! The parts of pages.

pub mod charts;
pub mod layout;
pub mod markup;
pub mod parts;
