//! All statements that lock chunks and runs, at the same time on one run.

use std::time::Duration;
use tidemark_ledger::run::NewRun;
use tidemark_ledger::stored::Stored;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::DispatchLimits;
use tidemark_ledger::verification::ChunkFindings;
use tidemark_ledger::{Attempt, DbResult};
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::fence::{SourceSnapshot, SourceVersion};
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::job::TraceContext;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::Sender;
use tidemark_shared::verification::Compared;

use crate::stage::{Stage, on_stage};

const ROUNDS: u32 = 12;
const CHUNKS: i32 = 300;
const LEASE: Duration = Duration::from_secs(60);

/// A pool with a connection for every task, on which PostgreSQL detects a deadlock at once.
async fn pool(stage: &Stage) -> Result<PgPool> {
    let options: PgConnectOptions = stage.owner_url("target").parse()?;
    let options = options.options([("deadlock_timeout", "10ms")]);
    Ok(PgPoolOptions::new()
        .max_connections(40)
        .connect_with(options)
        .await?)
}

async fn run_of_many_chunks(stage: &Stage) -> Result<RunId> {
    let Stored(run) = sqlx::query_scalar(
        "WITH run AS (INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, chunks_total) \
                      VALUES (1, 'full', 'running', 'test', now(), $1) RETURNING id), \
              chunks AS (INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count) \
                         SELECT id, n, 1, 'bulk', '{\"kind\": \"keys\", \"ids\": [1]}', 1 FROM run, generate_series(1, $1) n) \
         SELECT id FROM run",
    )
    .bind(CHUNKS)
    .fetch_one(&stage.target)
    .await?;
    Ok(run)
}

/// Locks as a producer does.
async fn dispatch(db: &DbPool) -> DbResult<()> {
    let limits = DispatchLimits {
        fleet: 200,
        sources: vec![("main".to_owned(), 200)],
    };
    let mut tx = db.begin().await.attempt("begin")?;
    let chunks = ledger::chunk::dispatch(&mut tx, &limits, None)
        .await?
        .unwrap_or_default();
    let ids: Vec<ChunkId> = chunks.iter().map(ledger::chunk::DispatchedChunk::id).collect();
    let traces: Vec<_> = ids.iter().map(|id| (*id, TraceContext::default())).collect();
    ledger::chunk::begin_traces(&mut tx, &traces).await?;
    tx.commit().await.attempt("commit")?;
    ledger::chunk::mark_published(db, &ids).await
}

/// Locks as a worker that compares: one transaction records the findings and completes or postpones the chunk.
async fn compare(db: &DbPool, chunk: ChunkId, attempt: i32, is_settled: bool) -> DbResult<()> {
    let clock = chrono::DateTime::UNIX_EPOCH;
    let snapshot = SourceSnapshot {
        xmin: 1,
        xmax: 1,
        in_progress: 0,
        clock,
    };
    let version = SourceVersion { epoch: 1, snapshot };
    let part = ChunkFindings {
        chunk,
        tenant_id: TenantId(1),
        version: &version,
        is_settled,
        compared: &Compared::default(),
        faults: &[],
    };
    let mut tx = db.begin().await.attempt("begin")?;
    let is_mine = if is_settled {
        ledger::chunk::complete(&mut tx, chunk, attempt, &ChunkCounts::default(), None).await?
    } else {
        ledger::chunk::lock_claimed(&mut *tx, chunk, attempt).await?
    };
    if is_mine {
        ledger::verification::record_part(&mut tx, &part).await?;
    }
    tx.commit().await.attempt("commit")
}

/// Locks as a worker with the chunk of one message.
async fn work(db: &DbPool, chunk: ChunkId) -> DbResult<()> {
    let Some(claimed) = ledger::chunk::claim(db, chunk, TenantId(1), "test", LEASE).await? else {
        return Ok(());
    };
    match chunk.seq % 8 {
        0 => ledger::chunk::fail_run(db, chunk, claimed.attempt, "a configuration error").await,
        kind => compare(db, chunk, claimed.attempt, kind < 4).await,
    }
}

/// Trap 24.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_deadlock_reaches_a_caller_while_a_run_is_executed_cancelled_and_retried() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let run = run_of_many_chunks(&stage).await?;
        let pool = pool(&stage).await?;
        let db = DbPool::direct(pool.clone());
        for round in 0..ROUNDS {
            let workers = (0..16).map(|worker| {
                let db = &db;
                async move {
                    let mut outcome = Ok(());
                    // from the last to the first, an order in which a broker may deliver them
                    for seq in (1..=CHUNKS).rev().filter(|seq| seq % 16 == worker) {
                        let chunk = ChunkId { run_id: run, seq };
                        outcome = outcome.and(work(db, chunk).await);
                    }
                    outcome
                }
            });
            let producers = (0..3).map(|_| async {
                for _ in 0..6 {
                    dispatch(&db).await?;
                }
                DbResult::Ok(())
            });
            let operator = async {
                for _ in 0..4 {
                    ledger::cancel::run(&db, &actor(), run, None).await?;
                    ledger::retry::retry(&db, &actor(), run, None).await?;
                }
                DbResult::Ok(())
            };
            let other = async {
                for _ in 0..6 {
                    ledger::tenant_lifecycle::pause(&db, &actor(), TenantId(1), "test").await?;
                    ledger::tenant_lifecycle::resume(&db, &actor(), TenantId(1)).await?;
                    ledger::chunk::requeue(&db, &[run]).await?;
                }
                DbResult::Ok(())
            };
            let (workers, producers, operator, other) =
                tokio::join!(join_all(workers), join_all(producers), operator, other);
            for outcome in workers.into_iter().chain(producers).chain([operator, other]) {
                outcome.with_context(|| format!("round {round}"))?;
            }
        }
        let cancelled = ledger::cancel::run(&db, &actor(), run, None).await?;
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM etl_chunk WHERE status IN ('pending', 'queued', 'running')",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(open == 0, "{open} chunks are open after {cancelled:?}");
        let dead: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(deadlocks), 0)::bigint FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(dead == 0, "the server ended {dead} deadlocks");
        pool.close().await;
        Ok(())
    })
    .await;
}

/// Locks as a worker that loads: first rows of the target, then the tenant, then the chunk.
async fn load(db: &DbPool, chunk: ChunkId) -> DbResult<()> {
    let Some(claimed) = ledger::chunk::claim(db, chunk, TenantId(1), "test", LEASE).await? else {
        return Ok(());
    };
    let mut tx = db.begin().await.attempt("begin")?;
    ledger::target::set_tenant(&mut tx, TenantId(1)).await?;
    sqlx::query("UPDATE conversations_analytics SET etl_updated_at = now() WHERE tenant_id = 1 AND conversation_id = $1")
        .bind(i64::from(chunk.seq))
        .execute(&mut *tx)
        .await
        .attempt("merge")?;
    ledger::inbox::lock_version(&mut *tx, TenantId(1)).await?;
    let sender = Sender {
        sender_type: "User".to_owned(),
        id: 1,
    };
    ledger::sender::record(
        &mut *tx,
        TenantId(1),
        std::iter::once((&sender, (1, 1_000_000 + i64::from(chunk.seq)))),
    )
    .await?;
    ledger::chunk::complete(&mut tx, chunk, claimed.attempt, &ChunkCounts::default(), None).await?;
    tx.commit().await.attempt("commit")
}

/// When the server aborts a worker's transaction, the worker tries the chunk again.
fn but_for_a_deadlock(outcome: DbResult<()>) -> DbResult<()> {
    outcome.or_else(|error| {
        let code = error.source.as_database_error().and_then(|error| error.code());
        if code.as_deref() == Some("40P01") {
            Ok(())
        } else {
            Err(error)
        }
    })
}

fn actor() -> Actor {
    Actor::cli("test", None)
}

fn asked() -> NewRun {
    NewRun {
        tenant_id: TenantId(1),
        run_type: RunType::Resync,
        triggered_by: "test".to_owned(),
        reason: Some("a contact was forgotten".to_owned()),
        request: RunRequest::default(),
        trace_id: None,
        traceparent: None,
    }
}

/// Trap 24: both transactions want rows that a load has locked while it waits for its tenant. The server aborts them,
/// and they are run again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_a_tenant_or_forgetting_a_contact_meets_no_deadlock_while_chunks_are_loaded() {
    on_stage(|stage| async move {
        stage.sample(CHUNKS.unsigned_abs().into(), 1, 73).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let contacts: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT contact_id FROM conversations_analytics WHERE contact_id IS NOT NULL ORDER BY 1 LIMIT 24",
        )
        .fetch_all(&stage.target)
        .await?;
        let run = run_of_many_chunks(&stage).await?;
        let pool = pool(&stage).await?;
        let db = DbPool::direct(pool.clone());
        for (round, contacts) in contacts.chunks(4).enumerate() {
            let workers = (0..16).map(|worker| {
                let db = &db;
                async move {
                    let mut outcome = Ok(());
                    for seq in (1..=CHUNKS).rev().filter(|seq| seq % 16 == worker) {
                        let chunk = ChunkId { run_id: run, seq };
                        outcome = outcome.and(but_for_a_deadlock(load(db, chunk).await));
                    }
                    outcome
                }
            });
            let producer = async {
                for _ in 0..6 {
                    dispatch(&db).await?;
                }
                DbResult::Ok(())
            };
            let forgets = async {
                for contact in contacts {
                    ledger::privacy::forget(&db, &actor(), TenantId(1), *contact, &asked()).await?;
                }
                DbResult::Ok(())
            };
            let removes = async {
                for _ in 0..4 {
                    ledger::tenant_lifecycle::remove(&db, &actor(), TenantId(1)).await?;
                    sqlx::query("UPDATE tenants SET deleted_at = NULL WHERE id = 1")
                        .execute(&pool)
                        .await
                        .attempt("take the removal back")?;
                    ledger::retry::retry(&db, &actor(), run, None).await?;
                }
                DbResult::Ok(())
            };
            let (workers, producer, forgets, removes) =
                tokio::join!(join_all(workers), producer, forgets, removes);
            for outcome in workers.into_iter().chain([producer, forgets, removes]) {
                outcome.with_context(|| format!("round {round}"))?;
            }
        }
        let forgotten: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_forgotten_contact")
            .fetch_one(&stage.target)
            .await?;
        ensure!(forgotten == i64::try_from(contacts.len())?, "{forgotten} contacts are forgotten");
        pool.close().await;
        Ok(())
    })
    .await;
}
