//! The ranges of durations that are passed as flags.

use std::time::Duration;

use tidemark_runtime::config::duration_within;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// What the ledger's clock can be moved by.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// Between two syncs or two comparisons of a tenant; the ledger checks the same end.
pub fn interval(text: &str) -> Result<Duration, String> {
    duration_within(text, SECOND, Duration::from_secs(365 * 24 * 3600))
}

/// How long the ledger keeps something.
pub fn kept(text: &str) -> Result<Duration, String> {
    duration_within(text, DAY, LONGEST)
}

/// Between two lines.
pub fn pause(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, HOUR)
}

/// How long ago, or for how long.
pub fn age(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, LONGEST)
}
