//! Rows into staging, by COPY.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::LoadError;
use super::savepoint::{Waiting, begin, end, refused};
use crate::rejects::Rejects;
use crate::row::columns;
use crate::row::encode::{self, CopyEncoder};

static COPY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "COPY pg_temp.tidemark_staging ({}) FROM STDIN (FORMAT binary)",
        columns::staging_columns()
    )
});
/// What one COPY takes at most, kept until the target has taken it: a refused one is tried again in halves.
const KEPT_BYTES: usize = 4 << 20;
/// How long a COPY stays open for the next buffer of a slow source.
const KEEP_COPYING: Duration = Duration::from_millis(200);
const COPYING: &str = "copy rows into staging";

/// Copies a buffer into staging, with those that follow soon; returns how many of their rows staging took.
pub(super) async fn stage_buffers(
    connection: &mut PgConnection,
    first: CopyEncoder,
    buffers: &mut mpsc::Receiver<CopyEncoder>,
    rejects: &Rejects,
) -> Result<usize, LoadError> {
    let mut kept = vec![first];
    begin(connection).await?;
    let outcome = copy_buffers(connection, &mut kept, buffers).await;
    if end(connection, outcome, COPYING).await?.is_ok() {
        return Ok(kept.iter().map(CopyEncoder::row_count).sum());
    }
    let mut taken = 0;
    for buffer in &kept {
        taken += stage_in_halves(connection, buffer, rejects).await?;
    }
    Ok(taken)
}

async fn stage_in_halves(
    connection: &mut PgConnection,
    buffer: &CopyEncoder,
    rejects: &Rejects,
) -> Result<usize, LoadError> {
    let mut taken = 0;
    let mut waiting = Waiting::for_all(buffer.row_count());
    while let Some(rows) = waiting.next() {
        begin(connection).await?;
        let outcome = copy_rows(connection, buffer, rows.clone()).await;
        match end(connection, outcome, COPYING).await? {
            Ok(()) => taken += rows.len(),
            Err(error) if rows.len() == 1 => {
                rejects.push(refused(buffer.conversation_id(rows.start), COPYING, error))?;
            }
            Err(_) => waiting.halve(rows),
        }
    }
    Ok(taken)
}

async fn copy_rows(
    connection: &mut PgConnection,
    buffer: &CopyEncoder,
    rows: Range<usize>,
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(COPY.as_str()).await?;
    for part in [encode::HEADER, buffer.rows(rows), encode::TRAILER] {
        copy.send(part).await?;
    }
    copy.finish().await.map(drop)
}

/// One COPY of the buffer `kept` and of those that follow it soon, until together they have `KEPT_BYTES`; they join the
/// first one in `kept`. The target works on each as it comes.
async fn copy_buffers(
    connection: &mut PgConnection,
    kept: &mut Vec<CopyEncoder>,
    buffers: &mut mpsc::Receiver<CopyEncoder>,
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(COPY.as_str()).await?;
    copy.send(encode::HEADER).await?;
    let mut bytes = 0;
    for buffer in &*kept {
        copy.send(buffer.rows(0..buffer.row_count())).await?;
        bytes += buffer.byte_count();
    }
    while bytes < KEPT_BYTES
        && let Ok(Some(buffer)) = timeout(KEEP_COPYING, buffers.recv()).await
    {
        copy.send(buffer.rows(0..buffer.row_count())).await?;
        bytes += buffer.byte_count();
        kept.push(buffer);
    }
    copy.send(encode::TRAILER).await?;
    copy.finish().await.map(drop)
}
