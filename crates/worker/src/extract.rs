//! Reads the rows of a chunk from a source.

pub mod record;
