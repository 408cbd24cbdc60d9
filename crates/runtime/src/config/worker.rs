//! Settings of a worker.

use std::time::Duration;

use serde::Deserialize;

use super::value::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// Chunks of one lane that a process reads at a time.
    pub concurrency: u16,
    /// How long a claim lasts without renewal. The worker renews it three times in that time.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// How long a chunk may continue after the first SIGTERM.
    #[serde(deserialize_with = "duration")]
    pub shutdown_grace: Duration,
}

impl WorkerSettings {
    /// Chunks of both lanes that are read at a time. One more than `concurrency`, so that bulk chunks never block a live one.
    #[must_use]
    pub const fn read_permits(&self) -> u16 {
        self.concurrency.saturating_add(1)
    }

    /// Chunks of both lanes that are loaded at a time: those being read, and one more of each lane that finished reading.
    #[must_use]
    pub const fn load_permits(&self) -> u16 {
        self.read_permits().saturating_add(2)
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 2,
            lease: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}
