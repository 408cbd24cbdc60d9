//! `etl_source_watch`: the last sample of each source, for people and metrics.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::fence::Holder;

use crate::{Attempt, DbResult, statements};

statements! {
    RECORD_SAMPLE = "INSERT INTO etl_source_watch (source, looked_at, fence_at, holder) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (source) DO UPDATE SET looked_at = excluded.looked_at, fence_at = excluded.fence_at, \
                         holder = excluded.holder, error = NULL, failing_since = NULL, written_at = now()";
    RECORD_FAILURE = "INSERT INTO etl_source_watch (source, error, failing_since) VALUES ($1, $2, now()) \
                      ON CONFLICT (source) DO UPDATE SET error = excluded.error, \
                          failing_since = coalesce(etl_source_watch.failing_since, now()), written_at = now()";
    LIST = "SELECT source, looked_at, fence_at, holder, error, failing_since, written_at FROM etl_source_watch ORDER BY source";
}

/// A source when a producer last sampled it.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct SourceWatch {
    pub source: String,
    /// The source's clock at the last sample; `None` when the source was never reached.
    pub looked_at: Option<DateTime<Utc>>,
    /// The fence at that sample; `None` while an open transaction is older than every sample.
    pub fence_at: Option<DateTime<Utc>>,
    /// The oldest open writing transaction at that sample.
    pub holder: Option<Json<Holder>>,
    /// Why the source cannot be sampled at the moment.
    pub error: Option<String>,
    /// The ledger's clock.
    pub failing_since: Option<DateTime<Utc>>,
    /// The ledger's clock.
    pub written_at: DateTime<Utc>,
}

impl SourceWatch {
    /// How far the fence was behind the source's clock; `None` when it is not known.
    #[must_use]
    pub fn fence_lag(&self) -> Option<chrono::TimeDelta> {
        Some(self.looked_at? - self.fence_at?)
    }
}

pub async fn record_sample(
    db: impl PgExecutor<'_>,
    source: &str,
    looked_at: DateTime<Utc>,
    fence_at: Option<DateTime<Utc>>,
    holder: Option<&Holder>,
) -> DbResult<()> {
    sqlx::query(RECORD_SAMPLE)
        .bind(source)
        .bind(looked_at)
        .bind(fence_at)
        .bind(holder.map(Json))
        .execute(db)
        .await
        .map(drop)
        .attempt("record the source's sample")
}

pub async fn record_failure(db: impl PgExecutor<'_>, source: &str, error: &str) -> DbResult<()> {
    sqlx::query(RECORD_FAILURE)
        .bind(source)
        .bind(error)
        .execute(db)
        .await
        .map(drop)
        .attempt("record that the source cannot be sampled")
}

pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<SourceWatch>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .attempt("list the sources")
}
