//! `etl_bulk` and `etl_bulk_item`: one action on many things, whoever works on it.
//!
//! An item is settled in the transaction of its action, after it: see the lock order. [`settle`] finds no row where another
//! process has acted on the item, and [`count`] none where another process has the job. Both end the transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{RunId, TenantId};

use crate::audit::{self, Entry};
use crate::stored::Stored;
use crate::{Attempt, DbResult, secs, statements};

/// Columns of a job.
macro_rules! job {
    () => {
        "id, action, filter, reason, actor, origin, status, created_at, started_at, finished_at, item_count, object_count, \
         done_count, skipped_count, failed_count"
    };
}

/// Columns of an item.
macro_rules! item {
    () => {
        "seq, tenant_id, run_id, chunk_seq, coalesce(jsonb_array_length(conversation_ids), 0) AS conversation_count, status, \
         outcome, new_run_id, error, finished_at"
    };
}

statements! {
    INSERT = concat!(
        "INSERT INTO etl_bulk (action, filter, reason, actor, origin, item_count, object_count, skipped_count) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ", job!());
    INSERT_ITEMS = include_str!("bulk/insert_items.sql");
    FIND = concat!("SELECT ", job!(), " FROM etl_bulk WHERE id = $1");
    LIST = concat!("SELECT ", job!(), " FROM etl_bulk WHERE id < $1 AND status <> 'prepared' ORDER BY id DESC LIMIT $2");
    LIST_RECENT = concat!(
        "SELECT ", job!(), " FROM etl_bulk WHERE status = 'running' OR finished_at > now() - interval '2 minutes' \
         ORDER BY id DESC LIMIT $1");
    LIST_ITEMS = concat!(
        "SELECT ", item!(), " FROM etl_bulk_item WHERE bulk_id = $1 AND seq > $2 AND ($3::text IS NULL OR status = $3) \
         ORDER BY seq LIMIT $4");
    COUNT_OUTCOMES = "SELECT outcome, count(*) FROM etl_bulk_item WHERE bulk_id = $1 AND outcome IS NOT NULL \
                      GROUP BY outcome ORDER BY count(*) DESC, outcome";
    LIST_TENANTS = "SELECT DISTINCT tenant_id FROM etl_bulk_item WHERE bulk_id = $1 ORDER BY tenant_id";
    START = concat!(
        "UPDATE etl_bulk SET status = 'running', started_at = now(), reason = $2 WHERE id = $1 AND status = 'prepared' \
         RETURNING ", job!());
    STOP = "UPDATE etl_bulk SET status = 'stopped', finished_at = now(), worker_id = NULL, lease_until = NULL \
            WHERE id = $1 AND status = 'running'";
    CLAIM = include_str!("bulk/claim.sql");
    IS_ANY_RUNNING = "SELECT EXISTS (SELECT FROM etl_bulk WHERE status = 'running')";
    NEXT = "SELECT seq, tenant_id, run_id, chunk_seq, conversation_ids FROM etl_bulk_item \
            WHERE bulk_id = $1 AND status = 'pending' ORDER BY seq LIMIT 1";
    SETTLE = "UPDATE etl_bulk_item SET status = $3, outcome = $4, new_run_id = $5, error = $6, finished_at = now() \
              WHERE bulk_id = $1 AND seq = $2 AND status = 'pending'";
    COUNT = include_str!("bulk/count.sql");
    RENEW = "UPDATE etl_bulk SET lease_until = now() + make_interval(secs => $3) \
             WHERE id = $1 AND worker_id = $2 AND status = 'running'";
    FINISH = "UPDATE etl_bulk b SET status = 'done', finished_at = now(), worker_id = NULL, lease_until = NULL \
              WHERE b.id = $1 AND b.worker_id = $2 AND b.status = 'running' \
                AND NOT EXISTS (SELECT FROM etl_bulk_item i WHERE i.bulk_id = b.id AND i.status = 'pending')";
    RELEASE = "UPDATE etl_bulk SET lease_until = NULL WHERE worker_id = $1 AND status = 'running'";
    DISCARD = "DELETE FROM etl_bulk WHERE id = ANY(ARRAY(SELECT id FROM etl_bulk \
               WHERE status = 'prepared' AND created_at < now() - interval '1 day' ORDER BY id FOR UPDATE SKIP LOCKED))";
}

/// How an item of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemStatus {
    Done,
    /// Nothing had to be done, or it could not be done in its state.
    Skipped,
    Failed,
}

impl ItemStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// A job before it is stored.
#[derive(Debug)]
pub struct NewBulk<'a> {
    pub action: &'a str,
    pub filter: Value,
    pub reason: Option<&'a str>,
    pub items: Vec<NewItem>,
}

/// One thing to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    pub tenant: TenantId,
    pub run: Option<RunId>,
    pub chunk_seq: Option<i32>,
    pub conversations: Option<Vec<i64>>,
    /// Why nothing is to be done with it.
    pub skipped: Option<&'static str>,
}

/// A job. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct Bulk {
    pub id: i64,
    pub action: String,
    pub filter: Value,
    pub reason: Option<String>,
    pub actor: String,
    pub origin: Option<String>,
    /// prepared, running, done, stopped
    pub status: String,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub item_count: i32,
    /// Conversations, where an item has several; else as `item_count`.
    pub object_count: i32,
    pub done_count: i32,
    pub skipped_count: i32,
    pub failed_count: i32,
}

impl Bulk {
    /// Items that have not ended.
    #[must_use]
    pub const fn left(&self) -> i32 {
        self.item_count - self.done_count - self.skipped_count - self.failed_count
    }

    /// Who began it, for the audit of what is done for it.
    #[must_use]
    pub fn author(&self) -> Actor {
        Actor::stored(self.actor.clone(), self.origin.clone())
    }
}

/// An item of a job. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct BulkItem {
    pub seq: i32,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    pub run_id: Option<RunId>,
    pub chunk_seq: Option<i32>,
    pub conversation_count: i32,
    /// pending, done, skipped, failed
    pub status: String,
    /// Why it was skipped.
    pub outcome: Option<String>,
    /// The run that was requested.
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    pub new_run_id: Option<RunId>,
    pub error: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The next item of a job.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DueItem {
    pub seq: i32,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    pub run_id: Option<RunId>,
    pub chunk_seq: Option<i32>,
    #[sqlx(json(nullable))]
    pub conversation_ids: Option<Vec<i64>>,
}

/// Stores a job with its items. Nothing is done before it is started.
pub async fn prepare(db: &DbPool, actor: &Actor, new: &NewBulk<'_>) -> DbResult<Bulk> {
    let items = &new.items;
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let objects = items
        .iter()
        .map(|item| item.conversations.as_ref().map_or(1, Vec::len))
        .sum();
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    sqlx::query(DISCARD)
        .execute(&mut *tx)
        .await
        .attempt("discard jobs that were never started")?;
    let bulk: Bulk = sqlx::query_as(INSERT)
        .bind(new.action)
        .bind(Json(&new.filter))
        .bind(new.reason)
        .bind(actor.as_str())
        .bind(actor.origin())
        .bind(count(items.len()))
        .bind(count(objects))
        .bind(count(items.iter().filter(|item| item.skipped.is_some()).count()))
        .fetch_one(&mut *tx)
        .await
        .attempt("store the job")?;
    let tenants: Vec<Stored<TenantId>> = items.iter().map(|item| Stored(item.tenant)).collect();
    let runs: Vec<Option<i64>> = items.iter().map(|item| item.run.map(|run| run.0)).collect();
    let chunks: Vec<Option<i32>> = items.iter().map(|item| item.chunk_seq).collect();
    let conversations: Vec<Option<Json<&Vec<i64>>>> = items
        .iter()
        .map(|item| item.conversations.as_ref().map(Json))
        .collect();
    let skipped: Vec<Option<&str>> = items.iter().map(|item| item.skipped).collect();
    sqlx::query(INSERT_ITEMS)
        .bind(bulk.id)
        .bind(tenants)
        .bind(runs)
        .bind(chunks)
        .bind(conversations)
        .bind(skipped)
        .execute(&mut *tx)
        .await
        .attempt("store the items of the job")?;
    tx.commit().await.attempt("store the job")?;
    Ok(bulk)
}

pub async fn find(db: impl PgExecutor<'_>, id: i64) -> DbResult<Option<Bulk>> {
    sqlx::query_as(FIND)
        .bind(id)
        .fetch_optional(db)
        .await
        .attempt("find the job")
}

/// Jobs that were started, before the job `before`, newest first.
pub async fn list(db: impl PgExecutor<'_>, before: Option<i64>, limit: i64) -> DbResult<Vec<Bulk>> {
    sqlx::query_as(LIST)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the jobs")
}

/// Jobs that run or have ended a moment ago, newest first.
pub async fn list_recent(db: impl PgExecutor<'_>, limit: i64) -> DbResult<Vec<Bulk>> {
    sqlx::query_as(LIST_RECENT)
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the recent jobs")
}

/// Items of a job behind the item `after`; all, or those of one status.
pub async fn list_items(
    db: impl PgExecutor<'_>,
    id: i64,
    status: Option<&str>,
    after: i32,
    limit: i64,
) -> DbResult<Vec<BulkItem>> {
    sqlx::query_as(LIST_ITEMS)
        .bind(id)
        .bind(after)
        .bind(status)
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the items of the job")
}

/// Why items were skipped, and how many for each reason.
pub async fn count_outcomes(db: impl PgExecutor<'_>, id: i64) -> DbResult<Vec<(String, i64)>> {
    sqlx::query_as(COUNT_OUTCOMES)
        .bind(id)
        .fetch_all(db)
        .await
        .attempt("count the outcomes of the job")
}

/// The tenants that a job acts on.
pub async fn list_tenants(db: impl PgExecutor<'_>, id: i64) -> DbResult<Vec<TenantId>> {
    sqlx::query_scalar(LIST_TENANTS)
        .bind(id)
        .fetch_all(db)
        .await
        .map(crate::stored::values)
        .attempt("list the tenants of the job")
}

/// Starts a prepared job; `None` when there is none, or it was started already.
pub async fn start(db: &DbPool, actor: &Actor, id: i64, reason: Option<&str>) -> DbResult<Option<Bulk>> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let started: Option<Bulk> = sqlx::query_as(START)
        .bind(id)
        .bind(reason)
        .fetch_optional(&mut *tx)
        .await
        .attempt("start the job")?;
    if let Some(bulk) = &started {
        let entry = Entry::new(Action::BulkStart)
            .subject(format!("bulk {id}"))
            .reason(reason)
            .after(json!({"action": bulk.action, "items": bulk.item_count, "skipped": bulk.skipped_count}));
        audit::record(&mut *tx, actor, &entry).await?;
    }
    tx.commit().await.attempt("start the job")?;
    Ok(started)
}

/// Ends a job before all its items; `false` when it was not running. What was done stays.
pub async fn stop(db: &DbPool, actor: &Actor, id: i64) -> DbResult<bool> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let stopped = sqlx::query(STOP)
        .bind(id)
        .execute(&mut *tx)
        .await
        .attempt("stop the job")?
        .rows_affected()
        == 1;
    let result = match stopped {
        true => ActionResult::Done,
        false => ActionResult::Unchanged,
    };
    let entry = Entry::new(Action::BulkStop)
        .subject(format!("bulk {id}"))
        .result(result);
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("stop the job")?;
    Ok(stopped)
}

/// Takes a running job, or only this one, that no other process works on.
pub async fn claim(
    db: impl PgExecutor<'_>,
    worker: &str,
    lease: Duration,
    only: Option<i64>,
) -> DbResult<Option<Bulk>> {
    sqlx::query_as(CLAIM)
        .bind(worker)
        .bind(secs(lease))
        .bind(only)
        .fetch_optional(db)
        .await
        .attempt("take a job")
}

/// Whether any process works on a job, or did so before it died.
pub async fn is_any_running(db: impl PgExecutor<'_>) -> DbResult<bool> {
    sqlx::query_scalar(IS_ANY_RUNNING)
        .fetch_one(db)
        .await
        .attempt("look for jobs of other processes")
}

pub async fn next(db: impl PgExecutor<'_>, id: i64) -> DbResult<Option<DueItem>> {
    sqlx::query_as(NEXT)
        .bind(id)
        .fetch_optional(db)
        .await
        .attempt("find the next item of the job")
}

/// How the action on an item ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub status: ItemStatus,
    pub outcome: Option<&'static str>,
    pub new_run: Option<RunId>,
    pub error: Option<String>,
}

/// Ends an item, in the transaction of its action and after it. `false`: another process has ended it.
pub async fn settle(tx: &mut PgTransaction<'_>, id: i64, seq: i32, settled: &Settled) -> DbResult<bool> {
    let ended = sqlx::query(SETTLE)
        .bind(id)
        .bind(seq)
        .bind(settled.status.as_str())
        .bind(settled.outcome)
        .bind(settled.new_run.map(Stored))
        .bind(&settled.error)
        .execute(&mut **tx)
        .await
        .attempt("end the item")?;
    Ok(ended.rows_affected() == 1)
}

/// Counts an item that has ended, and keeps the job. `false`: another process has the job, or it was stopped.
pub async fn count(
    tx: &mut PgTransaction<'_>,
    id: i64,
    worker: &str,
    status: ItemStatus,
    lease: Duration,
) -> DbResult<bool> {
    let counted = sqlx::query(COUNT)
        .bind(id)
        .bind(worker)
        .bind(status.as_str())
        .bind(secs(lease))
        .execute(&mut **tx)
        .await
        .attempt("count the item")?;
    Ok(counted.rows_affected() == 1)
}

/// Keeps a job while an item takes long. `false`: another process has it, or it was stopped.
pub async fn renew(db: impl PgExecutor<'_>, id: i64, worker: &str, lease: Duration) -> DbResult<bool> {
    let renewed = sqlx::query(RENEW)
        .bind(id)
        .bind(worker)
        .bind(secs(lease))
        .execute(db)
        .await
        .attempt("keep the job")?;
    Ok(renewed.rows_affected() == 1)
}

/// Ends a job that has no item left.
pub async fn finish(db: impl PgExecutor<'_>, id: i64, worker: &str) -> DbResult<()> {
    sqlx::query(FINISH)
        .bind(id)
        .bind(worker)
        .execute(db)
        .await
        .map(drop)
        .attempt("end the job")
}

/// Lets other processes take the jobs of a process that stops.
pub async fn release(db: impl PgExecutor<'_>, worker: &str) -> DbResult<()> {
    sqlx::query(RELEASE)
        .bind(worker)
        .execute(db)
        .await
        .map(drop)
        .attempt("release the jobs")
}
