//! The tables and columns that a source has, and the statements over them.

use std::borrow::Cow;

use super::columns::{Column, Need, TABLES, Table};
use tidemark_runtime::finding::{Relation, SourceFound};
use tidemark_shared::chatwoot::first_with;

const CHANGED_AT: &str = "{changed_at}";
const ATTACHED: &str = "{attached}";
/// PostgreSQL expects a search of an index to cost more than it does, and would read all attachments for 500 conversations.
const ATTACHED_BY_INDEX: &str =
    "CROSS JOIN LATERAL (SELECT FROM attachments x WHERE x.message_id = m.id OFFSET 0) x";
const ATTACHED_BY_JOIN: &str = "JOIN attachments x ON x.message_id = m.id";
/// Columns of a conversation that show when it changed.
const CHANGE_TIMES: [&str; 7] = [
    "updated_at",
    "last_activity_at",
    "waiting_since",
    "first_reply_created_at",
    "contact_last_seen_at",
    "agent_last_seen_at",
    "assignee_last_seen_at",
];

/// Columns by which a chunk's statements find rows.
const KEYS: [(&str, &str); 7] = [
    ("conversations", "id"),
    ("messages", "conversation_id"),
    ("contacts", "id"),
    ("csat_survey_responses", "conversation_id"),
    ("applied_slas", "conversation_id"),
    ("conversation_participants", "conversation_id"),
    ("reporting_events", "conversation_id"),
];

/// The tables and columns of a source.
#[derive(Debug, Default)]
pub struct TableShape {
    /// For each of [`TABLES`], which of its columns can be read; `None` for a table that is not there.
    found: Vec<Option<Vec<bool>>>,
    /// Tables, and columns as `table (column)`, that the login may not read.
    pub(super) withheld: Vec<String>,
    /// Inboxes and accounts whose ids do not fit in 32 bits.
    pub(super) wide_ids: Vec<String>,
    /// Tables that show which transaction wrote a row.
    versioned: Vec<&'static str>,
    /// A query in the place of each table that lacks something.
    stand_ins: Vec<(&'static str, String)>,
    changed_at: String,
    /// Columns with which an index over all rows begins.
    pub(super) indexed: Vec<(&'static str, &'static str)>,
}

impl TableShape {
    pub(super) fn new(found: Vec<Option<Vec<bool>>>, versioned: Vec<&'static str>) -> Self {
        let mut shape = Self {
            found,
            versioned,
            ..Self::default()
        };
        let incomplete = shape
            .tables()
            .filter(|(_, found)| found.is_none_or(|found| found.iter().any(|is_found| !is_found)));
        shape.stand_ins = incomplete
            .map(|(table, found)| (table.name, stand_in(table, found, shape.has_versions(table.name))))
            .collect();
        let times = CHANGE_TIMES.into_iter();
        let times: Vec<&str> = times.filter(|time| shape.has("conversations", time)).collect();
        shape.changed_at = format!("greatest({})", times.join(", "));
        shape
    }

    /// The statement for this source. Where a table lacks a column, a query with the table's name stands before the statement
    /// and gives NULL for it; for a table that is not there it gives no row. PostgreSQL plans such a query as part of the
    /// statement, so indexes are used as before. A source that has everything gets the statement as it is.
    ///
    /// `{changed_at}` in the statement stands for [`Self::changed_at`], and `{attached}` for the join of messages `m` with
    /// their attachments.
    #[must_use]
    pub fn statement<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        if statement.contains(CHANGED_AT) {
            let dated = statement.replace(CHANGED_AT, &self.changed_at);
            return Cow::Owned(self.statement(&dated).into_owned());
        }
        if statement.contains(ATTACHED) {
            let attached = match self.is_indexed("attachments", "message_id") {
                true => ATTACHED_BY_INDEX,
                false => ATTACHED_BY_JOIN,
            };
            let complete = statement.replace(ATTACHED, attached);
            return Cow::Owned(self.statement(&complete).into_owned());
        }
        let used: Vec<String> = self
            .stand_ins
            .iter()
            .filter(|(table, _)| names(statement, table))
            .map(|(table, query)| format!("{table} AS NOT MATERIALIZED ({query})"))
            .collect();
        if used.is_empty() {
            return Cow::Borrowed(statement);
        }
        let comments: usize = statement
            .split_inclusive('\n')
            .take_while(|line| line.trim_start().starts_with("--"))
            .map(str::len)
            .sum();
        let query = statement[comments..].trim_start();
        Cow::Owned(match query.strip_prefix("WITH ") {
            Some(rest) => format!("WITH {}, {rest}", used.join(", ")),
            None => format!("WITH {} {query}", used.join(", ")),
        })
    }

    /// The last change of a conversation according to its own row; NULL times are skipped. One expression over the columns that
    /// the source has, so that one index serves it.
    #[must_use]
    pub fn changed_at(&self) -> &str {
        &self.changed_at
    }

    /// Transactions since the one that wrote the row that `alias` names, or -1 where the table does not show it.
    #[must_use]
    pub fn row_age(&self, table: &str, alias: &str) -> String {
        if self.has_versions(table) {
            format!("age({alias}.xmin)")
        } else {
            "-1".to_owned()
        }
    }

    /// Whether an index over all rows begins with the column.
    #[must_use]
    pub fn is_indexed(&self, table: &str, column: &str) -> bool {
        self.indexed.contains(&(table, column))
    }

    /// Whether indexes find a conversation and what belongs to it, so that no table is read as a whole for some keys.
    #[must_use]
    pub fn finds_by_key(&self) -> bool {
        let is_found = |(table, column)| !self.has_table(table) || self.is_indexed(table, column);
        KEYS.into_iter().all(is_found)
    }

    fn has_versions(&self, table: &str) -> bool {
        self.versioned.contains(&table) && self.has_table(table)
    }

    /// Warnings for a run and a check-up: what is missing, and ids that are too large.
    #[must_use]
    pub fn warnings(&self) -> Vec<SourceFound> {
        let mut warnings = Vec::new();
        for (table, found) in self.tables() {
            let Some(found) = found else {
                let is_withheld = |column: &Column| self.withholds(table.name, column.name);
                if table.columns.iter().any(is_withheld) {
                    continue;
                }
                let first = table
                    .columns
                    .iter()
                    .filter_map(|column| first_with(table.name, column.name));
                warnings.push(SourceFound::NoTable {
                    table: table.name,
                    first: first.min(),
                });
                continue;
            };
            for (column, _) in table
                .columns
                .iter()
                .zip(found)
                .filter(|(column, is_found)| is_absent(column, **is_found))
                .filter(|(column, _)| !self.withholds(table.name, column.name))
            {
                let first = first_with(table.name, column.name);
                warnings.push(SourceFound::NoColumn {
                    of: Relation::Table(table.name),
                    column: column.name,
                    first,
                });
            }
        }
        if !self.withheld.is_empty() {
            warnings.push(SourceFound::Withheld(self.withheld.clone()));
        }
        warnings.extend(self.wide_ids.iter().map(|id| SourceFound::WideId(id.to_string())));
        warnings
    }

    /// Whether the login may not read the column, or the whole table.
    pub(super) fn withholds(&self, table: &str, column: &str) -> bool {
        let column = format!("{table} ({column})");
        self.withheld.iter().any(|name| name == table || *name == column)
    }

    pub(super) fn has_table(&self, name: &str) -> bool {
        self.tables()
            .any(|(table, found)| table.name == name && found.is_some())
    }

    /// What is missing of the columns that only verification compares: plans do not see by digests that it appears.
    #[must_use]
    pub fn absent_beyond_digests(&self) -> Vec<String> {
        let mut absent = Vec::new();
        for (table, found) in self.tables() {
            let Some(found) = found else {
                absent.push(table.name.to_owned());
                continue;
            };
            let columns = table.columns.iter().zip(found);
            absent.extend(
                columns
                    .filter(|(column, is_found)| is_absent(column, **is_found))
                    .filter(|(column, _)| !table.is_in_plan_digest || column.need == Need::Further)
                    .map(|(column, _)| format!("{}.{}", table.name, column.name)),
            );
        }
        absent
    }

    /// Every column that is read, and whether the source has it.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static Table, &'static Column, bool)> {
        self.tables().flat_map(|(table, found)| {
            let is_found = move |index: usize| found.is_some_and(|found| found[index]);
            let columns = table.columns.iter().enumerate();
            columns.map(move |(index, column)| (table, column, is_found(index)))
        })
    }

    fn tables(&self) -> impl Iterator<Item = (&'static Table, Option<&[bool]>)> {
        TABLES.iter().zip(self.found.iter().map(Option::as_deref))
    }

    /// Whether the source has the column.
    #[must_use]
    pub fn has(&self, table: &str, name: &str) -> bool {
        self.columns()
            .any(|(of, column, is_found)| of.name == table && column.name == name && is_found)
    }
}

fn is_absent(column: &Column, is_found: bool) -> bool {
    !is_found && column.need != Need::Hint
}

/// A query with all columns that are read.
fn stand_in(table: &Table, found: Option<&[bool]>, has_versions: bool) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| match found.is_some_and(|found| found[index]) {
            true => column.name.to_owned(),
            false => format!("{} AS {}", column.kind.null(), column.name),
        })
        .collect();
    let version = if has_versions { ", xmin" } else { "" };
    let columns = columns.join(", ") + version;
    match found {
        Some(_) => format!("SELECT {columns} FROM {}", table.name),
        None => format!("SELECT {columns} WHERE false"),
    }
}

/// Whether the statement has this word.
fn names(statement: &str, table: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    statement.match_indices(table).any(|(at, _)| {
        !statement[..at].ends_with(is_part) && !statement[at + table.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(missing: &[(&str, &str)], missing_tables: &[&str]) -> TableShape {
        let found = |table: &Table| {
            let columns = table.columns.iter();
            columns
                .map(|column| !missing.contains(&(table.name, column.name)))
                .collect()
        };
        TableShape::new(
            TABLES
                .iter()
                .map(|table| (!missing_tables.contains(&table.name)).then(|| found(table)))
                .collect(),
            Vec::new(),
        )
    }

    #[test]
    fn a_source_that_has_everything_gets_the_statement_as_it_is() {
        let shape = without(&[], &[]);
        let statement = "-- all\nSELECT id FROM conversations";
        assert!(matches!(shape.statement(statement), Cow::Borrowed(same) if same == statement));
        assert_eq!(
            shape.changed_at(),
            "greatest(updated_at, last_activity_at, waiting_since, first_reply_created_at, contact_last_seen_at, \
             agent_last_seen_at, assignee_last_seen_at)"
        );
        assert!(shape.warnings().is_empty() && shape.absent_beyond_digests().is_empty());
    }

    #[test]
    fn a_missing_column_is_null_and_a_missing_table_has_no_row_in_the_statements_that_name_them() {
        let missing = [
            ("conversations", "priority"),
            ("messages", "sentiment"),
            ("users", "updated_at"),
        ];
        let shape = without(&missing, &["teams"]);
        let statement = shape.statement("SELECT priority FROM conversations c");
        let end = "campaign_id, NULL::integer AS priority, cached_label_list, \
                   identifier, additional_attributes, sla_policy_id, assignee_agent_bot_id FROM conversations) SELECT priority FROM conversations c";
        assert!(statement.starts_with("WITH conversations AS NOT MATERIALIZED (SELECT id, account_id, "));
        assert!(statement.ends_with(end), "{statement}");
        assert_eq!(
            shape.statement("-- a comment\nWITH a AS (SELECT FROM teams) SELECT FROM a"),
            "WITH teams AS NOT MATERIALIZED (SELECT NULL::bigint AS id, NULL::text AS name, NULL::timestamp AS updated_at \
             WHERE false), a AS (SELECT FROM teams) SELECT FROM a"
        );
        for other in ["SELECT FROM contacts", "SELECT FROM all_teams, teams_live"] {
            assert_eq!(shape.statement(other), other);
        }
        assert_eq!(
            shape
                .warnings()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [
                "table conversations has no column priority: it is NULL in every row; it comes with Chatwoot 2.17.0",
                "table messages has no column sentiment: it is NULL in every row; it comes with Chatwoot 3.0.0",
                "the source has no table teams: it counts as empty; it comes with Chatwoot 1.22.0",
            ]
        );
        assert_eq!(shape.absent_beyond_digests(), ["messages.sentiment", "teams"]);
    }

    #[test]
    fn a_change_is_dated_by_the_times_that_the_source_has() {
        let shape = without(
            &[("conversations", "waiting_since"), ("conversations", "priority")],
            &[],
        );
        let times = "greatest(updated_at, last_activity_at, first_reply_created_at, contact_last_seen_at, agent_last_seen_at, \
                     assignee_last_seen_at)";
        assert_eq!(shape.changed_at(), times);
        assert!(
            shape
                .statement("SELECT {changed_at} FROM conversations")
                .ends_with(&format!("SELECT {times} FROM conversations"))
        );
        assert!(shape.absent_beyond_digests().is_empty());
    }

    #[test]
    fn attachments_are_searched_by_message_only_where_an_index_serves_that() {
        let mut shape = without(&[], &[]);
        let statement = "SELECT m.id {attached}";
        assert_eq!(
            shape.statement(statement),
            "SELECT m.id JOIN attachments x ON x.message_id = m.id"
        );
        shape.indexed = vec![("attachments", "message_id")];
        assert!(shape.statement(statement).contains("CROSS JOIN LATERAL ("));
    }

    #[test]
    fn keys_are_found_where_each_table_that_is_there_has_its_index() {
        let mut shape = without(&[], &["applied_slas"]);
        shape.indexed = KEYS
            .into_iter()
            .filter(|(table, _)| *table != "applied_slas")
            .collect();
        assert!(shape.finds_by_key());
        shape.indexed.pop();
        assert!(!shape.finds_by_key());
    }

    #[test]
    fn a_row_has_an_age_where_its_table_shows_the_version_also_behind_a_stand_in() {
        let mut shape = without(&[("conversations", "priority")], &["teams"]);
        assert_eq!(shape.row_age("conversations", "c"), "-1");
        let found = shape.found;
        shape = TableShape::new(found, vec!["conversations", "teams"]);
        assert_eq!(shape.row_age("conversations", "c"), "age(c.xmin)");
        assert_eq!(shape.row_age("contacts", "k"), "-1");
        assert_eq!(shape.row_age("teams", "t"), "-1");
        assert!(
            shape
                .statement("SELECT FROM conversations")
                .contains(", xmin FROM conversations)")
        );
        assert!(!shape.statement("SELECT FROM teams").contains("xmin"));
    }
}
