//! What producer and worker must agree on; knows no role.

pub mod broker;
pub mod ids;
pub mod job;
pub mod source_time;
