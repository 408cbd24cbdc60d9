//! Reads the script's rows, converted to the types of the target's columns.

use futures::stream::BoxStream;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::{IgnoredColumn, ScriptDatabase, ScriptError, Table, query};
use tidemark_postgres::ident::quote;

/// The script's bookkeeping columns; the target has the same.
const BOOKKEEPING: [&str; 2] = ["etl_inserted_at", "etl_updated_at"];

/// A column of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowColumn<'a> {
    pub name: &'a str,
    /// As declared: `varchar(255)`, `numeric(5,2)`, `timestamptz`.
    pub sql_type: &'a str,
    pub is_nullable: bool,
}

/// The rows to read, and the columns to read them as.
#[derive(Debug)]
pub struct RowSelect<'a> {
    pub columns: &'a [RowColumn<'a>],
    /// The tenant's id in the script.
    pub old_tenant: i32,
    /// The tenant's id in Tidemark.
    pub tenant: i32,
    /// Only rows of these inboxes.
    pub inboxes: &'a [i32],
    /// IANA name, for the script's own times. The times of conversations come from Chatwoot and are UTC.
    pub timezone: &'static str,
}

impl ScriptDatabase {
    /// The number of rows of the tenant, and how many of them are in these inboxes.
    pub async fn count_rows(&mut self, old_tenant: i32, inboxes: &[i32]) -> Result<(i64, i64), ScriptError> {
        let statement = format!(
            "SELECT count(DISTINCT conversation_id), count(DISTINCT conversation_id) FILTER (WHERE inbox_id = ANY($2)) \
             FROM {} WHERE tenant_id = $1",
            self.relation(Table::Rows)
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(old_tenant)
            .bind(inboxes)
            .fetch_one(&mut self.connection)
            .await
            .map_err(query(&self.server, "count the rows"))
    }

    /// The rows in COPY's text format: the selected columns, then the times of the script's insert and last update.
    pub async fn copy_rows(
        &mut self,
        select: &RowSelect<'_>,
    ) -> Result<BoxStream<'_, sqlx::Result<Vec<u8>>>, ScriptError> {
        use futures::StreamExt;
        let statement = format!("COPY ({}) TO STDOUT", self.select(select));
        let error = query(&self.server, "read the rows");
        let stream = PgConnection::copy_out_raw(&mut self.connection, &statement)
            .await
            .map_err(error)?;
        Ok(stream.map(|part| part.map(|part| part.to_vec())).boxed())
    }

    fn select(&self, select: &RowSelect<'_>) -> String {
        let columns = select.columns.iter().map(|column| match column.name {
            "tenant_id" => select.tenant.to_string(),
            name => {
                let read = self
                    .type_of(Table::Rows, name)
                    .and_then(|found| read_as(name, found, column.sql_type, "UTC"));
                let read = read.unwrap_or_else(|| "NULL".to_owned());
                match column.is_nullable {
                    true => format!("({read})::{}", column.sql_type),
                    false => format!(
                        "coalesce(({read})::{0}, {1}::{0})",
                        column.sql_type,
                        default_value(column.sql_type)
                    ),
                }
            }
        });
        let bookkeeping = BOOKKEEPING.iter().map(|name| {
            let read = self
                .type_of(Table::Rows, name)
                .and_then(|found| read_as(name, found, "timestamptz", select.timezone));
            read.unwrap_or_else(|| "NULL::timestamptz".to_owned())
        });
        let list: Vec<String> = columns.chain(bookkeeping).collect();
        // a table without a unique key may have a conversation twice
        let newest = match self.type_of(Table::Rows, "etl_updated_at") {
            Some(_) => ", etl_updated_at DESC NULLS LAST",
            None => "",
        };
        let inboxes: Vec<String> = select.inboxes.iter().map(ToString::to_string).collect();
        format!(
            "SELECT DISTINCT ON (conversation_id) {} FROM {} WHERE tenant_id = {} AND conversation_id IS NOT NULL \
             AND inbox_id = ANY('{{{}}}'::integer[]) ORDER BY conversation_id{newest}",
            list.join(", "),
            self.relation(Table::Rows),
            select.old_tenant,
            inboxes.join(","),
        )
    }

    /// Columns of the rows that are not imported.
    #[must_use]
    pub fn ignored_of_rows(&self, columns: &[RowColumn<'_>]) -> Vec<IgnoredColumn> {
        let is_taken = |name: &str, found: &str| {
            BOOKKEEPING.contains(&name)
                || columns.iter().any(|column| {
                    column.name == name && read_as(name, found, column.sql_type, "UTC").is_some()
                })
        };
        self.columns[&Table::Rows]
            .iter()
            .filter(|found| !is_taken(&found.name, &found.type_name))
            .map(|found| found.ignored(Table::Rows))
            .collect()
    }
}

/// SQL that converts the old column to the target's type; a value that does not fit becomes NULL. `None`: the types cannot be
/// converted. COPY takes no parameters, so the time zone is `'static`: a name from a list and never user input.
fn read_as(name: &str, found: &str, sql_type: &str, timezone: &'static str) -> Option<String> {
    const NUMBERS: [&str; 6] = [
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "real",
        "double precision",
    ];
    const TEXTS: [&str; 3] = ["text", "character varying", "character"];
    let column = quote(name);
    let is_number = NUMBERS.contains(&found);
    // `NaN` is greater than every bound
    let within = |bound: &str| {
        format!("CASE WHEN {column} BETWEEN -{bound} AND {bound} THEN {column}::{sql_type} END")
    };
    match sql_type {
        "timestamptz" if found == "timestamp without time zone" => {
            Some(format!("{column} AT TIME ZONE '{timezone}'"))
        }
        "timestamptz" => (found == "timestamp with time zone").then_some(column),
        "integer" if is_number => Some(within("2147483647")),
        "bigint" if is_number => Some(within("9007199254740992")),
        "boolean" => match found {
            "boolean" => Some(column),
            "integer" => Some(format!("{column} <> 0")),
            _ => None,
        },
        "date" => (found == "date" || found.starts_with("timestamp ")).then(|| format!("{column}::date")),
        "uuid" if found == "uuid" => Some(column),
        "uuid" if TEXTS.contains(&found) => Some(format!(
            "CASE WHEN {column} ~* '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' THEN {column}::uuid END"
        )),
        "jsonb" => ["json", "jsonb"]
            .contains(&found)
            .then(|| format!("{column}::jsonb")),
        "text[]" => found.ends_with("[]").then(|| format!("{column}::text[]")),
        "text" => TEXTS.contains(&found).then(|| format!("{column}::text")),
        _ => {
            let (kind, numbers) = arguments(sql_type)?;
            match (kind, numbers.as_slice()) {
                ("varchar", [length]) if TEXTS.contains(&found) => {
                    Some(format!("left({column}::text, {length})"))
                }
                // one digit less than the type holds, so that rounding cannot overflow it
                ("numeric", [precision, scale]) if is_number => {
                    Some(within(&"9".repeat(precision.saturating_sub(scale + 1))))
                }
                _ => None,
            }
        }
    }
}

/// Splits `varchar(50)` into its name and numbers.
fn arguments(sql_type: &str) -> Option<(&str, Vec<usize>)> {
    let (name, rest) = sql_type.strip_suffix(')')?.split_once('(')?;
    let numbers: Result<Vec<usize>, _> = rest.split(',').map(str::parse).collect();
    Some((name, numbers.ok()?))
}

/// The value of a NOT NULL column when the script has none.
fn default_value(sql_type: &str) -> &'static str {
    match sql_type {
        "boolean" => "'false'",
        "text[]" => "'{}'",
        _ => "'0'",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_does_not_fit_becomes_null_and_a_text_is_truncated() {
        for (found, sql_type, sql) in [
            (
                "double precision",
                "integer",
                r#"CASE WHEN "c" BETWEEN -2147483647 AND 2147483647 THEN "c"::integer END"#,
            ),
            (
                "numeric",
                "numeric(5,2)",
                r#"CASE WHEN "c" BETWEEN -99 AND 99 THEN "c"::numeric(5,2) END"#,
            ),
            ("character varying", "varchar(50)", r#"left("c"::text, 50)"#),
            ("json", "jsonb", r#""c"::jsonb"#),
            (
                "timestamp without time zone",
                "timestamptz",
                r#""c" AT TIME ZONE 'UTC'"#,
            ),
            ("integer", "boolean", r#""c" <> 0"#),
        ] {
            assert_eq!(
                read_as("c", found, sql_type, "UTC").unwrap(),
                sql,
                "{found} as {sql_type}"
            );
        }
    }

    #[test]
    fn types_that_cannot_be_converted_are_not_read() {
        for (found, sql_type) in [
            ("text", "integer"),
            ("text", "jsonb"),
            ("text", "timestamptz"),
            ("text", "text[]"),
            ("bytea", "varchar(255)"),
            ("interval", "numeric(14,1)"),
        ] {
            assert_eq!(
                read_as("c", found, sql_type, "UTC"),
                None,
                "{found} as {sql_type}"
            );
        }
    }
}
