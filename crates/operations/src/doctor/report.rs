//! The findings of a check, grouped by server.

use serde::Serialize;
use tidemark_runtime::finding::{Finding, Level};

/// The field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct DoctorReport {
    /// The worst of all findings.
    pub level: Level,
    pub groups: Vec<Group>,
}

/// The findings about one server, or about the fleet.
#[derive(Debug, Serialize)]
pub struct Group {
    pub group: String,
    /// Host, port and database.
    pub server: Option<String>,
    pub findings: Vec<Finding>,
}

impl Group {
    /// Puts the worst findings first; equal ones keep their order.
    pub fn new(group: impl Into<String>, server: Option<String>, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Self {
            group: group.into(),
            server,
            findings,
        }
    }
}

impl DoctorReport {
    #[must_use]
    pub fn new(groups: Vec<Group>) -> Self {
        let mut report = Self {
            level: Level::Ok,
            groups,
        };
        report.level = report.levels().max().unwrap_or(Level::Ok);
        report
    }

    pub fn levels(&self) -> impl Iterator<Item = Level> {
        self.groups
            .iter()
            .flat_map(|group| group.findings.iter().map(|finding| finding.level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_findings_stand_first() {
        let findings = vec![
            Finding::ok("a", ""),
            Finding::warning("b", ""),
            Finding::error("c", ""),
            Finding::not_checked("d", ""),
            Finding::warning("e", ""),
        ];
        let group = Group::new("g", None, findings);
        let order: Vec<&str> = group.findings.iter().map(|finding| finding.check).collect();
        assert_eq!(order, ["c", "b", "e", "d", "a"]);
        assert_eq!(DoctorReport::new(vec![group]).level, Level::Error);
    }
}
