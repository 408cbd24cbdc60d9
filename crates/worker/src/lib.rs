//! Does work: claims chunks, extracts, transforms, loads. Never plans, never moves a watermark.

mod announce;
pub mod consume;
pub mod disposition;
pub mod execute;
pub mod extract;
mod lease;
pub mod load;
pub mod metrics;
mod patience;
mod places;
pub mod rejects;
pub mod transform;
pub mod verify;
pub mod why;

#[cfg(test)]
mod test_server;
