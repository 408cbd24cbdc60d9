//! Tables, columns, inboxes and statistics of a source.

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use super::error::SourceError;
use super::source::Source;
use super::tables::TABLES;
use super::view::ViewShape;
use tidemark_shared::inbox::Inbox;

const INBOXES: &str = "SELECT id, name::text, channel_type::text FROM inboxes \
     WHERE ($1::integer IS NULL OR account_id = $1) AND ($2::integer[] IS NULL OR id = ANY($2)) ORDER BY id";
const RANGE_END: &str = "SELECT id::bigint FROM conversations WHERE id >= $1 AND inbox_id = ANY($2) ORDER BY id OFFSET $3 LIMIT 1";
const RANGE_END_OF_VIEW: &str = "SELECT DISTINCT v.conversation_id::bigint AS id FROM {view} v \
     WHERE v.conversation_id >= $1 AND v.inbox_id = ANY($2) ORDER BY id OFFSET $3 LIMIT 1";

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

    /// Checks that every table and column exists and may be read. In `view` mode, returns the columns of the view.
    ///
    /// # Errors
    /// [`SourceError::Schema`] names everything that is missing.
    pub async fn check_catalog(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<ViewShape>, SourceError> {
        match self.view() {
            Some(view) => self.view_shape(view, connection).await.map(Some),
            None => self.check_tables(connection).await.map(|()| None),
        }
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

    /// Checks every table and column, and names everything that is missing in one error.
    async fn check_tables(&self, connection: &mut PgConnection) -> Result<(), SourceError> {
        let (tables, columns): (Vec<&str>, Vec<&str>) = TABLES
            .iter()
            .flat_map(|(table, columns)| columns.iter().map(move |column| (*table, *column)))
            .unzip();
        let missing: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT CASE WHEN to_regclass(quote_ident(w.table_name)) IS NULL \
                                  THEN format('table %s', w.table_name) \
                                  WHEN a.attname IS NULL THEN format('column %s.%s', w.table_name, w.column_name) \
                                  ELSE format('the right to SELECT %s', w.table_name) END \
             FROM unnest($1::text[], $2::text[]) AS w (table_name, column_name) \
             LEFT JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(w.table_name)) \
                                     AND a.attname = w.column_name AND NOT a.attisdropped \
             WHERE a.attname IS NULL OR NOT has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY 1",
        )
        .bind(tables)
        .bind(columns)
        .fetch_all(connection)
        .await
        .map_err(self.query_error("look up its tables"))?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(self.schema_error(missing))
    }

    pub(super) fn schema_error(&self, missing: Vec<String>) -> SourceError {
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
        let mut connection = self.db().acquire().await.map_err(self.query_error("connect"))?;
        let statement = match self.view() {
            None => INBOXES.to_owned(),
            Some(view) => self.view_shape(view, &mut connection).await?.inboxes(),
        };
        let rows: Vec<(i32, Option<String>, Option<String>)> = sqlx::query_as(AssertSqlSafe(statement))
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
}
