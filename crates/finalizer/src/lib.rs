//! Closes runs, advances watermarks, rescues chunks, deletes old runs. Never touches a source.

pub mod analyze;
pub mod daily;
pub mod events;
pub mod finalize;
pub mod fleet;
pub mod metrics;
pub mod prune;
pub mod rescue;
pub mod webhooks;
