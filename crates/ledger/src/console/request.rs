//! `console_request`: answers of the API to changes with an Idempotency-Key.

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};

use crate::{Attempt, DbResult, statements};

statements! {
    BEGIN = "INSERT INTO console_request (actor, key, request_hash) VALUES ($1, $2, $3) ON CONFLICT (actor, key) DO NOTHING";
    FIND = "SELECT request_hash, status, body FROM console_request WHERE actor = $1 AND key = $2";
    END = "UPDATE console_request SET status = $3, body = $4 WHERE actor = $1 AND key = $2";
    ABANDON = "DELETE FROM console_request WHERE actor = $1 AND key = $2 AND status IS NULL";
    PRUNE = "DELETE FROM console_request WHERE created_at < now() - interval '1 day'";
}

/// An earlier request with the same key.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct EarlierRequest {
    pub request_hash: Vec<u8>,
    /// `None`: it has not ended.
    pub status: Option<i32>,
    #[sqlx(json(nullable))]
    pub body: Option<Value>,
}

/// Records a request; `false` when there was one with the same key.
pub async fn begin(db: impl PgExecutor<'_>, actor: &str, key: &str, hash: &[u8]) -> DbResult<bool> {
    let inserted = sqlx::query(BEGIN)
        .bind(actor)
        .bind(key)
        .bind(hash)
        .execute(db)
        .await
        .attempt("record the request")?;
    Ok(inserted.rows_affected() == 1)
}

pub async fn find(db: impl PgExecutor<'_>, actor: &str, key: &str) -> DbResult<Option<EarlierRequest>> {
    sqlx::query_as(FIND)
        .bind(actor)
        .bind(key)
        .fetch_optional(db)
        .await
        .attempt("find the earlier request")
}

/// Stores the answer.
pub async fn end(
    db: impl PgExecutor<'_>,
    actor: &str,
    key: &str,
    status: u16,
    body: Option<&Value>,
) -> DbResult<()> {
    sqlx::query(END)
        .bind(actor)
        .bind(key)
        .bind(i32::from(status))
        .bind(body.map(Json))
        .execute(db)
        .await
        .map(drop)
        .attempt("store the answer")
}

/// Forgets a request that did not end, so that it can be made again.
pub async fn abandon(db: impl PgExecutor<'_>, actor: &str, key: &str) -> DbResult<()> {
    sqlx::query(ABANDON)
        .bind(actor)
        .bind(key)
        .execute(db)
        .await
        .map(drop)
        .attempt("forget the request")
}

/// Removes answers that are older than a day.
pub async fn prune(db: impl PgExecutor<'_>) -> DbResult<()> {
    sqlx::query(PRUNE)
        .execute(db)
        .await
        .map(drop)
        .attempt("remove old answers")
}
