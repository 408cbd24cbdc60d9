//! How long the ledger keeps finished runs and records.

use std::time::Duration;

use serde::Deserialize;

use super::value::duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Successful runs with their chunks.
    #[serde(deserialize_with = "duration")]
    pub success: Duration,
    /// Other finished runs with their chunks, and resolved rejects.
    #[serde(deserialize_with = "duration")]
    pub failed: Duration,
    /// Changes of watermarks.
    #[serde(deserialize_with = "duration")]
    pub audit: Duration,
    /// The feed of changed conversations.
    #[serde(deserialize_with = "duration")]
    pub changes: Duration,
    /// Time between two searches of a finalizer for older records; zero turns pruning off.
    #[serde(deserialize_with = "duration")]
    pub prune_every: Duration,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            success: 14 * DAY,
            failed: 90 * DAY,
            audit: 365 * DAY,
            changes: 30 * DAY,
            prune_every: Duration::from_secs(3600),
        }
    }
}
