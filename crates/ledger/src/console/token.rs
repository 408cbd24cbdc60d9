//! `console_token`: tokens of the API. Only the hash of a token is stored.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};

use crate::{Attempt, DbResult, secs, statements};

statements! {
    INSERT = "INSERT INTO console_token (name, hash, role, tenants, created_by, expires_at) \
              VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6)) ON CONFLICT (name) DO NOTHING";
    LIST = "SELECT name, role, tenants, created_by, created_at, expires_at, last_used_at FROM console_token ORDER BY name";
    FIND = "SELECT name, role, tenants, created_by, created_at, expires_at, last_used_at FROM console_token \
            WHERE hash = $1 AND (expires_at IS NULL OR expires_at > now())";
    TOUCH = "UPDATE console_token SET last_used_at = now() \
             WHERE hash = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')";
    REMOVE = "DELETE FROM console_token WHERE name = $1";
}

/// A token without its secret; the field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct ConsoleToken {
    pub name: String,
    pub role: String,
    /// `None`: every tenant.
    pub tenants: Option<Vec<i32>>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    /// `None`: valid until it is removed.
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

#[derive(Debug)]
pub struct NewConsoleToken<'a> {
    pub name: &'a str,
    pub hash: &'a [u8],
    pub role: &'a str,
    pub tenants: Option<&'a [i32]>,
    pub created_by: &'a str,
    pub valid_for: Option<Duration>,
}

/// `false` when there is a token of that name.
pub async fn insert(db: impl PgExecutor<'_>, token: &NewConsoleToken<'_>) -> DbResult<bool> {
    let inserted = sqlx::query(INSERT)
        .bind(token.name)
        .bind(token.hash)
        .bind(token.role)
        .bind(token.tenants)
        .bind(token.created_by)
        .bind(token.valid_for.map(secs))
        .execute(db)
        .await
        .attempt("add the token")?;
    Ok(inserted.rows_affected() == 1)
}

pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<ConsoleToken>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .attempt("list the tokens")
}

/// The token of this hash, unless it has expired.
pub async fn find(db: impl PgExecutor<'_>, hash: &[u8]) -> DbResult<Option<ConsoleToken>> {
    sqlx::query_as(FIND)
        .bind(hash)
        .fetch_optional(db)
        .await
        .attempt("find the token")
}

/// Records that the token was used.
pub async fn touch(db: impl PgExecutor<'_>, hash: &[u8]) -> DbResult<()> {
    sqlx::query(TOUCH)
        .bind(hash)
        .execute(db)
        .await
        .map(drop)
        .attempt("record the use of the token")
}

/// `false` when there is no such token.
pub async fn remove(db: impl PgExecutor<'_>, name: &str) -> DbResult<bool> {
    let removed = sqlx::query(REMOVE)
        .bind(name)
        .execute(db)
        .await
        .attempt("remove the token")?;
    Ok(removed.rows_affected() == 1)
}
