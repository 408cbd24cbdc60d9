//! The versions of Chatwoot that a source's columns fit.

use super::columns::Need;
use super::shape::TableShape;
use tidemark_runtime::finding::SourceFound;
use tidemark_shared::chatwoot::{NEWEST_KNOWN, OLDEST_SUPPORTED, Version, changes, columns_of, first_with};

impl TableShape {
    /// A sentence with the range of versions that have the columns which the source has, and lack those which it lacks. And
    /// what the next version brings. Only columns that are read count.
    pub(crate) fn describe_versions(&self) -> SourceFound {
        let known: Vec<Version> = changes()
            .into_iter()
            .filter(|version| *version >= OLDEST_SUPPORTED)
            .collect();
        let fitting: Vec<Version> = known
            .iter()
            .copied()
            .filter(|version| self.fits(*version))
            .collect();
        let (Some(first), Some(last)) = (fitting.first(), fitting.last()) else {
            return self.describe_mixture();
        };
        match known
            .iter()
            .find(|version| *version > last && !self.fits(**version))
        {
            None => SourceFound::Newest {
                first: *first,
                newest: NEWEST_KNOWN,
            },
            Some(next) => SourceFound::Before {
                first: *first,
                next: *next,
                brings: self.brought_by(*next),
            },
        }
    }

    fn fits(&self, version: Version) -> bool {
        self.compared()
            .all(|(table, column, is_found)| is_found == is_in(version, table, column))
    }

    /// Tables, and columns of other tables.
    fn brought_by(&self, version: Version) -> Vec<String> {
        let mut brought: Vec<String> = self
            .compared()
            .filter(|(table, column, is_found)| !is_found && is_in(version, table, column))
            .map(|(table, column, _)| match self.has_table(table) {
                true => format!("{table}.{column}"),
                false => table.to_owned(),
            })
            .collect();
        brought.dedup();
        brought
    }

    fn describe_mixture(&self) -> SourceFound {
        let dated = |wanted: bool| {
            let columns = self.compared().filter(move |(.., is_found)| *is_found == wanted);
            columns.filter_map(|(table, column, _)| {
                Some((first_with(table, column)?, format!("{table}.{column}")))
            })
        };
        match (dated(true).max(), dated(false).min()) {
            (Some((newest, has)), Some((oldest, lacks))) => SourceFound::Mixture {
                has,
                newest,
                lacks,
                oldest,
            },
            _ => SourceFound::NoVersion,
        }
    }

    fn compared(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        self.columns()
            .filter(|(_, column, _)| column.need != Need::Hint)
            .filter(|(table, column, _)| !self.withholds(table.name, column.name))
            .map(|(table, column, is_found)| (table.name, column.name, is_found))
    }
}

fn is_in(version: Version, table: &str, name: &str) -> bool {
    columns_of(version).any(|column| column.table == table && column.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::columns::TABLES;
    use super::*;

    fn of(version: &str, without: &[&str]) -> String {
        let version = version.parse().unwrap();
        let found = TABLES.iter().map(|table| {
            let columns = table.columns.iter();
            let found: Vec<bool> = columns
                .map(|column| is_in(version, table.name, column.name) && !without.contains(&column.name))
                .collect();
            found.contains(&true).then_some(found)
        });
        TableShape::new(found.collect(), Vec::new())
            .describe_versions()
            .to_string()
    }

    #[test]
    fn a_range_of_versions_and_what_the_next_one_brings_are_named() {
        assert_eq!(
            of("2.0.0", &[]),
            "the columns are those of Chatwoot 2.0.0 or newer, before 2.5.0; 2.5.0 brings reporting_events, \
             working_hours.open_all_day"
        );
        assert_eq!(
            of("2.17.0", &[]),
            "the columns are those of Chatwoot 2.17.0 or newer, before 3.0.0; 3.0.0 brings conversations.waiting_since, \
             conversations.sla_policy_id, messages.sentiment"
        );
        assert_eq!(
            of("4.15.1", &[]),
            "the columns are those of Chatwoot 4.8.0 to 4.15.1, or of a newer version"
        );
        assert_eq!(
            of("3.9.0", &["timezone"]),
            "the columns fit no version of Chatwoot: contacts.country_code comes with 3.9.0, but inboxes.timezone \
             of 1.22.0 is missing"
        );
    }
}
