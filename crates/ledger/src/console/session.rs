//! `console_session`: who is signed in. Only the hash of a session's id is stored.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use super::user::ConsoleUser;
use crate::{Attempt, DbResult, statements};

statements! {
    INSERT = "INSERT INTO console_session (id_hash, user_name, peer, agent) VALUES ($1, $2, $3, $4)";
    // 12 hours without a request, and 7 days in all
    FIND_USER = "SELECT u.name, u.role, u.tenants, u.sees_values, u.password_hash IS NOT NULL AS has_password, \
                        u.created_at, u.changed_at \
                 FROM console_session s JOIN console_user u ON u.name = s.user_name \
                 WHERE s.id_hash = $1 AND s.last_seen_at > now() - interval '12 hours' \
                   AND s.created_at > now() - interval '7 days'";
    // once a minute is exact enough, and spares an update a request
    TOUCH = "UPDATE console_session SET last_seen_at = now() \
             WHERE id_hash = $1 AND last_seen_at < now() - interval '1 minute'";
    LIST = "SELECT substr(encode(id_hash, 'hex'), 1, 16) AS id, user_name, created_at, last_seen_at, peer, agent \
            FROM console_session WHERE ($1::text IS NULL OR user_name = $1) \
              AND last_seen_at > now() - interval '12 hours' AND created_at > now() - interval '7 days' \
            ORDER BY last_seen_at DESC LIMIT 200";
    REMOVE = "DELETE FROM console_session WHERE id_hash = $1";
    REVOKE = "DELETE FROM console_session WHERE substr(encode(id_hash, 'hex'), 1, 16) = $1 \
                AND ($2::text IS NULL OR user_name = $2)";
    REMOVE_OF_USER = "DELETE FROM console_session WHERE user_name = $1";
    PRUNE = "DELETE FROM console_session WHERE last_seen_at < now() - interval '12 hours' \
               OR created_at < now() - interval '7 days'";
}

/// A session for its list. `id` is the beginning of the hash, which signs nobody in.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SessionReport {
    pub id: String,
    pub user_name: String,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub peer: Option<String>,
    pub agent: Option<String>,
}

pub async fn insert(
    db: impl PgExecutor<'_>,
    id_hash: &[u8],
    user: &str,
    peer: Option<&str>,
    agent: Option<&str>,
) -> DbResult<()> {
    sqlx::query(INSERT)
        .bind(id_hash)
        .bind(user)
        .bind(peer)
        .bind(agent)
        .execute(db)
        .await
        .map(drop)
        .attempt("begin the session")
}

/// The user of a session that has not ended.
pub async fn find_user(db: impl PgExecutor<'_>, id_hash: &[u8]) -> DbResult<Option<ConsoleUser>> {
    sqlx::query_as(FIND_USER)
        .bind(id_hash)
        .fetch_optional(db)
        .await
        .attempt("find the session")
}

/// Records that the session was used.
pub async fn touch(db: impl PgExecutor<'_>, id_hash: &[u8]) -> DbResult<()> {
    sqlx::query(TOUCH)
        .bind(id_hash)
        .execute(db)
        .await
        .map(drop)
        .attempt("extend the session")
}

/// Open sessions of a user, or of all, at most 200.
pub async fn list(db: impl PgExecutor<'_>, user: Option<&str>) -> DbResult<Vec<SessionReport>> {
    sqlx::query_as(LIST)
        .bind(user)
        .fetch_all(db)
        .await
        .attempt("list the sessions")
}

pub async fn remove(db: impl PgExecutor<'_>, id_hash: &[u8]) -> DbResult<()> {
    sqlx::query(REMOVE)
        .bind(id_hash)
        .execute(db)
        .await
        .map(drop)
        .attempt("end the session")
}

/// Ends a listed session, of this user or of any; `false` when it has ended.
pub async fn revoke(db: impl PgExecutor<'_>, id: &str, user: Option<&str>) -> DbResult<bool> {
    let removed = sqlx::query(REVOKE)
        .bind(id)
        .bind(user)
        .execute(db)
        .await
        .attempt("end the session")?;
    Ok(removed.rows_affected() > 0)
}

/// Ends all sessions of a user.
pub async fn remove_of_user(db: impl PgExecutor<'_>, user: &str) -> DbResult<u64> {
    let removed = sqlx::query(REMOVE_OF_USER)
        .bind(user)
        .execute(db)
        .await
        .attempt("end the sessions of the user")?;
    Ok(removed.rows_affected())
}

/// Removes sessions that have ended.
pub async fn prune(db: impl PgExecutor<'_>) -> DbResult<()> {
    sqlx::query(PRUNE)
        .execute(db)
        .await
        .map(drop)
        .attempt("remove ended sessions")
}
