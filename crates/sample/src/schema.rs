//! The tables, indexes and view of a sample.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgConnection, raw_sql};

/// Tables with a sequence for ids, in the order in which they are filled.
const TABLES: [&str; 9] = [
    "accounts",
    "users",
    "teams",
    "inboxes",
    "contacts",
    "contact_inboxes",
    "conversations",
    "messages",
    "csat_survey_responses",
];

/// Creates the tables, indexes and view in an empty database, for tests that insert rows themselves.
pub async fn schema(conn: &mut PgConnection) -> Result<()> {
    create_tables(conn).await?;
    create_indexes_and_view(conn).await
}

pub async fn create_tables(conn: &mut PgConnection) -> Result<()> {
    raw_sql(include_str!("schema.sql"))
        .execute(conn)
        .await
        .context("create the sample's tables")?;
    Ok(())
}

pub async fn create_indexes_and_view(conn: &mut PgConnection) -> Result<()> {
    raw_sql(include_str!("indexes.sql"))
        .execute(&mut *conn)
        .await
        .context("create the sample's indexes")?;
    raw_sql(include_str!("view.sql"))
        .execute(conn)
        .await
        .context("create the sample's view")?;
    Ok(())
}

/// Sets every sequence past the ids of the copied rows.
pub async fn set_sequences(conn: &mut PgConnection) -> Result<()> {
    for table in TABLES {
        let statement = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', 'id'), COALESCE(max(id), 0) + 1, false) FROM {table}"
        );
        raw_sql(AssertSqlSafe(statement))
            .execute(&mut *conn)
            .await
            .with_context(|| format!("set the sequence of {table}"))?;
    }
    Ok(())
}
