//! Decides work: plans runs and dispatches chunks. Never touches a row of data.

pub mod loops;
pub mod metrics;
pub mod planning;
