//! `etl_source` and `etl_fence`: what the ledger knows of a source's transactions over time.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgExecutor;
use sqlx::postgres::PgTransaction;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, Actor};
use tidemark_shared::fence::FenceSample;

use crate::audit::{self, Entry};
use crate::{Attempt, DbResult, statements};

statements! {
    FIND = "SELECT epoch, highest_xmax FROM etl_source WHERE name = $1";
    RECORD_XMAX = include_str!("fence/record_xmax.sql");
    INSERT = "INSERT INTO etl_fence (source, epoch, sampled_at, hi) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    // a plan needs only the newest sample below the horizon
    FIND_QUALIFYING = "SELECT sampled_at, hi FROM etl_fence \
                       WHERE source = $1 AND epoch = $2 AND hi < $3 AND sampled_at <= $4 ORDER BY sampled_at DESC LIMIT 1";
    // reads of the source from now on count as newer than all before
    ACCEPT = "WITH old AS (SELECT name, epoch, highest_xmax FROM etl_source WHERE name = $1 FOR UPDATE), \
                   accepted AS (UPDATE etl_source s SET epoch = old.epoch + 1, highest_xmax = $2 FROM old \
                                WHERE s.name = old.name RETURNING s.epoch) \
              INSERT INTO etl_source_audit (source, actor, reason, epoch, known_xmax, seen_xmax) \
              SELECT $1, $3, $4, accepted.epoch, old.highest_xmax, $2 FROM old, accepted RETURNING epoch, known_xmax";
    PRUNE = "DELETE FROM etl_fence WHERE source = $1 AND sampled_at < $2::timestamptz - interval '2 days'";
}

/// What the ledger knows of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct SourceState {
    /// Grows when an operator accepts a restored source.
    pub epoch: i32,
    /// The highest `xmax` that was ever seen.
    pub highest_xmax: i64,
}

/// What the ledger knows of a source; `None` before its first sample. Read this before the source: a source that then
/// shows a lower `xmax` was restored from an older state.
pub async fn find(db: impl PgExecutor<'_>, source: &str) -> DbResult<Option<SourceState>> {
    sqlx::query_as(FIND)
        .bind(source)
        .fetch_optional(db)
        .await
        .attempt("load the state of the source")
}

/// Records a source's `xmax` and returns what the ledger knows then.
pub async fn record_xmax(db: impl PgExecutor<'_>, source: &str, xmax: i64) -> DbResult<SourceState> {
    sqlx::query_as(RECORD_XMAX)
        .bind(source)
        .bind(xmax)
        .fetch_one(db)
        .await
        .attempt("record the source's xmax")
}

/// Inserts a sample, and deletes samples older than two days.
pub async fn insert(
    tx: &mut PgTransaction<'_>,
    source: &str,
    epoch: i32,
    sample: FenceSample,
) -> DbResult<()> {
    sqlx::query(INSERT)
        .bind(source)
        .bind(epoch)
        .bind(sample.sampled_at)
        .bind(sample.hi)
        .execute(&mut **tx)
        .await
        .attempt("insert the fence sample")?;
    sqlx::query(PRUNE)
        .bind(source)
        .bind(sample.sampled_at)
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("delete old fence samples")
}

/// The newest sample up to `until` in which all transactions are below `horizon`. `until` must not be later than the
/// moment when the open transactions were read that gave the horizon: the horizon says nothing about later samples.
pub async fn find_qualifying(
    db: impl PgExecutor<'_>,
    source: &str,
    epoch: i32,
    horizon: i64,
    until: DateTime<Utc>,
) -> DbResult<Option<FenceSample>> {
    sqlx::query_as::<_, (DateTime<Utc>, i64)>(FIND_QUALIFYING)
        .bind(source)
        .bind(epoch)
        .bind(horizon)
        .bind(until)
        .fetch_optional(db)
        .await
        .map(|row| row.map(|(sampled_at, hi)| FenceSample { sampled_at, hi }))
        .attempt("find the fence")
}

/// Accepts a restored source as it is now, and returns its new epoch. Audited.
///
/// # Errors
/// When the ledger does not know the source.
pub async fn accept_restore(
    db: &DbPool,
    actor: &Actor,
    source: &str,
    seen_xmax: i64,
    reason: &str,
) -> DbResult<i32> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let (epoch, known_xmax): (i32, i64) = sqlx::query_as(ACCEPT)
        .bind(source)
        .bind(seen_xmax)
        .bind(actor.as_str())
        .bind(reason)
        .fetch_one(&mut *tx)
        .await
        .attempt("accept the restored source")?;
    let entry = Entry::new(Action::SourceAccept)
        .subject(format!("source {source}"))
        .reason(Some(reason))
        .before(json!({"epoch": epoch - 1, "xmax": known_xmax}))
        .after(json!({"epoch": epoch, "xmax": seen_xmax}));
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("accept the restored source")?;
    Ok(epoch)
}
