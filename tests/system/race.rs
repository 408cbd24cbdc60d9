//! The end of a run, when several things happen at one moment.

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor, PgConnection};
use tidemark_ledger::cancel::{Cancelled, run as cancel};
use tidemark_ledger::run::{NewRun, request};
use tidemark_ledger::stored::Stored;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunStatus, RunType};

use crate::stage::{Stage, on_stage};

const ROUNDS: u32 = 16;

async fn full_run(stage: &Stage) -> Result<RunId> {
    let new = NewRun {
        tenant_id: TenantId(1),
        run_type: RunType::Full,
        triggered_by: "test".to_owned(),
        reason: None,
        request: RunRequest {
            chunk_size: Some(10),
            ..RunRequest::default()
        },
        trace_id: None,
        traceparent: None,
    };
    Ok(request(&stage.db(), &new).await?.run_id())
}

/// Requests a run of two chunks, and stops both just before they write. Committing the returned transaction lets them
/// end together.
async fn two_chunks_about_to_end(stage: &Stage) -> Result<(RunId, PgConnection)> {
    // a chunk whose rows the target has as they are does not write
    stage
        .source
        .execute("UPDATE conversations SET identifier = gen_random_uuid()::text")
        .await?;
    let mut lock = PgConnection::connect(&stage.owner_url("target")).await?;
    lock.execute("BEGIN; LOCK TABLE conversations_analytics IN EXCLUSIVE MODE")
        .await?;
    let run = full_run(stage).await?;
    stage
        .until(
            "SELECT count(*) = 2 FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await?;
    Ok((run, lock))
}

/// How the run ended, and how often the watermark moved.
async fn ended(stage: &Stage, run: RunId) -> Result<(RunStatus, i64)> {
    stage
        .until("SELECT count(*) = 0 FROM etl_control WHERE finished_at IS NULL")
        .await?;
    let (Stored(status), moves, moving): (Stored<RunStatus>, i64, bool) = sqlx::query_as(
        "SELECT status::text, (SELECT count(*) FROM etl_watermark_audit WHERE run_id = r.id), \
                watermark_end IS DISTINCT FROM watermark_start \
         FROM etl_control r WHERE id = $1",
    )
    .bind(Stored(run))
    .fetch_one(&stage.target)
    .await?;
    let expected = i64::from(moving && status == RunStatus::Success);
    ensure!(
        moves == expected,
        "run {run} ended {status:?} and moved the watermark {moves} times"
    );
    Ok((status, moves))
}

/// Trap 20.
#[tokio::test]
async fn two_last_chunks_that_end_together_finish_their_run_exactly_once() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 91).await?;
        let fleet = stage.fleet(&[
            "producer",
            "worker --concurrency 2",
            "worker --concurrency 2",
            "finalizer",
            "finalizer",
        ])?;
        fleet.until_started().await?;
        for _ in 0..ROUNDS {
            let (run, mut lock) = two_chunks_about_to_end(&stage).await?;
            lock.execute("COMMIT").await?;
            let (status, _) = ended(&stage, run).await?;
            ensure!(status == RunStatus::Success, "{status:?}");
        }
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 20.
#[tokio::test]
async fn a_cancel_in_the_moment_of_the_end_is_cancelled_or_success_and_never_both() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 92).await?;
        let fleet = stage.fleet(&["up --workers 3", "finalizer"])?;
        fleet.until_started().await?;
        let (mut cancelled, mut finished) = (0, 0);
        for round in 0..ROUNDS {
            let (run, mut lock) = two_chunks_about_to_end(&stage).await?;
            // before the end in the first round, later in each following round, and after it in the last
            if round > 0 {
                lock.execute("COMMIT").await?;
            }
            for _ in 0..round {
                stage.target.execute("SELECT pg_sleep(0.003)").await?;
            }
            if round == ROUNDS - 1 {
                ended(&stage, run).await?;
            }
            let answer = cancel(&stage.db(), &Actor::cli("test", None), run, None).await?;
            if round == 0 {
                lock.execute("COMMIT").await?;
            }
            let (status, _) = ended(&stage, run).await?;
            match answer {
                Cancelled::Now { .. } => cancelled += 1,
                _ => finished += 1,
            }
            let fits = match answer {
                Cancelled::Now { .. } => status == RunStatus::Cancelled,
                Cancelled::Ended(_, seen) => seen == status && status == RunStatus::Success,
                Cancelled::Unknown => false,
            };
            ensure!(fits, "the cancel says {answer:?}, the run {status:?}");
        }
        ensure!(
            cancelled > 0 && finished > 0,
            "no race: {cancelled} cancelled, {finished} finished"
        );
        fleet.stop().await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}
