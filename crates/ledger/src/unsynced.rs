//! `etl_unsynced_inbox`: inboxes of tenants' accounts that no tenant has, and the mapping of those that a tenant takes by
//! itself.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row};
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::{Inbox, UnsyncedInbox};

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    TAKE = include_str!("unsynced/take.sql");
    RECORD = include_str!("unsynced/record.sql");
    LIST = include_str!("unsynced/list.sql");
}

/// An inbox of an account that none of the planned tenants has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInbox {
    pub account_id: i32,
    pub inbox: Inbox,
}

/// An account whose inboxes a plan has listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedAccount {
    pub id: i32,
    /// A mapped inbox of it, where no planned tenant has the account.
    pub known_by: Option<i32>,
}

impl FromRow<'_, PgRow> for Stored<UnsyncedInbox> {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self(UnsyncedInbox {
            source: row.try_get("source")?,
            account_id: row.try_get("account_id")?,
            inbox_id: row.try_get("inbox_id")?,
            inbox_name: row.try_get("inbox_name")?,
            reason: row.try_get::<Stored<_>, _>("reason")?.0,
            tenant_id: row.try_get::<Stored<_>, _>("tenant_id")?.0,
        }))
    }
}

struct Columns<'a> {
    accounts: Vec<i32>,
    ids: Vec<i32>,
    names: Vec<Option<&'a str>>,
    channels: Vec<Option<&'a str>>,
}

fn columns(found: &[AccountInbox]) -> Columns<'_> {
    let inboxes = || found.iter().map(|found| &found.inbox);
    Columns {
        accounts: found.iter().map(|found| found.account_id).collect(),
        ids: inboxes().map(|inbox| inbox.id).collect(),
        names: inboxes().map(|inbox| inbox.name.as_deref()).collect(),
        channels: inboxes().map(|inbox| inbox.channel_type.as_deref()).collect(),
    }
}

/// Maps those of these inboxes that no tenant has to the tenant that takes the new inboxes of their account. Where several
/// tenants would take them, none does. An inbox that an operator unmapped stays unmapped. Returns each mapped inbox with its
/// tenant.
pub async fn take(
    db: impl PgExecutor<'_>,
    source: &str,
    found: &[AccountInbox],
) -> DbResult<Vec<(i32, TenantId)>> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let columns = columns(found);
    let taken: Vec<(i32, Stored<TenantId>)> = sqlx::query_as(TAKE)
        .bind(source)
        .bind(columns.accounts)
        .bind(columns.ids)
        .bind(columns.names)
        .bind(columns.channels)
        .fetch_all(db)
        .await
        .attempt("map new inboxes")?;
    Ok(taken
        .into_iter()
        .map(|(inbox, Stored(tenant))| (inbox, tenant))
        .collect())
}

/// Records which of these inboxes no tenant has. `listed` are the accounts that `found` has all such inboxes of.
pub async fn record(
    db: impl PgExecutor<'_>,
    source: &str,
    listed: &[ListedAccount],
    found: &[AccountInbox],
) -> DbResult<()> {
    if listed.is_empty() {
        return Ok(());
    }
    let columns = columns(found);
    let (accounts, known_by): (Vec<i32>, Vec<Option<i32>>) = listed
        .iter()
        .map(|account| (account.id, account.known_by))
        .unzip();
    sqlx::query(RECORD)
        .bind(source)
        .bind(accounts)
        .bind(known_by)
        .bind(columns.accounts)
        .bind(columns.ids)
        .bind(columns.names)
        .bind(columns.channels)
        .execute(db)
        .await
        .map(drop)
        .attempt("record inboxes that are not synced")
}

/// Inboxes that no tenant has at present, of one source or all, by source and id.
pub async fn list(db: impl PgExecutor<'_>, source: Option<&str>) -> DbResult<Vec<UnsyncedInbox>> {
    sqlx::query_as(LIST)
        .bind(source)
        .fetch_all(db)
        .await
        .map(crate::stored::values)
        .attempt("list the inboxes that are not synced")
}
