//! `etl_process`: the running processes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};

use crate::migrations::{MIGRATOR, newest};
use crate::{Attempt, DbResult, statements};

statements! {
    RECORD_HEARTBEAT = "INSERT INTO etl_process (instance, role, host, version, http_address, doing, migration) \
                        VALUES ($1, $2, $3, $4, $5, $6, $7) \
                        ON CONFLICT (instance) DO UPDATE SET last_seen_at = now(), doing = excluded.doing";
    REMOVE = "DELETE FROM etl_process WHERE instance = $1";
    // three missed heartbeats
    LIST_LIVE = "SELECT instance, role, host, version, started_at, last_seen_at, http_address, doing FROM etl_process \
                 WHERE last_seen_at > now() - interval '30 seconds' ORDER BY role, instance";
    PRUNE = "DELETE FROM etl_process WHERE last_seen_at < now() - interval '1 day'";
}

/// State of a process that cannot publish or has no subscription.
pub const NO_BROKER: &str = "no broker";
/// The same, because the broker refuses user, password or virtual host.
pub const BROKER_REFUSES_LOGIN: &str = "the broker refuses user, password or virtual host";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Process {
    pub instance: String,
    pub role: String,
    pub host: String,
    pub version: String,
    pub started_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// Address of its health and metrics pages.
    pub http_address: Option<String>,
    /// Set while something stops it from working.
    pub doing: Option<String>,
}

impl Process {
    /// Whether it cannot publish or has no subscription, and why.
    #[must_use]
    pub fn broker_trouble(&self) -> Option<&str> {
        self.doing
            .as_deref()
            .filter(|doing| [NO_BROKER, BROKER_REFUSES_LOGIN].contains(doing))
    }
}

/// Records that this process is alive.
pub async fn record_heartbeat(
    db: impl PgExecutor<'_>,
    instance: &str,
    role: &str,
    host: &str,
    http_address: Option<&str>,
    doing: Option<&str>,
) -> DbResult<()> {
    sqlx::query(RECORD_HEARTBEAT)
        .bind(instance)
        .bind(role)
        .bind(host)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(http_address)
        .bind(doing)
        .bind(newest(&MIGRATOR))
        .execute(db)
        .await
        .map(drop)
        .attempt("record the heartbeat")
}

/// Removes a process that ends from the list.
pub async fn remove(db: impl PgExecutor<'_>, instance: &str) -> DbResult<()> {
    sqlx::query(REMOVE)
        .bind(instance)
        .execute(db)
        .await
        .map(drop)
        .attempt("remove the process from the list")
}

/// Processes seen within the last three heartbeats.
pub async fn list_live(db: impl PgExecutor<'_>) -> DbResult<Vec<Process>> {
    sqlx::query_as(LIST_LIVE)
        .fetch_all(db)
        .await
        .attempt("list the processes")
}

/// Deletes processes that disappeared more than a day ago.
pub async fn prune(db: impl PgExecutor<'_>) -> DbResult<()> {
    sqlx::query(PRUNE)
        .execute(db)
        .await
        .map(drop)
        .attempt("delete old processes")
}
