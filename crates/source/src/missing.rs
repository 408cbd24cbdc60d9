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

fn comes_with(first: Option<Version>) -> String {
    first.map_or_else(String::new, |first| format!("; it comes with Chatwoot {first}"))
}
