//! `console_user`: who may sign in.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};

use crate::{Attempt, DbResult, statements};

statements! {
    LIST = "SELECT name, role, tenants, sees_values, password_hash IS NOT NULL AS has_password, created_at, changed_at \
            FROM console_user ORDER BY name";
    FIND = "SELECT name, role, tenants, sees_values, password_hash IS NOT NULL AS has_password, created_at, changed_at \
            FROM console_user WHERE name = $1";
    FIND_PASSWORD = "SELECT password_hash FROM console_user WHERE name = $1";
    INSERT = "INSERT INTO console_user (name, password_hash, role, tenants, sees_values) VALUES ($1, $2, $3, $4, $5) \
              ON CONFLICT (name) DO NOTHING";
    SET_PASSWORD = "UPDATE console_user SET password_hash = $2, changed_at = now() WHERE name = $1";
    REMOVE = "DELETE FROM console_user WHERE name = $1";
}

/// A user without the password; the field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct ConsoleUser {
    pub name: String,
    pub role: String,
    /// `None`: every tenant.
    pub tenants: Option<Vec<i32>>,
    /// May look at values of rows.
    pub sees_values: bool,
    pub has_password: bool,
    pub created_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

#[derive(Debug)]
pub struct NewConsoleUser<'a> {
    pub name: &'a str,
    pub password_hash: Option<&'a str>,
    pub role: &'a str,
    pub tenants: Option<&'a [i32]>,
    pub sees_values: bool,
}

pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<ConsoleUser>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .attempt("list the console's users")
}

pub async fn find(db: impl PgExecutor<'_>, name: &str) -> DbResult<Option<ConsoleUser>> {
    sqlx::query_as(FIND)
        .bind(name)
        .fetch_optional(db)
        .await
        .attempt("find the console's user")
}

/// The hash of the password; `None` where there is no such user, or it has no password.
pub async fn find_password(db: impl PgExecutor<'_>, name: &str) -> DbResult<Option<String>> {
    let found: Option<Option<String>> = sqlx::query_scalar(FIND_PASSWORD)
        .bind(name)
        .fetch_optional(db)
        .await
        .attempt("find the console's user")?;
    Ok(found.flatten())
}

/// `false` when there is a user of that name.
pub async fn insert(db: impl PgExecutor<'_>, user: &NewConsoleUser<'_>) -> DbResult<bool> {
    let inserted = sqlx::query(INSERT)
        .bind(user.name)
        .bind(user.password_hash)
        .bind(user.role)
        .bind(user.tenants)
        .bind(user.sees_values)
        .execute(db)
        .await
        .attempt("add the console's user")?;
    Ok(inserted.rows_affected() == 1)
}

/// `false` when there is no such user.
pub async fn set_password(db: impl PgExecutor<'_>, name: &str, hash: &str) -> DbResult<bool> {
    let changed = sqlx::query(SET_PASSWORD)
        .bind(name)
        .bind(hash)
        .execute(db)
        .await
        .attempt("change the password of the console's user")?;
    Ok(changed.rows_affected() == 1)
}

/// Removes a user with its sessions; `false` when there is no such user.
pub async fn remove(db: impl PgExecutor<'_>, name: &str) -> DbResult<bool> {
    let removed = sqlx::query(REMOVE)
        .bind(name)
        .execute(db)
        .await
        .attempt("remove the console's user")?;
    Ok(removed.rows_affected() == 1)
}
