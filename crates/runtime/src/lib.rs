//! What every process has: settings and secrets, its life from start to stop, telemetry and metrics.

pub mod config;
pub mod finding;
pub mod lifecycle;
pub mod metrics;
pub mod pulse;
pub mod telemetry;
pub mod ticker;
pub mod wake;
