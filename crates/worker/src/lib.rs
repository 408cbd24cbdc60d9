//! The worker: claims chunks, extracts, transforms and loads. It never plans and never moves a watermark.

pub mod compare;
pub mod consume;
pub mod disposition;
pub mod error;
mod event_publisher;
pub mod execute;
pub mod extract;
pub mod inspect;
mod lease;
mod ledger_retry;
pub mod load;
pub mod metrics;
mod read_permits;
pub mod rejects;
pub mod row;
mod settle;
mod tenant_context;
pub mod transform;

#[cfg(test)]
mod test_server;
