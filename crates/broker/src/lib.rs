//! The queue between producer, workers and finalizer: a trait with two implementations, RabbitMQ and memory.
//!
//! Only this crate acknowledges messages: a handler returns [`Settle`], and the consumer settles the delivery.

mod certificates;
mod checkup;
mod connection;
mod consumer;
mod dead;
mod delivery;
mod depth;
mod destination;
mod error;
mod health;
mod management;
mod memory;
mod message;
pub mod metrics;
mod open_connection;
mod publisher;
mod queue;
mod rabbit;
mod settings;
#[cfg(test)]
mod tests;
mod topology;

pub use dead::{DeadDelivery, DeadFilter, DeadGroup, DeadLetters, DeadMessage};
pub use delivery::{Handler, Outgoing, Published, Received, Settle};
pub use destination::{Destination, Route};
pub use error::QueueError;
pub use health::{ConsumerHealth, PublisherHealth, QueueHealth};
pub use memory::MemoryQueue;
pub use queue::{Queue, QueueDepth};
pub use rabbit::RabbitQueue;
pub use settings::RabbitSettings;
