//! Decides work: plans runs, dispatches chunks, closes runs, advances watermarks. Never touches a row of data.

pub mod dispatch;
pub mod finalize;
mod membership;
pub mod plan;
pub mod request;
pub mod rescue;
pub mod sample;
pub mod schedule;
mod signals;
pub mod wake;
