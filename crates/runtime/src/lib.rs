//! Parts of every process: settings and secrets, start and stop, telemetry and metrics.

pub mod config;
pub mod finding;
pub mod lifecycle;
pub mod metrics;
pub mod pulse;
pub mod telemetry;
pub mod ticker;
pub mod wake;
