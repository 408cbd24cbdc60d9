//! How long the ledger keeps what has ended.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, duration};

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

impl RetentionSettings {
    /// # Errors
    /// When something would be kept for less than a day: done chunks say what was read when, and a load that began before
    /// them must find them.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let kept = [
            ("success", self.success),
            ("failed", self.failed),
            ("audit", self.audit),
        ];
        for (name, kept) in kept {
            if kept < DAY {
                return Err(ConfigError::Value(format!(
                    "retention.{name} must be at least 1day"
                )));
            }
        }
        Ok(())
    }
}
