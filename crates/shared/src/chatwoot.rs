//! Which table and column is in which Chatwoot version.
//!
//! `chatwoot/columns.csv` was made from Chatwoot's schema files of 20 versions, from 1.10.0 to 4.15.1. A column whose type or
//! nullability changed has a row for each.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Serialize, Serializer};
use thiserror::Error;

const COLUMNS: &str = include_str!("chatwoot/columns.csv");

/// The oldest version that Tidemark reads.
pub const OLDEST_SUPPORTED: Version = Version(2, 0, 0);
/// The newest version that was looked at.
pub const NEWEST_KNOWN: Version = Version(4, 15, 1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u16, u16, u16);

#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no version of Chatwoot: write it as 4.8.0 or 4.8")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || VersionError(text.to_owned());
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let mut number = |default: Option<u16>| match (parts.next(), default) {
            (Some(part), _) => part.parse().map_err(|_| error()),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(error()),
        };
        let version = Self(number(None)?, number(None)?, number(Some(0))?);
        match parts.next() {
            None => Ok(version),
            Some(_) => Err(error()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A column as a range of versions has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub table: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
    /// The first of the versions looked at that has it.
    pub first: Version,
    /// The last that has it; `None` when the newest still does.
    pub last: Option<Version>,
}

impl Column {
    fn is_in(&self, version: Version) -> bool {
        self.first <= version && self.last.is_none_or(|last| version <= last)
    }
}

/// The type of a column, as Chatwoot's migrations name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Bigint,
    Float,
    Boolean,
    String,
    Text,
    Timestamp,
    Json,
    Jsonb,
    Uuid,
}

impl Kind {
    /// The type in PostgreSQL.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Float => "double precision",
            Self::Boolean => "boolean",
            Self::String => "character varying",
            Self::Text => "text",
            Self::Timestamp => "timestamp without time zone",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Uuid => "uuid",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "integer" => Self::Integer,
            "bigint" => Self::Bigint,
            "float" => Self::Float,
            "boolean" => Self::Boolean,
            "string" => Self::String,
            "text" => Self::Text,
            "timestamp" => Self::Timestamp,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }
}

/// All columns of all versions, in the order of the file.
#[must_use]
pub fn columns() -> &'static [Column] {
    static PARSED: LazyLock<Vec<Column>> = LazyLock::new(|| {
        COLUMNS
            .lines()
            .skip(1)
            .map(|line| {
                parse(line).unwrap_or_else(|| panic!("columns.csv has a line that cannot be read: {line}"))
            })
            .collect()
    });
    &PARSED
}

/// The columns of one version. A version that was not looked at has those of the one before it.
pub fn columns_of(version: Version) -> impl Iterator<Item = &'static Column> {
    let looked_at = columns()
        .iter()
        .flat_map(|column| [Some(column.first), column.last])
        .flatten()
        .filter(|known| *known <= version)
        .max();
    columns()
        .iter()
        .filter(move |column| looked_at.is_some_and(|version| column.is_in(version)))
}

/// The versions in which a table or column came or went, ascending. The schema between two of them does not change.
#[must_use]
pub fn changes() -> Vec<Version> {
    let mut versions: Vec<Version> = columns().iter().map(|column| column.first).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// The first version that has the column; `None` for a column that no version has.
#[must_use]
pub fn first_with(table: &str, column: &str) -> Option<Version> {
    columns()
        .iter()
        .filter(|known| known.table == table && known.name == column)
        .map(|known| known.first)
        .min()
}

fn parse(line: &'static str) -> Option<Column> {
    let fields: Vec<&str> = line.split(',').collect();
    let [table, name, kind, nullable, first, last] = fields.as_slice() else {
        return None;
    };
    Some(Column {
        table,
        name,
        kind: Kind::parse(kind)?,
        nullable: *nullable == "yes",
        first: first.parse().ok()?,
        last: match *last {
            "" => None,
            last => Some(last.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read_with_two_or_three_numbers_and_compared_as_numbers() {
        assert_eq!(version("4.8"), version("v4.8.0"));
        assert!(version("2.10.0") > version("2.5.0"));
        assert_eq!(version("2.10.0").to_string(), "2.10.0");
        for wrong in ["", "4", "4.x", "4.8.0.1", "latest"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_version_has_the_columns_of_its_time_once() {
        let has = |at: &str, table: &str, name: &str| {
            columns_of(version(at))
                .filter(|column| column.table == table && column.name == name)
                .count()
        };
        assert_eq!(has("2.5.0", "conversations", "priority"), 0);
        assert_eq!(has("2.17.0", "conversations", "priority"), 1);
        assert_eq!(has("4.15.1", "conversations", "cached_label_list"), 1);
        assert_eq!(has("3.7.0", "conversations", "cached_label_list"), 1);
        assert_eq!(has("2.0.0", "reporting_events", "id"), 0);
        assert_eq!(first_with("conversations", "priority"), Some(version("2.17.0")));
        assert_eq!(first_with("conversations", "nothing"), None);
        for at in changes() {
            let mut names: Vec<_> = columns_of(at).map(|column| (column.table, column.name)).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{at} has a column twice");
        }
    }
}
