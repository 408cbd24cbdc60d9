//! What a check-up finds: how bad it is, what it is, what to do.

use std::time::Duration;

use serde::Serialize;

use tidemark_net::tls::Exposure;

/// Ordered by how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It could not be looked at: the finding says why.
    NotChecked,
    /// It works, worse than it could or not for long.
    Warning,
    /// It does not work.
    Error,
}

/// One thing that was looked at; the field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// What was looked at, in one word.
    pub check: &'static str,
    pub found: String,
    /// Commands or statements, as they are to be typed.
    pub todo: Vec<String>,
}

impl Finding {
    fn new(level: Level, check: &'static str, found: impl Into<String>) -> Self {
        Self {
            level,
            check,
            found: found.into(),
            todo: Vec::new(),
        }
    }

    #[must_use]
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, found)
    }

    #[must_use]
    pub fn not_checked(check: &'static str, why: impl Into<String>) -> Self {
        Self::new(Level::NotChecked, check, why)
    }

    #[must_use]
    pub fn warning(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Level::Warning, check, found)
    }

    #[must_use]
    pub fn error(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Level::Error, check, found)
    }

    /// Adds what is to be typed.
    #[must_use]
    pub fn todo(mut self, command: impl Into<String>) -> Self {
        self.todo.push(command.into());
        self
    }
}

/// What others on the way to a server could do; `todo` mends it.
#[must_use]
pub fn encryption_finding(exposure: Option<Exposure>, todo: &str) -> Finding {
    match exposure {
        None => Finding::ok(
            "encryption",
            "nobody on the way can listen or answer in its place",
        ),
        Some(exposure) => Finding::warning("encryption", exposure.to_string()).todo(todo),
    }
}

/// Runs one server's check-up; what it has found stays when it does not end in time.
pub async fn with_time_limit(
    limit: Duration,
    findings: &mut Vec<Finding>,
    looking: impl AsyncFnOnce(&mut Vec<Finding>),
) {
    if tokio::time::timeout(limit, looking(findings)).await.is_err() {
        findings.push(Finding::error(
            "time",
            format!(
                "no answer within {} s: what comes after this was not looked at",
                limit.as_secs()
            ),
        ));
    }
}

/// `1.4 GB`, for people.
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

/// `1 tenant`, `2 tenants`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// The first ten, and how many more there are.
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
