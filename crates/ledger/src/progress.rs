//! The progress of runs.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row};
use tidemark_shared::ids::RunId;
use tidemark_shared::progress::{
    ChunkStates, EndedTotals, Progress, RECENT_WINDOW, SlowChunk, SourceShare, pace,
};

use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, statements};

statements! {
    LIST = include_str!("progress/list.sql");
}

impl FromRow<'_, PgRow> for Stored<Progress> {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let chunks = ChunkStates {
            pending: row.try_get("pending")?,
            queued: row.try_get("queued")?,
            running: row.try_get("running")?,
            done: row.try_get("done")?,
            dead: row.try_get("dead")?,
            cancelled: row.try_get("cancelled")?,
        };
        let (keys_total, keys_ended): (i64, i64) = (row.try_get("keys_total")?, row.try_get("keys_ended")?);
        let all = EndedTotals {
            chunks: chunks.ended(),
            keys: keys_ended,
            rows: row.try_get("rows_ended")?,
        };
        let recent = EndedTotals {
            chunks: row.try_get("chunks_recent")?,
            keys: row.try_get("keys_recent")?,
            rows: row.try_get("rows_recent")?,
        };
        let at = row.try_get("at")?;
        let began_at = row.try_get("began_at")?;
        Ok(Self(Progress {
            run_id: row.try_get::<Stored<_>, _>("run_id")?.0,
            at,
            chunks,
            keys_total,
            keys_ended,
            pace: (chunks.ended() < chunks.total())
                .then(|| {
                    let left = keys_total - keys_ended;
                    pace(at, began_at, left, chunks.running, all, recent)
                })
                .flatten(),
            slowest_running: slow(
                row,
                ["running_seq", "running_attempt", "running_worker", "running_ms"],
            )?,
            slowest_done: slow(row, ["done_seq", "done_attempt", "done_worker", "done_ms"])?,
            failed_attempts: row.try_get("failed_attempts")?,
            lost_leases: row.try_get("lost_leases")?,
            source: SourceShare {
                name: row.try_get("source_name")?,
                run_in_flight: chunks.in_flight(),
                in_flight: row.try_get("source_in_flight")?,
                max_in_flight: None,
                sessions: row.try_get("source_sessions")?,
            },
        }))
    }
}

fn slow(row: &PgRow, [seq, attempt, worker, took]: [&str; 4]) -> Result<Option<SlowChunk>, sqlx::Error> {
    let (Some(seq), Some(took_ms)) = (row.try_get(seq)?, row.try_get(took)?) else {
        return Ok(None);
    };
    Ok(Some(SlowChunk {
        seq,
        attempt: row.try_get(attempt)?,
        worker_id: row.try_get(worker)?,
        took_ms,
    }))
}

/// The progress of these runs, ascending by id. A source's limit is left out: it is in the settings.
pub async fn list(db: impl PgExecutor<'_>, runs: &[RunId]) -> DbResult<Vec<Progress>> {
    sqlx::query_as(LIST)
        .bind(stored(runs))
        .bind(RECENT_WINDOW.as_secs_f64())
        .fetch_all(db)
        .await
        .map(values)
        .attempt("load the progress of the runs")
}
