//! Settings of a producer.

use std::time::Duration;

use serde::Deserialize;

use super::value::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSettings {
    /// How long a loop waits before it reads the ledger again, if nothing wakes it earlier.
    #[serde(deserialize_with = "duration")]
    pub tick: Duration,
    /// Time between two samples of a source's fence.
    #[serde(deserialize_with = "duration")]
    pub fence_interval: Duration,
    /// How long a plan waits for its own fence sample to qualify, if no older sample does.
    #[serde(deserialize_with = "duration")]
    pub fence_wait: Duration,
    /// Minimum distance of the watermark from the source's clock.
    #[serde(deserialize_with = "duration")]
    pub safety_lag: Duration,
    /// Messages created within this time before the watermark are checked for edits.
    #[serde(deserialize_with = "duration")]
    pub message_edit_window: Duration,
    /// For this time after a comparison of a tenant's digests, incremental runs follow the change signals and compare no
    /// digests.
    #[serde(deserialize_with = "duration")]
    pub digest_interval: Duration,
    /// Chunks that may be queued or running at once in the whole fleet.
    pub max_in_flight: i32,
    /// How long a published chunk may wait for a worker before it is published again.
    #[serde(deserialize_with = "duration")]
    pub requeue_after: Duration,
    /// Leases that a chunk may lose before it is dead, because it probably kills its workers.
    pub max_lost: i32,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(500),
            fence_interval: Duration::from_secs(5),
            fence_wait: Duration::from_secs(2),
            safety_lag: Duration::ZERO,
            message_edit_window: Duration::from_secs(7 * 24 * 3600),
            digest_interval: Duration::ZERO,
            max_in_flight: 256,
            requeue_after: Duration::from_secs(120),
            max_lost: 5,
        }
    }
}
