//! Findings of a check-up: the severity, the problem, and commands that fix it.

mod check;
mod found;
mod isolation;
mod source;

use std::time::Duration;

use serde::Serialize;

use tidemark_net::tls::Exposure;

pub use self::check::Check;
pub use self::found::{ClockOf, Found, ManagementFault};
pub use self::isolation::{BackupFault, IsolationFault};
pub use self::source::{IndexReason, Lack, Relation, Scanned, SourceFound, time};

/// Severity, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// The check could not run; the finding says why.
    NotChecked,
    /// It works, but badly or not for long.
    Warning,
    /// It does not work.
    Error,
}

/// The result of one check. Scripts rely on the field names.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub level: Level,
    pub check: Check,
    pub found: Found,
    /// Commands or statements that fix it, ready to type.
    pub todo: Vec<String>,
}

impl Finding {
    fn new(level: Level, check: Check, found: impl Into<Found>) -> Self {
        Self {
            level,
            check,
            found: found.into(),
            todo: Vec::new(),
        }
    }

    #[must_use]
    pub fn ok(check: Check, found: impl Into<Found>) -> Self {
        Self::new(Level::Ok, check, found)
    }

    #[must_use]
    pub fn not_checked(check: Check, error: impl Into<String>) -> Self {
        Self::new(Level::NotChecked, check, Found::Failed(error.into()))
    }

    /// It could not be checked, for a reason of ours.
    #[must_use]
    pub fn skipped(check: Check, found: impl Into<Found>) -> Self {
        Self::new(Level::NotChecked, check, found)
    }

    #[must_use]
    pub fn warning(check: Check, found: impl Into<Found>) -> Self {
        Self::new(Level::Warning, check, found)
    }

    #[must_use]
    pub fn error(check: Check, found: impl Into<Found>) -> Self {
        Self::new(Level::Error, check, found)
    }

    /// Adds a command or statement that fixes it.
    #[must_use]
    pub fn todo(mut self, command: impl Into<String>) -> Self {
        self.todo.push(command.into());
        self
    }
}

/// Whether others can read or change the traffic to a server; `todo` fixes it.
#[must_use]
pub fn encryption_finding(exposure: Option<Exposure>, todo: &str) -> Finding {
    match exposure {
        None => Finding::ok(Check::Encryption, Found::Encrypted),
        Some(exposure) => Finding::warning(Check::Encryption, Found::Exposed(exposure)).todo(todo),
    }
}

/// Runs one server's check-up with a time limit. Findings made before the limit stay.
pub async fn with_time_limit(
    limit: Duration,
    findings: &mut Vec<Finding>,
    check_up: impl AsyncFnOnce(&mut Vec<Finding>),
) {
    if tokio::time::timeout(limit, check_up(findings)).await.is_err() {
        findings.push(Finding::error(Check::Time, Found::NoAnswer(limit.as_secs())));
    }
}

/// A size for display: `1.4 GB`.
#[must_use]
pub fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut tenths = count.max(0).saturating_mul(10);
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    match unit {
        0 => format!("{} B", tenths / 10),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

/// A number with its noun: `1 tenant`, `2 tenants`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// The first ten items, and the number of further items.
#[must_use]
pub fn listed<T: std::fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 10;
    let mut text: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    if items.len() > SHOWN {
        text.push(format!("and {} more", items.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_are_short() {
        let sizes = [0, 900, 20_480, 1_500_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "900 B", "20.0 kB", "1.3 GB"]);
        assert_eq!(listed(&[1, 2]), "1, 2");
        assert_eq!(
            listed(&(1..=12).collect::<Vec<_>>()),
            "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and 2 more"
        );
    }
}
