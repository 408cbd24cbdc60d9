//! Settings of a producer.

use std::time::Duration;

use serde::Deserialize;

use super::value::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSettings {
    /// Pause between two looks at the ledger when nothing wakes a loop earlier.
    #[serde(deserialize_with = "duration")]
    pub tick: Duration,
    /// Pause between two samples of a source's fence.
    #[serde(deserialize_with = "duration")]
    pub fence_interval: Duration,
    /// How long a plan waits for its own sample to qualify when no older one does.
    #[serde(deserialize_with = "duration")]
    pub fence_wait: Duration,
    /// The watermark stays at least this far behind the source's clock.
    #[serde(deserialize_with = "duration")]
    pub safety_lag: Duration,
    /// Messages created this long before the watermark are looked at for later edits.
    #[serde(deserialize_with = "duration")]
    pub message_edit_window: Duration,
    /// Within this time after a tenant's digests were compared, its incremental runs take what change signals name, and
    /// compare nothing.
    #[serde(deserialize_with = "duration")]
    pub digest_interval: Duration,
    /// Chunks that may be queued or running at once, over the whole fleet.
    pub max_in_flight: i32,
    /// How long a published chunk may wait for a worker before it is published again.
    #[serde(deserialize_with = "duration")]
    pub requeue_after: Duration,
    /// Leases a chunk may lose before it is dead: it seems to kill its workers.
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
