//! The findings of a check, grouped by server.

use serde::{Serialize, Serializer};
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
    pub group: GroupName,
    /// Host, port and database.
    pub server: Option<String>,
    pub findings: Vec<Finding>,
}

/// What the findings of a group are about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupName {
    #[error("settings")]
    Settings,
    #[error("ledger")]
    Ledger,
    #[error("sources")]
    Sources,
    #[error("source {0}")]
    Source(String),
    #[error("broker")]
    Broker,
    #[error("clocks")]
    Clocks,
    #[error("fleet")]
    Fleet,
}

impl Serialize for GroupName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Group {
    /// Puts the worst findings first; equal ones keep their order.
    pub fn new(group: GroupName, server: Option<String>, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Self {
            group,
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
    use tidemark_runtime::finding::{Check, Found};

    use super::*;

    #[test]
    fn the_worst_findings_stand_first() {
        let findings = vec![
            Finding::ok(Check::Rows, Found::SettingsValid),
            Finding::warning(Check::Fence, Found::NoBroker),
            Finding::error(Check::Index, Found::NotMigrated),
            Finding::not_checked(Check::Time, ""),
            Finding::warning(Check::View, Found::NoProcess),
        ];
        let group = Group::new(GroupName::Fleet, None, findings);
        let order: Vec<Check> = group.findings.iter().map(|finding| finding.check).collect();
        assert_eq!(
            order,
            [Check::Index, Check::Fence, Check::View, Check::Time, Check::Rows]
        );
        assert_eq!(DoctorReport::new(vec![group]).level, Level::Error);
    }
}
