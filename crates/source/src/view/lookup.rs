//! Reads the shape of the view from the catalog.

use sqlx::PgConnection;

use super::columns::{COLUMNS, Column, REQUIRED};
use super::shape::ViewShape;
use crate::error::SourceError;
use crate::source::Source;
use tidemark_postgres::ident::RelationName;
use tidemark_runtime::finding::Lack;

impl Source {
    /// Reads the view's columns and checks that each has a suitable type and may be read.
    ///
    /// # Errors
    /// [`SourceError::Schema`] names everything that is missing, has an unsuitable type or may not be read.
    pub(crate) async fn view_shape(
        &self,
        name: &RelationName,
        connection: &mut PgConnection,
    ) -> Result<ViewShape, SourceError> {
        // a domain counts as its base type
        let found: Vec<(String, String, String, bool)> = sqlx::query_as(
            "SELECT a.attname::text, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL), \
                    t.typcategory::text, has_column_privilege(a.attrelid, a.attnum, 'SELECT') \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
        )
        .bind(name.to_string())
        .fetch_all(connection)
        .await
        .map_err(self.query_error("look up its view"))?;
        if found.is_empty() {
            return Err(self.schema_error(vec![Lack::View(name.to_string())]));
        }
        let mut present = [false; COLUMNS.len()];
        let mut missing = Vec::new();
        for (column, present) in COLUMNS.iter().zip(&mut present) {
            let Column { name, kind, .. } = column;
            match found.iter().find(|(found, ..)| found == name) {
                None if REQUIRED.contains(name) => missing.push(Lack::Column((*name).to_owned())),
                None => {}
                // reading it as NULL would clear the target's column
                Some((.., false)) => missing.push(Lack::RightToColumn((*name).to_owned())),
                Some((_, type_name, category, true)) if !kind.accepts(type_name, category) => {
                    missing.push(Lack::Type {
                        column: (*name).to_owned(),
                        expected: kind.expected_type().to_string(),
                        found: type_name.clone(),
                    });
                }
                Some(_) => *present = true,
            }
        }
        if missing.is_empty() {
            return Ok(ViewShape {
                name: name.clone(),
                present,
            });
        }
        Err(self.schema_error(missing))
    }
}
