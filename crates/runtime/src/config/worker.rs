//! Settings of a worker.

use std::time::Duration;

use serde::Deserialize;

use super::value::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// Chunks of a lane that are read at a time, a process.
    pub concurrency: u16,
    /// How long a claim holds without renewal; it is renewed three times in that span.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// How long a chunk may go on after the first SIGTERM.
    #[serde(deserialize_with = "duration")]
    pub shutdown_grace: Duration,
}

impl WorkerSettings {
    /// Chunks of both lanes that are read at a time: whatever bulk ones are, there is a place for a live one.
    #[must_use]
    pub const fn read_permits(&self) -> u16 {
        self.concurrency.saturating_add(1)
    }

    /// Chunks of both lanes that are loaded at a time: those that are read, and one of each lane that has been.
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
