//! Does the work of a chunk: extract, transform, load. Never plans, never moves a watermark.

pub mod extract;
pub mod load;
pub mod transform;

#[cfg(test)]
mod test_server;
