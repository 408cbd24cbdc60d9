//! Rows that were removed, for the feed of changes.

use crate::change::{Change, ChangeKind};
use tidemark_postgres::day::Day;

/// A conversation, its day, and whether its row was live.
pub(super) type RemovedRow = (i64, Option<Day>, bool);

/// The feed says of live rows only that they are gone: of the others it has said so.
pub(super) fn removals(rows: &[RemovedRow]) -> Vec<Change> {
    changes(rows, ChangeKind::Deleted)
}

/// Live rows that were written again.
pub(super) fn updates(rows: &[RemovedRow]) -> Vec<Change> {
    changes(rows, ChangeKind::Updated)
}

fn changes(rows: &[RemovedRow], kind: ChangeKind) -> Vec<Change> {
    rows.iter()
        .filter(|(.., is_live)| *is_live)
        .map(|(id, date, _)| Change::whole(*id, kind, *date))
        .collect()
}
