//! The order in which the ledger's transactions lock rows. A table lists it, ascending in every line. On a real
//! PostgreSQL each transaction is stopped at each of its locks: it must hold the earlier locks and no later one. Two
//! transactions that lock in ascending order cannot wait for each other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tidemark_ledger::{DbResult, cancel, chunk, retry, tenant_lifecycle};
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};

use crate::stage::{Stage, on_stage};

const TENANT: TenantId = TenantId(1);
const RUN: RunId = RunId(1);

/// A locked row, in the order that the ledger's head comment gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lock {
    Tenant,
    Run,
    Chunk(i32),
    Watermark,
}

impl Lock {
    fn row(self) -> String {
        match self {
            Self::Tenant => "tenants WHERE id = 1".to_owned(),
            Self::Run => "etl_control WHERE id = 1".to_owned(),
            Self::Chunk(seq) => format!("etl_chunk WHERE run_id = 1 AND seq = {seq}"),
            Self::Watermark => "etl_watermark WHERE tenant_id = 1".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Transaction {
    Cancel,
    Remove,
    Retry,
    /// A worker that gives up on chunk 3, and with it on the run.
    FailRun,
    MarkPublished,
    Unqueue,
    Requeue,
}

const CHUNKS: [Lock; 3] = [Lock::Chunk(1), Lock::Chunk(2), Lock::Chunk(3)];
const ALL: [Transaction; 7] = [
    Transaction::Cancel,
    Transaction::Remove,
    Transaction::Retry,
    Transaction::FailRun,
    Transaction::MarkPublished,
    Transaction::Unqueue,
    Transaction::Requeue,
];

impl Transaction {
    fn locks(self) -> Vec<Lock> {
        let (before, after): (&[Lock], &[Lock]) = match self {
            Self::Cancel => (&[Lock::Run], &[Lock::Watermark]),
            Self::Remove => (&[Lock::Tenant, Lock::Run], &[Lock::Watermark]),
            Self::Retry | Self::FailRun => (&[Lock::Run], &[]),
            Self::MarkPublished | Self::Unqueue | Self::Requeue => (&[], &[]),
        };
        [before, &CHUNKS, after].concat()
    }

    /// The states of the run and its three chunks at the start.
    const fn begins_with(self) -> (&'static str, [&'static str; 3]) {
        match self {
            Self::Cancel | Self::Remove | Self::FailRun => ("running", ["pending", "queued", "running"]),
            Self::Retry => ("failed", ["dead", "cancelled", "dead"]),
            Self::MarkPublished | Self::Unqueue | Self::Requeue => ("running", ["queued"; 3]),
        }
    }

    async fn execute(self, db: &DbPool) -> DbResult<()> {
        let ids: Vec<ChunkId> = [3, 1, 2].map(|seq| ChunkId { run_id: RUN, seq }).into();
        match self {
            Self::Cancel => cancel::run(db, &Actor::cli("test", None), RUN, None)
                .await
                .map(drop),
            Self::Remove => tenant_lifecycle::remove(db, &Actor::cli("test", None), TENANT)
                .await
                .map(drop),
            Self::Retry => retry::retry(db, &Actor::cli("test", None), RUN, None)
                .await
                .map(drop),
            Self::FailRun => chunk::fail_run(db, ids[0], 1, "it cannot be read").await,
            Self::MarkPublished => chunk::mark_published(db, &ids).await,
            Self::Unqueue => chunk::unqueue(db, &ids, Duration::from_secs(1)).await,
            Self::Requeue => chunk::requeue(db, &[RUN]).await.map(drop),
        }
    }
}

/// Creates the run again. Its chunks are stored from the last to the first, so an unordered statement takes them in
/// the wrong order.
async fn begin(stage: &Stage, transaction: Transaction) -> Result<()> {
    let (run, chunks) = transaction.begins_with();
    stage
        .target
        .execute(AssertSqlSafe(format!(
            "DELETE FROM etl_chunk; DELETE FROM etl_control; UPDATE tenants SET deleted_at = NULL; \
             INSERT INTO etl_control (id, tenant_id, type, status, triggered_by, chunks_total, finished_at) \
             OVERRIDING SYSTEM VALUE \
             VALUES (1, 1, 'incremental', '{run}', 'test', 3, CASE WHEN '{run}' = 'failed' THEN now() END)"
        )))
        .await?;
    for (seq, status) in (1..).zip(chunks).collect::<Vec<_>>().into_iter().rev() {
        stage
            .target
            .execute(AssertSqlSafe(format!(
                "INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, attempt, queued_at, lease_until, \
                                        finished_at) \
                 VALUES (1, {seq}, 1, 'live', '{{\"kind\": \"keys\", \"ids\": [1]}}', 1, '{status}', 1, now(), \
                         CASE WHEN '{status}' = 'running' THEN now() + interval '1 hour' END, \
                         CASE WHEN '{status}' IN ('dead', 'cancelled') THEN now() END)"
            )))
            .await?;
    }
    Ok(())
}

async fn is_held(stage: &Stage, lock: Lock) -> Result<bool> {
    let probe = format!(
        "SELECT count(*) = 0 FROM (SELECT FROM {} FOR NO KEY UPDATE SKIP LOCKED) free",
        lock.row()
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(probe))
        .fetch_one(&stage.target)
        .await?)
}

#[test]
fn every_transaction_locks_rows_in_the_one_order() {
    for transaction in ALL {
        assert!(
            transaction.locks().is_sorted(),
            "{transaction:?} locks {:?}",
            transaction.locks()
        );
    }
}

/// Trap 24.
#[tokio::test]
async fn every_transaction_holds_what_it_locks_first_while_it_waits_for_the_next_row() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let db = stage.db();
        let mut holder = PgConnection::connect(&stage.owner_url("target")).await?;
        for transaction in ALL {
            let locks = transaction.locks();
            for (position, lock) in locks.iter().enumerate() {
                begin(&stage, transaction).await?;
                let hold = format!("BEGIN; SELECT FROM {} FOR NO KEY UPDATE", lock.row());
                holder.execute(AssertSqlSafe(hold)).await?;
                let at_the_lock = async {
                    stage
                        .until(
                            "SELECT count(*) = 1 FROM pg_stat_activity \
                             WHERE datname = current_database() AND wait_event_type = 'Lock'",
                        )
                        .await
                        .with_context(|| format!("{transaction:?} does not wait for {lock:?}"))?;
                    let mut held = Vec::new();
                    for other in locks.iter().filter(|other| *other != lock) {
                        if is_held(&stage, *other).await? {
                            held.push(*other);
                        }
                    }
                    holder.execute("ROLLBACK").await?;
                    anyhow::Ok(held)
                };
                let (outcome, held) = tokio::join!(transaction.execute(&db), at_the_lock);
                let held = held?;
                ensure!(
                    held == locks[..position],
                    "{transaction:?} holds {held:?} while it waits for {lock:?}"
                );
                outcome.with_context(|| format!("{transaction:?} after {lock:?}"))?;
            }
        }
        holder.close().await?;
        Ok(())
    })
    .await;
}
