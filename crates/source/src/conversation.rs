//! Where the source has one conversation, whoever's it is.

use sqlx::{AssertSqlSafe, PgConnection};

use super::error::SourceError;
use super::source::Source;
use super::view::ViewShape;
use tidemark_shared::fence::{SourceSnapshot, widen_xid};

/// A row's `xmax` is who has changed, deleted or locked it last: when that transaction cannot be seen, it is open, or has
/// ended since the snapshot.
const WRITER: &str = "SELECT xmax::text::bigint FROM conversations WHERE id = $1";
const IS_VISIBLE: &str = "SELECT pg_visible_in_snapshot($1::text::xid8, pg_current_snapshot())";

impl Source {
    /// The inbox of a conversation: `None` when the source does not have it, `Some(None)` when it is in none.
    ///
    /// # Errors
    /// When the source does not answer, or cannot read the row.
    pub async fn inbox_of(
        &self,
        connection: &mut PgConnection,
        shape: Option<&ViewShape>,
        conversation: i64,
    ) -> Result<Option<Option<i32>>, SourceError> {
        let statement = match shape {
            None => "SELECT inbox_id FROM conversations WHERE id = $1".to_owned(),
            Some(view) => format!(
                "SELECT v.inbox_id::integer FROM {} v WHERE v.conversation_id = $1 LIMIT 1",
                view.relation()
            ),
        };
        sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(conversation)
            .fetch_optional(connection)
            .await
            .map_err(self.query_error("look for the conversation's inbox"))
    }

    /// Whether somebody who cannot be seen yet has changed or locked a conversation's row. Only tables tell: a view, or a
    /// login that may not read system columns, says no. Nothing can be read in the transaction after that.
    pub async fn has_writer(
        &self,
        connection: &mut PgConnection,
        snapshot: &SourceSnapshot,
        conversation: i64,
    ) -> bool {
        if self.view().is_some() {
            return false;
        }
        let xmax: Option<i64> = sqlx::query_scalar(WRITER)
            .bind(conversation)
            .fetch_optional(&mut *connection)
            .await
            .unwrap_or_default();
        let Some(xmax) = xmax
            .and_then(|xmax| u32::try_from(xmax).ok())
            .filter(|xmax| *xmax > 0)
        else {
            return false;
        };
        let visible: Result<bool, sqlx::Error> = sqlx::query_scalar(IS_VISIBLE)
            .bind(widen_xid(xmax, snapshot.xmax).to_string())
            .fetch_one(connection)
            .await;
        visible.is_ok_and(|visible| !visible)
    }
}
