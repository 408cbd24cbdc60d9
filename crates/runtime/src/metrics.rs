//! Metrics of every process: their names, and the instruments that several crates use. Other crates have a `metrics.rs` for
//! their own. Names contain the unit; the table in docs/observability.md describes each metric.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::{KeyValue, global};
use sqlx::PgPool;

pub const BUILD_INFO: &str = "tidemark_build_info";
pub const STAGE_DURATION: &str = "tidemark_stage_duration_seconds";
pub const POOL_CONNECTIONS: &str = "tidemark_pool_connections";
pub const POOL_LIMIT: &str = "tidemark_pool_connections_limit";
pub const BROKER_SUBSCRIBED: &str = "tidemark_broker_subscribed";
pub const BROKER_PUBLISHING: &str = "tidemark_broker_publishing";

pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
pub const PROCESS_START: &str = "process_start_time_seconds";
pub const PROCESS_RESIDENT: &str = "process_resident_memory_bytes";
pub const PROCESS_FDS: &str = "process_open_fds";
pub const PROCESS_MAX_FDS: &str = "process_max_fds";

/// Spans that are stages: [`STAGE_DURATION`] records their durations by name.
pub const SPAN_STAGES: [&str; 11] = [
    "plan",
    "plan tenants",
    "dispatch",
    "chunk",
    "claim",
    "extract",
    "compare",
    "stage",
    "load",
    "event",
    "finalize",
];
/// The range from the claim of a small chunk to the plan of a large tenant.
const STAGE_BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The meter that creates instruments. Instruments created before [`crate::telemetry::Telemetry::init`] record nothing.
#[must_use]
pub fn meter() -> Meter {
    global::meter("tidemark")
}

/// Records the duration of a stage.
pub fn record_stage_duration(stage: &'static str, took: Duration) {
    static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
        meter()
            .f64_histogram(STAGE_DURATION)
            .with_description("How long a stage of a run took.")
            .with_unit("s")
            .with_boundaries(STAGE_BOUNDS.to_vec())
            .build()
    });
    DURATION.record(took.as_secs_f64(), &[KeyValue::new("stage", stage)]);
}

/// Exports how many connections of each named pool are in use.
pub fn observe_pools(pools: Vec<(String, PgPool)>) {
    let pools = Arc::new(pools);
    let limits = Arc::clone(&pools);
    meter()
        .u64_observable_gauge(POOL_CONNECTIONS)
        .with_description("Connections to a database, by state.")
        .with_callback(move |now| {
            for (name, pool) in pools.iter() {
                let idle = u64::try_from(pool.num_idle()).unwrap_or(u64::MAX);
                let used = u64::from(pool.size()).saturating_sub(idle);
                for (state, count) in [("used", used), ("idle", idle)] {
                    let labels = [KeyValue::new("pool", name.clone()), KeyValue::new("state", state)];
                    now.observe(count, &labels);
                }
            }
        })
        .build();
    meter()
        .u64_observable_gauge(POOL_LIMIT)
        .with_description("Connections to a database that may be open.")
        .with_callback(move |now| {
            for (name, pool) in limits.iter() {
                let limit = u64::from(pool.options().get_max_connections());
                now.observe(limit, &[KeyValue::new("pool", name.clone())]);
            }
        })
        .build();
}

/// Exports version and role of this process.
pub fn observe_build(role: &'static str) {
    meter()
        .u64_observable_gauge(BUILD_INFO)
        .with_description("Version and role of this process.")
        .with_callback(move |now| {
            let version = KeyValue::new("version", env!("CARGO_PKG_VERSION"));
            now.observe(1, &[version, KeyValue::new("role", role)]);
        })
        .build();
}
