//! Every chunk statement of the ledger, on a row of every kind, under every state of run and tenant, compared with
//! the table of transitions on a real PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use sqlx::Acquire;
use sqlx::postgres::PgTransaction;
use tidemark_ledger::chunk;
use tidemark_ledger::chunk::DispatchLimits;
use tidemark_ledger::stored::Stored;
use tidemark_ledger::watermark;
use tidemark_ledger::watermark::{Advance, Mover};
use tidemark_ledger::{cancel, run};
use tidemark_shared::audit::Actor;
use tidemark_shared::chunk::{ChunkCounts, ChunkStatus};
use tidemark_shared::fence::{SourceSnapshot, SourceVersion};
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::run::RunStatus;

use super::rows::{
    ATTEMPT, CHUNK_STATUSES, RUN_STATUSES, Rows, insert_chunk, insert_everything, insert_run, read,
};
use super::transition::{Beside, Protocol, Statement, TenantState};
use crate::stage::on_stage;

const PROTOCOL: Protocol = Protocol {
    max_lost: 5,
    without: None,
};
const LEASE: Duration = Duration::from_secs(60);
const REQUEUE_AFTER: Duration = Duration::from_secs(60);

/// Executes the statement on every chunk. Returns the chunks that it reports, if it reports any.
async fn execute(
    tx: &mut PgTransaction<'_>,
    statement: Statement,
    attempt: u8,
    rows: &Rows,
) -> Result<Option<BTreeSet<ChunkId>>> {
    let all: Vec<ChunkId> = rows.keys().copied().collect();
    let runs: BTreeSet<RunId> = all.iter().map(|id| id.run_id).collect();
    let runs: Vec<RunId> = runs.into_iter().collect();
    let mine = i32::from(attempt);
    let mut hit = BTreeSet::new();
    match statement {
        Statement::Dispatch => {
            let limits = DispatchLimits {
                fleet: 100_000,
                sources: vec![("main".into(), 100_000)],
            };
            let dispatched = chunk::dispatch(tx, &limits, None).await?.unwrap_or_default();
            hit.extend(dispatched.iter().map(|chunk| chunk.id()));
        }
        Statement::Claim => {
            for (id, row) in rows {
                let foreign = TenantId(row.tenant_id.0 + 1);
                let claimed = chunk::claim(&mut **tx, *id, foreign, "foreign", LEASE).await?;
                ensure!(claimed.is_none(), "{id} is claimed for another tenant");
                let claimed = chunk::claim(&mut **tx, *id, row.tenant_id, "worker", LEASE).await?;
                hit.extend(claimed.map(|_| *id));
            }
        }
        Statement::Renew => {
            for id in all {
                hit.extend(chunk::renew(&mut **tx, id, mine, LEASE).await?.then_some(id));
            }
        }
        Statement::Complete => {
            let version = SourceVersion {
                epoch: 1,
                snapshot: SourceSnapshot {
                    xmin: 1,
                    xmax: 1,
                    in_progress: 0,
                    clock: DateTime::UNIX_EPOCH,
                },
            };
            for id in all {
                let done =
                    chunk::complete(&mut *tx, id, mine, &ChunkCounts::default(), Some(&version)).await?;
                hit.extend(done.then_some(id));
            }
        }
        Statement::RescueLost => {
            let rescued = chunk::rescue_lost(&mut **tx, PROTOCOL.max_lost.into()).await?;
            hit.extend(rescued.iter().map(|chunk| ChunkId {
                run_id: chunk.run_id,
                seq: chunk.seq,
            }));
        }
        Statement::RescueQueued => {
            let rescued = chunk::rescue_queued(&mut **tx, REQUEUE_AFTER).await?;
            hit.extend(rescued.iter().map(|chunk| ChunkId {
                run_id: chunk.run_id,
                seq: chunk.seq,
            }));
        }
        Statement::MarkPublished => {
            chunk::mark_published(&mut **tx, &all).await?;
            return Ok(None);
        }
        Statement::Unqueue => {
            chunk::unqueue(&mut **tx, &all, Duration::from_secs(1)).await?;
            return Ok(None);
        }
        Statement::Requeue => {
            chunk::requeue(&mut **tx, &runs).await?;
            return Ok(None);
        }
        Statement::Release => {
            for id in all {
                chunk::release(&mut **tx, id, mine).await?;
            }
            return Ok(None);
        }
        Statement::Postpone => {
            for id in all {
                chunk::postpone(&mut **tx, id, mine, "a server is away", Duration::from_secs(1)).await?;
            }
            return Ok(None);
        }
        Statement::Retry | Statement::Bury => {
            let delay = (statement == Statement::Retry).then_some(Duration::from_secs(1));
            for id in all {
                chunk::fail(&mut **tx, id, mine, "it failed", delay).await?;
            }
            return Ok(None);
        }
        Statement::CancelRun => {
            let tenants: BTreeSet<TenantId> = rows.values().map(|row| row.tenant_id).collect();
            for tenant in tenants {
                cancel::cancel_open_runs(tx, tenant, &Actor::cli("test", None), "none").await?;
            }
            return Ok(None);
        }
        Statement::CancelWaiting => {
            for run in runs {
                chunk::cancel_waiting(&mut **tx, run).await?;
            }
            return Ok(None);
        }
    }
    Ok(Some(hit))
}

#[tokio::test]
async fn every_statement_moves_a_chunk_as_the_table_says() {
    on_stage(|stage| async move {
        let mut tx = stage.target.begin().await?;
        insert_everything(&mut tx).await?;
        let mut checked = 0;
        for (statement, attempts) in [
            (Statement::Dispatch, &[0][..]),
            (Statement::MarkPublished, &[0]),
            (Statement::Unqueue, &[0]),
            (Statement::Requeue, &[0]),
            (Statement::Claim, &[0]),
            (Statement::Renew, &[ATTEMPT - 1, ATTEMPT, ATTEMPT + 1]),
            (Statement::Complete, &[ATTEMPT - 1, ATTEMPT, ATTEMPT + 1]),
            (Statement::Release, &[ATTEMPT - 1, ATTEMPT, ATTEMPT + 1]),
            (Statement::Postpone, &[ATTEMPT - 1, ATTEMPT, ATTEMPT + 1]),
            (Statement::Retry, &[ATTEMPT - 1, ATTEMPT, ATTEMPT + 1]),
            (Statement::Bury, &[ATTEMPT - 1, ATTEMPT, ATTEMPT + 1]),
            (Statement::CancelWaiting, &[0]),
            (Statement::CancelRun, &[0]),
            (Statement::RescueLost, &[0]),
            (Statement::RescueQueued, &[0]),
        ] {
            for attempt in attempts {
                let mut point = tx.begin().await?;
                let before = read(&mut point).await?;
                let hits = execute(&mut point, statement, *attempt, &before).await?;
                let after = read(&mut point).await?;
                for (id, row) in before {
                    let beside = Beside {
                        run: row.run,
                        tenant: row.tenant,
                        attempt: *attempt,
                    };
                    let expected = PROTOCOL.after(statement, row.chunk, beside);
                    let found = after[&id].chunk;
                    ensure!(
                        found == expected.unwrap_or(row.chunk),
                        "{statement:?} as attempt {attempt} on {row:?} makes {found:?}, the table says {expected:?}"
                    );
                    ensure!(
                        hits.as_ref().is_none_or(|hits| hits.contains(&id) == expected.is_some()),
                        "{statement:?} as attempt {attempt} on {row:?} does not say what it hit"
                    );
                    checked += 1;
                }
                point.rollback().await?;
            }
        }
        eprintln!("{checked} combinations");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_run_is_closed_as_the_table_says() {
    on_stage(|stage| async move {
        let mut tx = stage.target.begin().await?;
        let mut runs = BTreeMap::new();
        let mut tenant = 0;
        for status in RUN_STATUSES {
            for (position, first) in CHUNK_STATUSES.into_iter().enumerate() {
                for second in &CHUNK_STATUSES[position..] {
                    tenant += 1;
                    let run = insert_run(&mut tx, tenant, TenantState::Active, status).await?;
                    runs.insert(run, (status, [first, *second]));
                }
            }
        }
        // one of each kind in every run, and only two of them are left
        for (seq, status) in (1..).zip(CHUNK_STATUSES) {
            insert_chunk(&mut tx, seq, status, 0, 0, 0).await?;
            insert_chunk(&mut tx, seq + 10, status, 0, 0, 0).await?;
        }
        for (run, (_, [first, second])) in &runs {
            sqlx::query(
                "DELETE FROM etl_chunk WHERE run_id = $1 AND NOT (seq < 10 AND status = $2::text::etl_chunk_status OR seq > 10 AND status = $3::text::etl_chunk_status)",
            )
            .bind(Stored(*run))
            .bind(Stored(*first))
            .bind(Stored(*second))
            .execute(&mut *tx)
            .await?;
        }
        let locked = run::lock_complete(&mut tx, 1_000, None, &[]).await?;
        let locked: BTreeSet<RunId> = locked.iter().map(|run| run.id).collect();
        let all: Vec<RunId> = runs.keys().copied().collect();
        let named = run::lock_named(&mut tx, &all).await?;
        let named: BTreeSet<RunId> = named.iter().map(|run| run.id).collect();
        ensure!(named == locked, "by their ids: {named:?}, by a search: {locked:?}");
        let (mut together, mut expected_together) = (Vec::new(), Vec::new());
        for (id, (status, chunks)) in runs {
            let complete = PROTOCOL.is_complete(status, chunks.into_iter(), 0);
            ensure!(locked.contains(&id) == complete, "{status:?} with {chunks:?}");
            let mut point = tx.begin().await?;
            let closed = run::close(&mut point, &[id]).await.ok();
            let expected = PROTOCOL.closed(status, chunks.into_iter()).map(|ended| vec![ended]);
            ensure!(closed == expected, "{status:?} with {chunks:?} is closed as {closed:?}");
            point.rollback().await?;
            if let Some(ended) = expected {
                together.push(id);
                expected_together.extend(ended);
            }
        }
        let closed = run::close(&mut tx, &together).await?;
        ensure!(closed == expected_together, "{together:?} are closed as {closed:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn two_finalizers_or_two_dispatchers_never_take_the_same_row() {
    on_stage(|stage| async move {
        let mut tx = stage.target.begin().await?;
        let complete = insert_run(&mut tx, 1, TenantState::Active, RunStatus::Running).await?;
        insert_chunk(&mut tx, 1, ChunkStatus::Done, 0, 0, 0).await?;
        tx.commit().await?;

        let mut first = stage.target.begin().await?;
        let mut second = stage.target.begin().await?;
        let locked = run::lock_complete(&mut first, 10, None, &[]).await?;
        ensure!(locked.len() == 1 && locked[0].id == complete, "{locked:?}");
        let passed_over = run::lock_complete(&mut second, 10, None, &[]).await?;
        ensure!(passed_over.is_empty(), "{passed_over:?}");

        let limits = DispatchLimits {
            fleet: 1,
            sources: Vec::new(),
        };
        ensure!(
            chunk::dispatch(&mut first, &limits, None).await?.is_some(),
            "no other process dispatches"
        );
        ensure!(
            chunk::dispatch(&mut second, &limits, None).await?.is_none(),
            "the first one dispatches"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_watermark_moves_as_the_table_says() {
    on_stage(|stage| async move {
        let mut tx = stage.target.begin().await?;
        let id = insert_run(&mut tx, 1, TenantState::Active, RunStatus::Running).await?;
        let instant =
            |number: u8| DateTime::<Utc>::from_timestamp(number.into(), 0).expect("a valid instant");
        let places = [None, Some(1), Some(2), Some(3)];
        for current in places {
            for old in places {
                for new in [1, 2, 3] {
                    sqlx::query("UPDATE etl_watermark SET watermark = $1")
                        .bind(current.map(instant))
                        .execute(&mut *tx)
                        .await?;
                    let move_of_run = Advance {
                        tenant_id: TenantId(1),
                        old: old.map(instant),
                        new: instant(new),
                        mapping_version: None,
                        coverage: None,
                    };
                    let at_old = watermark::advance(&mut tx, &[move_of_run], Mover::Runs(&[id])).await?;
                    let is_moved = !at_old.is_empty() && old != Some(new);
                    let found = watermark::load(&mut *tx, TenantId(1)).await?.watermark;
                    let expected = PROTOCOL.advanced(current, old, new);
                    ensure!(
                        is_moved == expected.is_some() && found == expected.or(current).map(instant),
                        "from {current:?} by {old:?} to {new}: {found:?}"
                    );
                }
            }
        }
        Ok(())
    })
    .await;
}
