//! Chatwoot accounts of a source, and which inboxes they have.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use tidemark_shared::inbox::Inbox;

use super::error::SourceError;
use super::shape::Shape;
use super::source::Source;
use super::view::ViewShape;

const COMPARE: &str = include_str!("accounts/compare.sql");
const LIST: &str = include_str!("accounts/list.sql");
const LIST_ABSENT: &str = "SELECT m.id FROM unnest($1::integer[]) AS m (id) \
     WHERE NOT EXISTS (SELECT FROM inboxes i WHERE i.id = m.id) AND EXISTS (SELECT FROM inboxes) ORDER BY 1";

/// The accounts and inboxes of a group of tenants.
#[derive(Debug, Default)]
pub struct TenantInboxes {
    /// Accounts of the tenants.
    pub accounts: Vec<i32>,
    /// Inboxes that are mapped to the tenants.
    pub mapped: Vec<i32>,
    /// For each: whether its tenant was added without an account.
    pub names_account: Vec<bool>,
}

/// How the inboxes of a group of tenants differ from the source's.
#[derive(Debug, Default)]
pub struct InboxComparison {
    /// Accounts of tenants that were added without one, each with an inbox that they have of it.
    pub named_accounts: Vec<(i32, i32)>,
    /// Inboxes of all these accounts that none of the tenants has, with their account.
    pub unmapped: Vec<(i32, Inbox)>,
    /// Inboxes of the tenants that the source no longer has. `None` where the source does not show its inboxes.
    pub gone: Option<Vec<i32>>,
}

/// An inbox of an account, or an account without inboxes.
#[derive(Debug, Clone, FromRow)]
pub struct CountedInbox {
    /// `None` where a view shows no accounts.
    pub account_id: Option<i32>,
    pub account_name: Option<String>,
    pub inbox_id: Option<i32>,
    pub inbox_name: Option<String>,
    pub channel_type: Option<String>,
    pub conversations: i64,
    pub newest: Option<DateTime<Utc>>,
}

#[derive(Debug, FromRow)]
struct Compared {
    kind: String,
    inbox_id: i32,
    account_id: Option<i32>,
    name: Option<String>,
    channel_type: Option<String>,
}

impl Source {
    /// Compares the inboxes of tenants with those of their accounts, in the connection's snapshot. A view shows only inboxes
    /// with conversations, so it does not show which are gone.
    pub async fn compare_inboxes(
        &self,
        connection: &mut PgConnection,
        shape: &Shape,
        tenants: &TenantInboxes,
    ) -> Result<InboxComparison, SourceError> {
        let statement = match shape {
            Shape::Tables(tables) => tables.statement(COMPARE),
            Shape::View(view) => match view.compare_inboxes() {
                Some(statement) => Cow::Owned(statement),
                None => return Ok(InboxComparison::default()),
            },
        };
        let rows: Vec<Compared> = sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(&tenants.accounts)
            .bind(&tenants.mapped)
            .bind(&tenants.names_account)
            .fetch_all(connection)
            .await
            .map_err(self.query_error("compare its inboxes with the tenants'"))?;
        let mut found = InboxComparison {
            gone: shape.view().is_none().then(Vec::new),
            ..InboxComparison::default()
        };
        for row in rows {
            match (row.kind.as_str(), row.account_id, &mut found.gone) {
                ("account", Some(account), _) => found.named_accounts.push((account, row.inbox_id)),
                ("inbox", Some(account), _) => {
                    let inbox = Inbox {
                        id: row.inbox_id,
                        name: row.name,
                        channel_type: row.channel_type,
                    };
                    found.unmapped.push((account, inbox));
                }
                (_, _, Some(gone)) => gone.push(row.inbox_id),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Those of these inboxes that the source no longer has, ascending; of a view, those without a conversation. None where
    /// the source shows no inbox at all.
    pub async fn absent_inboxes(
        &self,
        connection: &mut PgConnection,
        shape: &Shape,
        inboxes: &[i32],
    ) -> Result<Vec<i32>, SourceError> {
        let statement = shape.statement(LIST_ABSENT, ViewShape::absent_inboxes);
        sqlx::query_scalar(AssertSqlSafe(statement.as_ref()))
            .bind(inboxes)
            .fetch_all(connection)
            .await
            .map_err(self.query_error("look for inboxes that are gone"))
    }

    /// Every account with its inboxes, by account and inbox. Reads all conversations once.
    pub async fn list_accounts(&self) -> Result<Vec<CountedInbox>, SourceError> {
        let mut tx = self.begin("list accounts").await?;
        let shape = self.check_catalog(tx.connection()).await?;
        let statement = shape.statement(LIST, ViewShape::list_accounts);
        let listed = sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .fetch_all(tx.connection())
            .await
            .map_err(self.query_error("list its accounts"))?;
        tx.finish().await;
        Ok(listed)
    }
}
