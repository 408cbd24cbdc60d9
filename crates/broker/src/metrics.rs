//! Metrics of the connection to the broker.

use std::sync::Arc;

use opentelemetry::KeyValue;
use tidemark_runtime::metrics::{BROKER_PUBLISHING, BROKER_SUBSCRIBED, meter};

use super::health::PublisherHealth;
use super::queue::Queue;

/// Exports whether this process can publish and is subscribed.
pub fn observe_queue(queue: Arc<dyn Queue>) {
    let publisher = Arc::clone(&queue);
    meter()
        .u64_observable_gauge(BROKER_SUBSCRIBED)
        .with_description("1 while the broker has accepted the subscription to a queue.")
        .with_callback(move |now| {
            for consumer in queue.health().consumers {
                let labels = [KeyValue::new("queue", consumer.queue)];
                now.observe(u64::from(consumer.subscribed), &labels);
            }
        })
        .build();
    meter()
        .u64_observable_gauge(BROKER_PUBLISHING)
        .with_description("0 while the last publication has failed.")
        .with_callback(move |now| {
            let publishing = publisher.health().publisher != PublisherHealth::Failing;
            now.observe(u64::from(publishing), &[]);
        })
        .build();
}
