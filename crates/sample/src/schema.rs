//! The tables, indexes and view of a sample.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgConnection, query_scalar, raw_sql};
use tidemark_shared::chatwoot::NEWEST_KNOWN;

use crate::shape::{DROP_VIEWS, SCHEMA, Shape, TableChange};

/// The tables that are filled.
const TABLES: [&str; 21] = [
    "accounts",
    "users",
    "teams",
    "inboxes",
    "working_hours",
    "agent_bots",
    "agent_bot_inboxes",
    "captain_assistants",
    "captain_inboxes",
    "campaigns",
    "sla_policies",
    "contacts",
    "contact_inboxes",
    "conversations",
    "messages",
    "csat_survey_responses",
    "reporting_events",
    "attachments",
    "conversation_participants",
    "applied_slas",
    "sla_events",
];

/// Creates the tables, indexes and view of the newest known version in an empty database, for tests that insert rows
/// themselves.
pub async fn schema(conn: &mut PgConnection) -> Result<()> {
    let newest = Shape::of(NEWEST_KNOWN);
    create_tables(conn).await?;
    create_indexes(conn, &newest.indexes()).await?;
    create_view(conn, &newest).await
}

/// Creates the tables of the newest known version.
pub async fn create_tables(conn: &mut PgConnection) -> Result<()> {
    raw_sql(SCHEMA)
        .execute(conn)
        .await
        .context("create the sample's tables")?;
    Ok(())
}

/// Analyzes the tables. Without a list the server would analyze its catalogs too, which takes longer than a small sample.
pub async fn analyze(conn: &mut PgConnection) -> Result<()> {
    let tables: String = query_scalar(
        "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class \
         WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'",
    )
    .fetch_one(&mut *conn)
    .await
    .context("list the sample's tables")?;
    raw_sql(AssertSqlSafe(format!("ANALYZE {tables}")))
        .execute(conn)
        .await
        .context("analyze the sample")?;
    Ok(())
}

/// Alters one table in a transaction. PostgreSQL refuses a new type for a column of a view, so the view of that shape is
/// dropped and created again.
pub async fn change_table(conn: &mut PgConnection, change: &TableChange, view: Option<&Shape>) -> Result<()> {
    let mut statements = change.statements.clone();
    if let Some(view) = view.filter(|_| change.changes_types) {
        statements.insert(0, DROP_VIEWS.to_owned());
        statements.push(view.views());
    }
    raw_sql(AssertSqlSafe(statements.join(";\n")))
        .execute(conn)
        .await
        .with_context(|| format!("alter the sample's table {}", change.table))?;
    Ok(())
}

/// Creates those of the indexes that are missing, in one transaction.
pub async fn create_indexes(conn: &mut PgConnection, indexes: &[&str]) -> Result<()> {
    let missing = indexes.join(";\n").replace(" INDEX ", " INDEX IF NOT EXISTS ");
    raw_sql(AssertSqlSafe(missing))
        .execute(conn)
        .await
        .context("create the sample's indexes")?;
    Ok(())
}

/// Creates the view, or replaces that of another version.
pub async fn create_view(conn: &mut PgConnection, shape: &Shape) -> Result<()> {
    let replace = format!("{DROP_VIEWS};\n{}", shape.views());
    raw_sql(AssertSqlSafe(replace))
        .execute(conn)
        .await
        .context("create the sample's view")?;
    Ok(())
}

/// Sets every sequence past the ids of the copied rows.
pub async fn set_sequences(conn: &mut PgConnection, shape: &Shape) -> Result<()> {
    for table in TABLES.into_iter().filter(|table| shape.has(table, "id")) {
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
