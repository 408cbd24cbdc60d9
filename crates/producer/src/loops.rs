//! The loops of a producer.

pub mod dispatch;
pub mod notices;
pub mod request;
pub mod sample;
pub mod schedule;
mod write_plan;
