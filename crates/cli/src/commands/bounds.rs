//! The ranges of durations in flags.

use std::time::Duration;

use tidemark_runtime::config::duration_within;
use tidemark_shared::tenant::{INTERVAL_MAX, INTERVAL_MIN};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest interval that PostgreSQL subtracts from its clock without an error.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// Between two syncs or two comparisons of a tenant; the ledger checks the same maximum.
pub fn interval(text: &str) -> Result<Duration, String> {
    duration_within(text, INTERVAL_MIN, INTERVAL_MAX)
}

/// How long the ledger keeps records.
pub fn kept(text: &str) -> Result<Duration, String> {
    duration_within(text, DAY, LONGEST)
}

/// Between two lines of output.
pub fn pause(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, HOUR)
}

/// How long ago, or for how long.
pub fn age(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, LONGEST)
}
