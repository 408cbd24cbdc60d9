//! Identifiers that come from configuration. Values are always bound. Names cannot be bound, so this file quotes them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// PostgreSQL cuts a longer name silently, and would then read another relation.
const MAX_BYTES: usize = 63;

/// The identifier as SQL text that means exactly this name.
#[must_use]
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("name of a view: a part is empty")]
    Empty,
    #[error("name of a view: a part has more than {MAX_BYTES} bytes")]
    TooLong,
    #[error("name of a view: it holds a NUL character")]
    Nul,
    #[error("name of a view: a part that begins with a double quote ends with one, and doubles those inside")]
    Quotes,
    #[error(
        "name of a view: it has more parts than a schema and a name; a dot inside either needs double quotes around it"
    )]
    TooManyParts,
}

/// Name of a table or view, optionally with its schema: `view`, `schema.view`.
///
/// Each part is the name in the catalog, capitals included. In double quotes, as in SQL, it may contain dots too.
/// `Display` gives the quoted SQL text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RelationName {
    schema: Option<String>,
    name: String,
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quote(schema))?;
        }
        f.write_str(&quote(&self.name))
    }
}

impl TryFrom<String> for RelationName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl FromStr for RelationName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (first, rest) = take_part(text)?;
        let Some(rest) = rest else {
            return Ok(Self {
                schema: None,
                name: first,
            });
        };
        match take_part(rest)? {
            (name, None) => Ok(Self {
                schema: Some(first),
                name,
            }),
            (_, Some(_)) => Err(NameError::TooManyParts),
        }
    }
}

impl RelationName {
    /// The name in the catalog, without the schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name of a schema: it is empty, has more than {MAX_BYTES} bytes, or holds a NUL character")]
pub struct SchemaNameError;

/// Name of a schema as in the catalog, capitals and dots included. `Display` gives the quoted SQL text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SchemaName(String);

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(&self.0))
    }
}

impl TryFrom<String> for SchemaName {
    type Error = SchemaNameError;

    fn try_from(text: String) -> Result<Self, SchemaNameError> {
        if text.is_empty() || text.len() > MAX_BYTES || text.contains('\0') {
            return Err(SchemaNameError);
        }
        Ok(Self(text))
    }
}

/// The first part of a name, and the text after its dot.
fn take_part(text: &str) -> Result<(String, Option<&str>), NameError> {
    let (part, rest) = match text.strip_prefix('"') {
        Some(quoted) => take_quoted(quoted)?,
        None => match text.split_once('.') {
            Some((part, rest)) => (part.to_owned(), Some(rest)),
            None => (text.to_owned(), None),
        },
    };
    if part.is_empty() {
        return Err(NameError::Empty);
    }
    if part.len() > MAX_BYTES {
        return Err(NameError::TooLong);
    }
    if part.contains('\0') {
        return Err(NameError::Nul);
    }
    Ok((part, rest))
}

fn take_quoted(mut text: &str) -> Result<(String, Option<&str>), NameError> {
    let mut part = String::new();
    loop {
        let (piece, rest) = text.split_once('"').ok_or(NameError::Quotes)?;
        part.push_str(piece);
        match rest.strip_prefix('"') {
            Some(rest) => {
                part.push('"');
                text = rest;
            }
            None if rest.is_empty() => return Ok((part, None)),
            None => return Ok((part, Some(rest.strip_prefix('.').ok_or(NameError::Quotes)?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use sqlx::{AssertSqlSafe, Column, Connection, PgConnection, Row};

    use super::*;

    fn sql(text: &str) -> Result<String, NameError> {
        text.parse::<RelationName>().map(|name| name.to_string())
    }

    #[test]
    fn names_are_quoted_as_the_catalog_has_them() {
        assert_eq!(
            sql("vw_conversations_analytics_final").unwrap(),
            r#""vw_conversations_analytics_final""#
        );
        assert_eq!(sql("reports.Final").unwrap(), r#""reports"."Final""#);
        assert_eq!(sql("vista de análise").unwrap(), r#""vista de análise""#);
    }

    #[test]
    fn hostile_names_stay_names() {
        for (name, quoted) in [
            (
                r#"v"; DROP TABLE conversations; --"#,
                r#""v""; DROP TABLE conversations; --""#,
            ),
            ("v WHERE 1 = 1 --", r#""v WHERE 1 = 1 --""#),
            ("v'/*\\", r#""v'/*\""#),
            (r#""a.b"."c""d""#, r#""a.b"."c""d""#),
            (r#"a."b.c""#, r#""a"."b.c""#),
            ("\"a\n\"", "\"a\n\""),
        ] {
            assert_eq!(sql(name).unwrap(), quoted);
        }
        assert_eq!(quote(r#"""#), r#""""""#);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "ç".repeat(32);
        for (text, error) in [
            ("", NameError::Empty),
            (".v", NameError::Empty),
            ("s.", NameError::Empty),
            (r#""""#, NameError::Empty),
            ("a.b.c", NameError::TooManyParts),
            (r#""a".b."c""#, NameError::TooManyParts),
            (r#""a"#, NameError::Quotes),
            (r#""a"b"#, NameError::Quotes),
            ("a\0", NameError::Nul),
            (&long, NameError::TooLong),
        ] {
            assert_eq!(sql(text).unwrap_err(), error, "{text:?}");
        }
        assert!(sql(&long[2..]).is_ok());
    }

    /// Letters, characters with a meaning in SQL or in the setting, and anything else.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![r#"["'\\\\;.$ a-cA-C/*-]{0,20}"#, r"\PC{0,30}", any::<String>()]
    }

    proptest! {
        #[test]
        fn any_setting_is_a_name_or_refused_and_its_sql_text_means_the_same_name(setting in text()) {
            if let Ok(name) = setting.parse::<RelationName>() {
                prop_assert_eq!(name.to_string().parse::<RelationName>().unwrap(), name);
            }
        }

        #[test]
        fn whatever_is_quoted_comes_back_and_ends_where_it_should(schema in text(), name in text()) {
            let fits = |part: &str| !part.is_empty() && part.len() <= MAX_BYTES && !part.contains('\0');
            prop_assume!(fits(&schema) && fits(&name));
            let qualified: RelationName = format!("{}.{}", quote(&schema), quote(&name)).parse().unwrap();
            prop_assert_eq!(qualified, RelationName { schema: Some(schema), name });
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the server of the tests is named by the environment"
    )]
    fn server() -> String {
        std::env::var("TIDEMARK_TEST_DATABASE_URL").expect("a test server: run `make test`")
    }

    /// PostgreSQL decides: it must read the name that was quoted.
    #[tokio::test]
    async fn postgresql_reads_the_names_that_were_quoted() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let names: Vec<String> = std::iter::repeat_with(|| text().new_tree(&mut runner).unwrap().current())
            .filter(|name| !name.is_empty() && name.len() <= MAX_BYTES && !name.contains('\0'))
            .take(400)
            .collect();
        let list: Vec<String> = names.iter().map(|name| format!("1 AS {}", quote(name))).collect();
        let mut connection = PgConnection::connect(&server()).await.unwrap();
        let row = sqlx::query(AssertSqlSafe(format!("SELECT {}", list.join(", "))))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        for (name, column) in names.iter().zip(row.columns()) {
            assert_eq!(column.name(), name);
        }
        let quoted: Vec<String> = names
            .iter()
            .map(|name| format!("{}.{}", quote(name), quote(name)))
            .collect();
        let parsed: Vec<Vec<String>> =
            sqlx::query_scalar("SELECT to_jsonb(parse_ident(q, true)) FROM unnest($1::text[]) AS q")
                .bind(&quoted)
                .fetch_all(&mut connection)
                .await
                .unwrap()
                .into_iter()
                .map(|sqlx::types::Json(parts)| parts)
                .collect();
        for (name, parts) in names.iter().zip(&parsed) {
            assert_eq!(parts.as_slice(), [name.clone(), name.clone()]);
        }
        connection.close().await.unwrap();
    }
}
