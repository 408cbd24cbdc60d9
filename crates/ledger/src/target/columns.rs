//! The columns of the target, from its catalog.

use std::collections::HashMap;

use sqlx::PgExecutor;

use crate::{Attempt, DbResult, statements};

statements! {
    NOT_NULL = "SELECT attname::text FROM pg_attribute \
                WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND attnotnull ORDER BY attnum";
    TYPES = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND NOT attisdropped";
}

/// Columns that are NOT NULL.
pub async fn not_null_columns(db: impl PgExecutor<'_>) -> DbResult<Vec<String>> {
    sqlx::query_scalar(NOT_NULL)
        .fetch_all(db)
        .await
        .attempt("read the target's columns")
}

/// Columns that planning reads, with the types of the migrations.
const PLANNING_COLUMNS: [(&str, &str); 8] = [
    ("tenant_id", "integer"),
    ("conversation_id", "bigint"),
    ("inbox_id", "integer"),
    ("contact_id", "bigint"),
    ("client_sender_id", "bigint"),
    ("etl_run_id", "bigint"),
    ("source_deleted_at", "timestamp with time zone"),
    ("source_digest", "bigint"),
];

/// Columns that planning reads and that were changed since the migrations: which, and how to restore them.
pub async fn changed_columns(db: impl PgExecutor<'_>) -> DbResult<Option<String>> {
    let found: HashMap<String, String> = sqlx::query_as(TYPES)
        .fetch_all(db)
        .await
        .attempt("read the target's columns")?
        .into_iter()
        .collect();
    let wrong: Vec<String> = PLANNING_COLUMNS
        .iter()
        .filter_map(|(column, expected)| match found.get(*column) {
            Some(is) if is == expected => None,
            Some(is) => Some(format!(
                "column {column} of conversations_analytics has the type {is} and not {expected}: change it back with \
                 `ALTER TABLE conversations_analytics ALTER COLUMN {column} TYPE {expected}`"
            )),
            None => Some(format!(
                "conversations_analytics has no column {column} any more: rename it back, or restore it with \
                 the type {expected}"
            )),
        })
        .collect();
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}
