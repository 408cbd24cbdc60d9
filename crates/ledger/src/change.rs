//! `conversation_change`, the feed of changes. Whatever writes rows of the target records its changes here, in the same
//! transaction: docs/design/changes.md.

use sqlx::PgConnection;
use tidemark_postgres::day::Day;
use tidemark_shared::ids::TenantId;

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    RECORD = include_str!("change/record.sql");
}

/// Changes that one statement records.
const AT_ONCE: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The conversation was not in the live rows.
    Inserted,
    Updated,
    /// The row was marked deleted, or removed.
    Deleted,
}

impl ChangeKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Inserted => "inserted",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// A change of a conversation's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub conversation_id: i64,
    pub kind: ChangeKind,
    /// Names of columns, with commas between them; `None`: any column may be another.
    pub columns: Option<String>,
    /// The day of the conversation by its row.
    pub date: Option<Day>,
    /// The day that the row had before.
    pub previous_date: Option<Day>,
}

impl Change {
    /// A change after which the row is gone or any column may be another.
    #[must_use]
    pub const fn whole(conversation_id: i64, kind: ChangeKind, date: Option<Day>) -> Self {
        Self {
            conversation_id,
            kind,
            columns: None,
            date,
            previous_date: None,
        }
    }
}

/// Records changes of a tenant, in the caller's transaction. It locks the tenant's row until the transaction ends.
pub async fn record(tx: &mut PgConnection, tenant: TenantId, changes: &[Change]) -> DbResult<()> {
    for part in changes.chunks(AT_ONCE) {
        record_part(tx, tenant, part).await?;
    }
    Ok(())
}

async fn record_part(tx: &mut PgConnection, tenant: TenantId, changes: &[Change]) -> DbResult<()> {
    let of = |part: fn(&Change) -> Option<Day>| changes.iter().map(part).collect::<Vec<_>>();
    let ids: Vec<i64> = changes.iter().map(|one| one.conversation_id).collect();
    let kinds: Vec<&str> = changes.iter().map(|one| one.kind.as_str()).collect();
    let columns: Vec<Option<&str>> = changes.iter().map(|one| one.columns.as_deref()).collect();
    sqlx::query(RECORD)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(kinds)
        .bind(columns)
        .bind(of(|one| one.date))
        .bind(of(|one| one.previous_date))
        .execute(tx)
        .await
        .map(drop)
        .attempt("record the changes of conversations")
}
