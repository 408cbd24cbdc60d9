//! What of a source a tenant's runs have covered: columns of `etl_control` as planned, of `etl_watermark` once a run has ended well.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// What the plan of a run covers, from the run's end: rows of the source that a transaction below `xmin` wrote and that carry a
/// time from `since` to `clock` have been read. `docs/design/fence.md` has the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub epoch: i32,
    /// Of the plan's snapshot: all transactions below it had ended.
    pub xmin: i64,
    /// The source's clock before that snapshot.
    pub clock: DateTime<Utc>,
    /// `None`: the plan took everything.
    pub since: Option<DateTime<Utc>>,
}

impl Coverage {
    /// Reads it from the columns of these names; `None` when `xmin` is NULL.
    pub(crate) fn from_row(
        row: &PgRow,
        [epoch, xmin, clock, since]: [&str; 4],
    ) -> Result<Option<Self>, sqlx::Error> {
        let Some(xmin) = row.try_get(xmin)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            epoch: row.try_get(epoch)?,
            xmin,
            clock: row.try_get(clock)?,
            since: row.try_get(since)?,
        }))
    }
}
