//! How long the ledger keeps what has ended.

use std::time::Duration;

use serde::Deserialize;

use super::value::duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Runs that succeeded, with their chunks.
    #[serde(deserialize_with = "duration")]
    pub success: Duration,
    /// Other runs that have ended, with their chunks, and rejects that were resolved.
    #[serde(deserialize_with = "duration")]
    pub failed: Duration,
    /// Moves of watermarks.
    #[serde(deserialize_with = "duration")]
    pub audit: Duration,
    /// Pause between two looks of a finalizer for what is older; zero: it does not look.
    #[serde(deserialize_with = "duration")]
    pub prune_every: Duration,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            success: 14 * DAY,
            failed: 90 * DAY,
            audit: 365 * DAY,
            prune_every: Duration::from_secs(3600),
        }
    }
}
