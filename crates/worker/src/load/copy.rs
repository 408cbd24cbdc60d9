//! Copies encoded rows into staging.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::LoadError;
use super::few_rows::{insert_rows, is_few};
use super::known::KnownRows;
use super::savepoint::{PendingRanges, begin_savepoint, end_savepoint, is_data, target_reject};
use crate::rejects::Rejects;
use crate::row::columns;
use crate::row::encode::{self, CopyEncoder};

static COPY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "COPY pg_temp.tidemark_staging ({}) FROM STDIN (FORMAT binary)",
        columns::staging_columns()
    )
});
/// The size at which one COPY ends. Its buffers are kept until it succeeds: a refused COPY is repeated in halves.
const MAX_COPY_BYTES: usize = 4 << 20;
/// How long a COPY stays open for the next buffer when the source is slow.
const NEXT_BUFFER_TIMEOUT: Duration = Duration::from_millis(200);
const COPYING: &str = "copy rows into staging";

/// Copies a buffer and those that follow soon into staging. Returns the number of staged rows.
pub(super) async fn stage_buffers(
    connection: &mut PgConnection,
    first: CopyEncoder,
    buffers: &mut mpsc::Receiver<CopyEncoder>,
    known: &mut KnownRows,
    rejects: &Rejects,
) -> Result<usize, LoadError> {
    begin_savepoint(connection).await?;
    let mut kept = vec![first];
    let outcome = if is_few(&kept[0]) {
        insert_rows(connection, &kept[0]).await
    } else {
        copy_buffers(connection, &mut kept, buffers, known).await
    };
    if end_savepoint(connection, outcome, COPYING, is_data)
        .await?
        .is_ok()
    {
        return Ok(kept.iter().map(CopyEncoder::row_count).sum());
    }
    let mut staged = 0;
    for buffer in &kept {
        staged += stage_in_halves(connection, buffer, rejects).await?;
    }
    Ok(staged)
}

/// Copies one buffer in halves, until the rows that staging refuses stand alone.
async fn stage_in_halves(
    connection: &mut PgConnection,
    buffer: &CopyEncoder,
    rejects: &Rejects,
) -> Result<usize, LoadError> {
    let mut staged = 0;
    let mut pending = PendingRanges::for_all(buffer.row_count());
    while let Some(rows) = pending.next() {
        begin_savepoint(connection).await?;
        let outcome = copy_rows(connection, buffer, rows.clone()).await;
        match end_savepoint(connection, outcome, COPYING, is_data).await? {
            Ok(()) => staged += rows.len(),
            Err(error) if rows.len() == 1 => {
                rejects.push(target_reject(buffer.conversation_id(rows.start), COPYING, error))?;
            }
            Err(_) => pending.push_halves(rows),
        }
    }
    Ok(staged)
}

pub(super) async fn copy_rows(
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

/// Sends the buffer in `kept` and those that follow soon as one COPY, up to `MAX_COPY_BYTES`. Each buffer that follows is
/// added to `kept`. The target works on each buffer as it arrives.
async fn copy_buffers(
    connection: &mut PgConnection,
    kept: &mut Vec<CopyEncoder>,
    buffers: &mut mpsc::Receiver<CopyEncoder>,
    known: &mut KnownRows,
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(COPY.as_str()).await?;
    copy.send(encode::HEADER).await?;
    let mut bytes = 0;
    for buffer in &*kept {
        copy.send(buffer.rows(0..buffer.row_count())).await?;
        bytes += buffer.byte_count();
    }
    while bytes < MAX_COPY_BYTES
        && let Ok(Some(mut buffer)) = timeout(NEXT_BUFFER_TIMEOUT, buffers.recv()).await
    {
        known.leave_out(&mut buffer);
        copy.send(buffer.rows(0..buffer.row_count())).await?;
        bytes += buffer.byte_count();
        kept.push(buffer);
    }
    copy.send(encode::TRAILER).await?;
    copy.finish().await.map(drop)
}
