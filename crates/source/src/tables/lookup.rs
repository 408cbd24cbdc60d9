//! Reads the shape of the tables from the catalog.

use sqlx::{FromRow, PgConnection};

use super::columns::{Need, TABLES};
use super::shape::TableShape;
use crate::error::SourceError;
use crate::source::Source;
use tidemark_runtime::finding::Lack;

const LOOK_UP: &str = include_str!("lookup.sql");
/// Inboxes and accounts are mapped by 32-bit ids.
const WIDE_IDS: &str = "SELECT format('inbox %s', id) FROM inboxes WHERE id > 2147483647 \
     UNION ALL SELECT format('account %s', id) FROM accounts WHERE id > 2147483647 ORDER BY 1 LIMIT 20";

/// A column that is read, as the source has it.
#[derive(Debug, FromRow)]
struct Found {
    has_table: bool,
    /// `None` when the column is not there.
    type_name: Option<String>,
    category: Option<String>,
    is_readable: Option<bool>,
    /// Whether the table shows which transaction wrote a row.
    has_versions: bool,
    /// Whether an index over all rows begins with the column.
    is_indexed: bool,
}

impl Source {
    /// Looks up every table and column that is read.
    ///
    /// # Errors
    /// [`SourceError::Schema`] names everything that is needed and missing, has a type that cannot be read, or may not be read
    /// although earlier releases read it.
    pub(crate) async fn table_shape(&self, connection: &mut PgConnection) -> Result<TableShape, SourceError> {
        let (tables, columns): (Vec<&str>, Vec<&str>) = TABLES
            .iter()
            .flat_map(|table| table.columns.iter().map(move |column| (table.name, column.name)))
            .unzip();
        let rows: Vec<Found> = sqlx::query_as(LOOK_UP)
            .bind(tables)
            .bind(columns)
            .fetch_all(&mut *connection)
            .await
            .map_err(self.query_error("look up its tables"))?;
        let mut rows = rows.into_iter();
        let mut refused = Vec::new();
        let mut withheld = Vec::new();
        let mut has_wide_ids = false;
        let mut found = Vec::new();
        let mut versioned = Vec::new();
        let mut indexed = Vec::new();
        for table in &TABLES {
            let (mut has_table, mut has_versions) = (false, false);
            let mut readable = Vec::new();
            let mut withheld_columns = Vec::new();
            for column in table.columns {
                let row = rows.next().expect("the catalog answers for every column");
                has_table |= row.has_table;
                has_versions |= row.has_versions;
                let (table, name) = (table.name, column.name);
                if row.is_indexed {
                    indexed.push((table, name));
                }
                let is_read = match (row.type_name, row.is_readable) {
                    (Some(_), Some(false)) if column.need == Need::Hint => false,
                    (Some(_), Some(false)) if column.need == Need::Further => {
                        withheld_columns.push(format!("{table} ({name})"));
                        false
                    }
                    // reading it as NULL would clear the target's column
                    (Some(_), Some(false)) => {
                        refused.push(Lack::Right(table.to_owned()));
                        false
                    }
                    (Some(type_name), _) => {
                        let category = row.category.unwrap_or_default();
                        let accepts = column.kind.accepts(&type_name, &category);
                        if !accepts && column.need != Need::Hint {
                            let expected = column.kind.expected_type();
                            refused.push(Lack::Type {
                                column: format!("{table}.{name}"),
                                expected: expected.to_string(),
                                found: type_name.clone(),
                            });
                        }
                        has_wide_ids |= name == "id"
                            && column.kind == crate::kind::Kind::Integer
                            && type_name == "bigint";
                        accepts
                    }
                    (None, _) => {
                        if row.has_table && column.need == Need::Needed {
                            refused.push(Lack::Column(format!("{table}.{name}")));
                        }
                        false
                    }
                };
                readable.push(is_read);
            }
            if has_versions {
                versioned.push(table.name);
            }
            if !has_table && table.is_needed() {
                refused.push(Lack::Table(table.name.to_owned()));
            }
            // a statement may not name a table of which no column can be read
            if !withheld_columns.is_empty() && !readable.contains(&true) {
                withheld.push(table.name.to_owned());
                found.push(None);
            } else {
                withheld.extend(withheld_columns);
                found.push(has_table.then_some(readable));
            }
        }
        if !refused.is_empty() {
            refused.sort_by_cached_key(ToString::to_string);
            refused.dedup();
            return Err(self.schema_error(refused));
        }
        let mut shape = TableShape::new(found, versioned);
        shape.withheld = withheld;
        shape.indexed = indexed;
        if has_wide_ids {
            shape.wide_ids = sqlx::query_scalar(WIDE_IDS)
                .fetch_all(connection)
                .await
                .map_err(self.query_error("look for ids beyond 32 bits"))?;
        }
        Ok(shape)
    }
}
