//! The migrations of this build, and those of a database.

use sqlx::PgConnection;

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

/// Existing tables with names that the first migrations need, in the schema where tables are created.
pub async fn tables_in_the_way(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
         AND relname IN ('tenants', 'inbox_tenant_mapping', 'etl_control', 'conversations_analytics') ORDER BY relname",
    )
    .fetch_all(connection)
    .await
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
