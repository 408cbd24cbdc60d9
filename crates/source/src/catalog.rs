//! Tables, columns, inboxes and statistics of a source.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use super::error::SourceError;
use super::session::SourceTx;
use super::shape::Shape;
use super::source::Source;
use super::view::ViewShape;
use tidemark_runtime::finding::Lack;
use tidemark_shared::inbox::Inbox;

// an inbox beyond 32 bits cannot be mapped; a warning names it
const INBOXES: &str = "SELECT id::integer, name::text, channel_type::text FROM inboxes \
     WHERE id <= 2147483647 AND ($1::integer IS NULL OR account_id = $1) AND ($2::integer[] IS NULL OR id = ANY($2)) ORDER BY id";
const RANGE_END: &str = "SELECT id::bigint FROM conversations WHERE id >= $1 AND inbox_id = ANY($2) ORDER BY id OFFSET $3 LIMIT 1";
const RANGE_END_OF_VIEW: &str = "SELECT DISTINCT v.conversation_id::bigint AS id FROM {view} v \
     WHERE v.conversation_id >= $1 AND v.inbox_id = ANY($2) ORDER BY id OFFSET $3 LIMIT 1";
const RANGE_ENDS: &str = "SELECT id FROM (SELECT c.id::bigint AS id, row_number() OVER (ORDER BY c.id) AS position \
     FROM conversations c WHERE c.inbox_id = ANY($1)) n WHERE position % $2 = 0 ORDER BY id";
const RANGE_ENDS_OF_VIEW: &str = "SELECT id FROM (SELECT d.id, row_number() OVER (ORDER BY d.id) AS position \
     FROM (SELECT DISTINCT v.conversation_id::bigint AS id FROM {view} v WHERE v.inbox_id = ANY($1)) d) n \
     WHERE position % $2 = 0 ORDER BY id";

/// The number of rows that a run would read, from the source's own statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReadEstimate {
    pub conversations: i64,
    /// `None` when the tables were never analyzed.
    pub messages: Option<i64>,
}

impl Source {
    /// Connects once, to report early why the source cannot be read.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses the login, or lacks a table, a column or a right.
    pub async fn check(&self) -> Result<(), SourceError> {
        let mut connection = self.connector.probe().await?;
        self.check_catalog(&mut connection).await.map(drop)
    }

    /// Looks up the tables and columns, or in `view` mode the columns of the view, and checks that they can be read.
    ///
    /// # Errors
    /// [`SourceError::Schema`] names everything that is needed and missing, or cannot be read.
    pub async fn check_catalog(&self, connection: &mut PgConnection) -> Result<Shape, SourceError> {
        Ok(match self.view() {
            Some(view) => Shape::View(self.view_shape(view, connection).await?),
            None => Shape::Tables(self.table_shape(connection).await?),
        })
    }

    /// The shape as of this transaction. Its tables are looked up only when they were changed since the last time, and once a
    /// minute for their indexes.
    pub async fn current_shape(&self, tx: &mut SourceTx) -> Result<Arc<Shape>, SourceError> {
        let layout = tx.layout();
        if let Some(known) = self
            .known_shape
            .get(layout, Instant::now())
            .filter(|_| self.view().is_none())
        {
            return Ok(known);
        }
        let shape = Arc::new(self.check_catalog(tx.connection()).await?);
        self.known_shape.set(layout, Arc::clone(&shape), Instant::now());
        Ok(shape)
    }

    /// Estimates how many messages belong to this number of conversations.
    pub async fn estimate(&self, conversations: i64) -> Result<ReadEstimate, SourceError> {
        let messages = sqlx::query_scalar(
            "SELECT (($1::float8 * m.reltuples) / c.reltuples)::bigint FROM pg_class c, pg_class m \
             WHERE c.oid = to_regclass('conversations') AND c.reltuples > 0 \
               AND m.oid = to_regclass('messages') AND m.reltuples >= 0",
        )
        .bind(conversations)
        .fetch_optional(self.db())
        .await
        .map_err(self.query_error("read its statistics"))?;
        Ok(ReadEstimate {
            conversations,
            messages,
        })
    }

    pub(super) fn schema_error(&self, missing: Vec<Lack>) -> SourceError {
        SourceError::Schema {
            name: self.name().to_owned(),
            server: self.server().to_owned(),
            missing,
        }
    }

    /// The inboxes of a Chatwoot account, or those with these ids. In `view` mode, only inboxes with conversations.
    pub async fn inboxes(
        &self,
        account: Option<i32>,
        ids: Option<&[i32]>,
    ) -> Result<Vec<Inbox>, SourceError> {
        let mut connection = self
            .db()
            .acquire()
            .await
            .map_err(|error| self.unreachable(error))?;
        let shape = self.check_catalog(&mut connection).await?;
        let statement = shape.statement(INBOXES, ViewShape::inboxes);
        let rows: Vec<(i32, Option<String>, Option<String>)> =
            sqlx::query_as(AssertSqlSafe(statement.as_ref()))
                .bind(account)
                .bind(ids)
                .fetch_all(&mut *connection)
                .await
                .map_err(self.query_error("list its inboxes"))?;
        Ok(rows
            .into_iter()
            .map(|(id, name, channel_type)| Inbox {
                id,
                name,
                channel_type,
            })
            .collect())
    }

    /// The id of the last of the next `count` conversations of these inboxes, from `lo` on; `None` when there are fewer.
    pub async fn range_end(
        &self,
        connection: &mut PgConnection,
        inboxes: &[i32],
        lo: i64,
        count: i32,
    ) -> Result<Option<i64>, SourceError> {
        let statement = match self.view() {
            None => RANGE_END.to_owned(),
            Some(view) => RANGE_END_OF_VIEW.replace("{view}", &view.to_string()),
        };
        sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(lo)
            .bind(inboxes)
            .bind(i64::from(count) - 1)
            .fetch_optional(connection)
            .await
            .map_err(self.query_error("split the conversations into ranges"))
    }

    /// The id of every `count`th conversation of these inboxes, ascending. Reads them once.
    pub async fn range_ends(
        &self,
        connection: &mut PgConnection,
        inboxes: &[i32],
        count: i32,
    ) -> Result<Vec<i64>, SourceError> {
        let statement = match self.view() {
            None => RANGE_ENDS.to_owned(),
            Some(view) => RANGE_ENDS_OF_VIEW.replace("{view}", &view.to_string()),
        };
        sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(inboxes)
            .bind(count)
            .fetch_all(connection)
            .await
            .map_err(self.query_error("split the conversations into ranges"))
    }
}
