//! The words for what a source lacks, the same for tables and views.

use tidemark_shared::chatwoot::Version;

/// `of` is the table or the view. `first` is the first version of Chatwoot that has the column.
pub(crate) fn missing_column(of: &str, column: &str, first: Option<Version>) -> String {
    format!(
        "{of} has no column {column}: it is NULL in every row{}",
        comes_with(first)
    )
}

pub(crate) fn missing_table(table: &str, first: Option<Version>) -> String {
    format!(
        "the source has no table {table}: it counts as empty{}",
        comes_with(first)
    )
}

/// One warning for all tables and columns that the login may not read.
pub(crate) fn withheld_rights(withheld: &[String]) -> Option<String> {
    let names = withheld.join(", ");
    (!withheld.is_empty()).then(|| {
        format!("the login may not read {names}: these count as empty; their owner can run: GRANT SELECT ON … TO the login")
    })
}

/// One warning for all columns that a view may show besides the necessary ones.
pub(crate) fn further_columns(view: &str, columns: &[&str]) -> Option<String> {
    (!columns.is_empty()).then(|| {
        format!(
            "view {view} does not show {}: these are NULL in every row",
            columns.join(", ")
        )
    })
}

fn comes_with(first: Option<Version>) -> String {
    first.map_or_else(String::new, |first| format!("; it comes with Chatwoot {first}"))
}
