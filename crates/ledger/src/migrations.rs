//! The migrations of this build, and those of a database.

use sqlx::PgConnection;

use crate::statements;
use crate::tables::{FUNCTIONS, TABLES, TYPES, VIEWS};

statements! {
    LIST_IN_THE_WAY = include_str!("migrations/list_in_the_way.sql");
}

/// Every migration of the ledger and the target, newest last.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Versions that are applied, ascending; none when the table of migrations is missing.
///
/// # Errors
/// When the query fails for another reason.
pub async fn applied_migrations(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(connection)
        .await
}

/// Objects of somebody else that the first migrations would meet.
#[derive(Debug, Default)]
pub struct InTheWay {
    pub names: Vec<String>,
    /// Move them to the schema `legacy`, in this order.
    pub statements: Vec<String>,
}

/// Existing objects with names that the migrations need, in the schema where they create theirs.
pub async fn objects_in_the_way(connection: &mut PgConnection) -> Result<InTheWay, sqlx::Error> {
    let relations: Vec<&str> = TABLES.iter().chain(&VIEWS).copied().collect();
    let steps: Vec<(Option<String>, String)> = sqlx::query_as(LIST_IN_THE_WAY)
        .bind(relations)
        .bind(TYPES)
        .bind(FUNCTIONS)
        .fetch_all(connection)
        .await?;
    let mut found = InTheWay::default();
    for (name, statement) in steps {
        found.names.extend(name);
        found.statements.push(statement);
    }
    Ok(found)
}

/// A database's migrations compared with those of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// Some are missing.
    Behind,
    /// There are some that this build does not know.
    TooNew,
}

/// Compares the applied versions with this build.
#[must_use]
pub fn schema(applied: &[i64]) -> Schema {
    if MIGRATOR
        .iter()
        .any(|migration| migration.migration_type.is_up_migration() && !applied.contains(&migration.version))
    {
        Schema::Behind
    } else if applied.iter().any(|version| !MIGRATOR.version_exists(*version)) {
        Schema::TooNew
    } else {
        Schema::Current
    }
}
