//! The tables and columns of one version of Chatwoot, and the statements that lead from one version to another.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tidemark_shared::chatwoot::{Column, Kind, NEWEST_KNOWN, OLDEST_SUPPORTED, Version, columns, columns_of};

pub const SCHEMA: &str = include_str!("schema.sql");
const INDEXES: &str = include_str!("indexes.sql");
const VIEW: &str = include_str!("view.sql");
const FULL_VIEW: &str = include_str!("../../../deploy/source-view.sql");

/// The aliases of tables in both views.
const ALIASES: [(&str, &str); 15] = [
    ("a", "accounts"),
    ("c", "conversations"),
    ("client", "contacts"),
    ("co", "contacts"),
    ("e", "reporting_events"),
    ("h", "working_hours"),
    ("i", "inboxes"),
    ("k", "contacts"),
    ("l", "applied_slas"),
    ("m", "messages"),
    ("n", "contacts"),
    ("r", "csat_survey_responses"),
    ("t", "teams"),
    ("u", "users"),
    ("v", "users"),
];

/// Drops the views in the order in which a query on them locks them.
pub const DROP_VIEWS: &str = "DROP VIEW IF EXISTS vw_tidemark, vw_conversations_analytics_final, vw_message_compiled, vw_client_sender";

type Columns = BTreeMap<&'static str, &'static Column>;

#[derive(Debug, Clone)]
pub struct Shape {
    tables: BTreeMap<&'static str, Columns>,
}

/// What one table needs on the way to another version. The statements belong into one transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct TableChange {
    pub table: &'static str,
    pub statements: Vec<String>,
    /// Whether a column gets another type.
    pub changes_types: bool,
}

/// Refuses a version whose columns are not known.
pub fn ensure_known(version: Version) -> Result<()> {
    ensure!(
        (OLDEST_SUPPORTED..=NEWEST_KNOWN).contains(&version),
        "a sample cannot have the tables of Chatwoot {version}: choose a version from {OLDEST_SUPPORTED} to {NEWEST_KNOWN}"
    );
    Ok(())
}

impl Shape {
    pub fn of(version: Version) -> Self {
        let mut tables = BTreeMap::<_, Columns>::new();
        for column in columns_of(version) {
            tables
                .entry(column.table)
                .or_default()
                .insert(column.name, column);
        }
        Self { tables }
    }

    pub fn has(&self, table: &str, column: &str) -> bool {
        self.tables
            .get(table)
            .is_some_and(|columns| columns.contains_key(column))
    }

    /// Whether the word is a column of this table in other versions only.
    fn lacks(&self, table: &str, word: &str) -> bool {
        !self.has(table, word)
            && columns()
                .iter()
                .any(|column| column.table == table && column.name == word)
    }

    /// The changes of tables from this version to another. Repeated after an interruption, they change nothing twice.
    pub fn changes_to(&self, other: &Self) -> Vec<TableChange> {
        let newest = Self::of(NEWEST_KNOWN);
        let mut changes = Vec::new();
        for (table, columns) in &self.tables {
            match other.tables.get(table) {
                None => changes.push(TableChange {
                    table,
                    statements: vec![format!("DROP TABLE IF EXISTS {table}")],
                    changes_types: false,
                }),
                Some(wanted) => changes.push(alter(table, columns, wanted)),
            }
        }
        for (table, wanted) in &other.tables {
            if !self.tables.contains_key(table) {
                let mut change = alter(table, &newest.tables[table], wanted);
                let create = definition_of(table).replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1);
                change.statements.insert(0, create);
                changes.push(change);
            }
        }
        changes.retain(|change| !change.statements.is_empty());
        changes
    }

    /// Chatwoot's indexes on the columns that this version has.
    pub fn indexes(&self) -> Vec<&'static str> {
        statements_of(INDEXES)
            .filter(|statement| {
                let table = words(statement.split_once(" ON ").map_or("", |(_, on)| on)).next();
                let table = table.unwrap_or_default();
                self.tables.contains_key(table) && !words(statement).any(|word| self.lacks(table, word))
            })
            .collect()
    }

    /// The views without what this version lacks.
    pub fn views(&self) -> String {
        let script_view: String = self.present_lines(VIEW).collect();
        format!("{script_view}{}", self.full_view())
    }

    /// The statement of deploy/source-view.sql. A column of the view begins on a line of its own.
    fn full_view(&self) -> String {
        let statement = FULL_VIEW
            .split_once("CREATE OR REPLACE")
            .and_then(|(_, rest)| rest.split_once("GRANT "))
            .map_or("", |(statement, _)| statement);
        let mut columns = Vec::new();
        for line in statement.split_inclusive('\n') {
            let is_start = line
                .strip_prefix("       ")
                .is_none_or(|rest| !rest.starts_with(' '));
            match columns.last_mut() {
                Some(column) if !is_start => *column = format!("{column}{line}"),
                _ => columns.push(line.to_owned()),
            }
        }
        let newest = Self::of(NEWEST_KNOWN);
        columns.retain(|column| {
            words(column).all(|word| !newest.tables.contains_key(word) || self.tables.contains_key(word))
        });
        let columns = columns.concat();
        let present: String = self.present_lines(&columns).collect();
        format!("CREATE{present}")
    }

    fn present_lines(&self, view: &str) -> impl Iterator<Item = String> {
        let shows_absent = |line: &&str| {
            line.split(|letter: char| !is_in_name(letter) && letter != '.')
                .filter_map(|name| name.split_once('.'))
                .any(|(alias, column)| {
                    ALIASES
                        .iter()
                        .any(|(known, table)| *known == alias && self.lacks(table, column))
                })
        };
        view.lines()
            .filter(move |line| !shows_absent(line))
            .map(|line| format!("{line}\n"))
    }
}

fn alter(table: &'static str, columns: &Columns, wanted: &Columns) -> TableChange {
    let newest = Shape::of(NEWEST_KNOWN);
    let mut change = TableChange {
        table,
        statements: Vec::new(),
        changes_types: false,
    };
    for name in columns.keys().filter(|name| !wanted.contains_key(*name)) {
        let drop = format!("ALTER TABLE {table} DROP COLUMN IF EXISTS {name}");
        change.statements.push(drop);
    }
    for (name, wanted) in wanted {
        match columns.get(name) {
            Some(column) => change.alter_column(column, wanted),
            None => {
                let newest = newest.tables[table].get(name);
                let definition = match newest {
                    Some(_) => definition_of_column(table, name).to_owned(),
                    None => definition_without_default(wanted),
                };
                let add = format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {definition}");
                change.statements.push(add);
                if let Some(newest) = newest {
                    change.alter_column(newest, wanted);
                }
            }
        }
    }
    change
}

impl TableChange {
    fn alter_column(&mut self, column: &Column, wanted: &Column) {
        let (table, name) = (self.table, wanted.name);
        if column.kind != wanted.kind {
            let kind = wanted.kind.sql();
            self.statements.push(format!(
                "ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}"
            ));
            self.changes_types = true;
        }
        if column.nullable && !wanted.nullable {
            let zero = zero(wanted.kind);
            self.statements
                .push(format!("UPDATE {table} SET {name} = {zero} WHERE {name} IS NULL"));
            self.statements
                .push(format!("ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL"));
        }
        if !column.nullable && wanted.nullable {
            self.statements
                .push(format!("ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL"));
        }
    }
}

/// The table's statement in schema.sql.
fn definition_of(table: &str) -> &'static str {
    let head = format!("CREATE TABLE {table} (");
    statements_of(SCHEMA)
        .find(|statement| statement.starts_with(&head))
        .unwrap_or_else(|| panic!("schema.sql does not create {table}"))
}

/// The column's line in schema.sql.
fn definition_of_column(table: &str, column: &str) -> &'static str {
    definition_of(table)
        .lines()
        .map(|line| line.trim().trim_end_matches(','))
        .find(|line| line.split(' ').next() == Some(column))
        .unwrap_or_else(|| panic!("schema.sql has no {table}.{column}"))
}

/// A column that the newest version no longer has.
fn definition_without_default(column: &Column) -> String {
    let Column { name, kind, .. } = column;
    let sql = kind.sql();
    if column.nullable {
        format!("{name} {sql}")
    } else {
        format!("{name} {sql} NOT NULL DEFAULT {}", zero(*kind))
    }
}

const fn zero(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer | Kind::Bigint | Kind::Float => "0",
        Kind::Boolean => "false",
        Kind::String | Kind::Text => "''",
        Kind::Timestamp => "now()",
        Kind::Json | Kind::Jsonb => "'{}'",
        Kind::Uuid => "gen_random_uuid()",
    }
}

/// The statements of a file in which no text has a semicolon, without the comments before them.
fn statements_of(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.split(';').filter_map(|part| {
        let start = part.find("CREATE ")?;
        Some(&part[start..])
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !is_in_name(letter))
        .filter(|word| !word.is_empty())
}

fn is_in_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(version: &str) -> Shape {
        Shape::of(version.parse().unwrap())
    }

    #[test]
    fn a_version_without_changes_needs_no_statement() {
        assert_eq!(shape("3.9.0").changes_to(&shape("3.10.0")), []);
    }

    #[test]
    fn a_new_column_has_the_type_of_its_version_and_a_changed_one_is_altered() {
        let statements = |from: &str, to: &str, table: &str| -> Vec<String> {
            shape(from)
                .changes_to(&shape(to))
                .into_iter()
                .filter(|change| change.table == table)
                .flat_map(|change| change.statements)
                .collect()
        };
        assert_eq!(
            statements("3.3.0", "3.5.0", "conversations"),
            [
                "ALTER TABLE conversations ADD COLUMN IF NOT EXISTS cached_label_list text",
                "ALTER TABLE conversations ALTER COLUMN cached_label_list TYPE character varying \
                 USING cached_label_list::character varying",
            ]
        );
        assert_eq!(
            statements("3.0.0", "3.3.0", "messages"),
            [
                "UPDATE messages SET private = false WHERE private IS NULL",
                "ALTER TABLE messages ALTER COLUMN private SET NOT NULL",
            ]
        );
        assert_eq!(
            statements("4.0.0", "3.9.0", "captain_inboxes"),
            ["DROP TABLE IF EXISTS captain_inboxes"]
        );
        let made = &statements("2.0.0", "2.10.0", "reporting_events")[0];
        assert!(
            made.starts_with("CREATE TABLE IF NOT EXISTS reporting_events ("),
            "{made}"
        );
    }

    #[test]
    fn indexes_and_view_show_what_the_version_has() {
        let (old, newest) = (shape("2.0.0"), Shape::of(NEWEST_KNOWN));
        assert!(newest.views().starts_with(VIEW));
        assert!(FULL_VIEW.contains(newest.full_view().trim_start_matches("CREATE")));
        for absent in [
            "priority",
            "m.sentiment",
            "reporting_events",
            "open_all_day",
            "assignee_agent_bot_id",
        ] {
            assert!(
                !old.views().contains(absent) && newest.views().contains(absent),
                "{absent}"
            );
        }
        assert!(old.views().contains("c.snoozed_until") && old.views().contains("h.closed_all_day"));
        let priority = |shape: &Shape| {
            shape
                .indexes()
                .iter()
                .filter(|index| index.contains("priority"))
                .count()
        };
        assert_eq!((priority(&old), priority(&newest)), (0, 2));
        assert_eq!(newest.indexes().len(), INDEXES.matches(';').count());
        assert!(!old.indexes().iter().any(|index| index.contains("sla_events")));
    }

    #[test]
    fn only_versions_whose_columns_are_known_can_be_made() {
        for known in ["2.0.0", "2.11.4", "4.15.1"] {
            ensure_known(known.parse().unwrap()).unwrap();
        }
        for other in ["1.22.0", "4.16.0", "5.0"] {
            let refusal = ensure_known(other.parse().unwrap()).unwrap_err().to_string();
            assert!(refusal.contains("from 2.0.0 to 4.15.1"), "{refusal}");
        }
    }
}
