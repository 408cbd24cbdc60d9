//! What producer and worker must agree on; knows no role.
//!
//! Domain (pure, synchronous): `ids tenant privacy run selection chunk fence retry job since progress why`. Machinery: `db` (the
//! only home of control SQL), `broker` (the only code that says lapin), `source` (sessions on Chatwoot), `legacy` (the
//! database of the Python script), `overview` (how all stands), `config`, `telemetry`, `lifecycle`.

pub mod broker;
pub mod chunk;
pub mod config;
pub mod db;
pub mod fence;
pub mod finding;
pub mod ids;
pub mod job;
pub mod legacy;
pub mod lifecycle;
pub mod mass_delete;
pub mod metrics;
pub mod overview;
pub mod privacy;
pub mod progress;
pub mod pulse;
pub mod report;
pub mod retry;
pub mod run;
pub mod selection;
pub mod since;
pub mod source;
pub mod source_time;
pub mod sqlstate;
pub mod telemetry;
pub mod tenant;
pub mod tls;
pub mod verification;
pub mod why;
