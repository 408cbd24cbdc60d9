//! Reading one conversation, whichever tenant it belongs to.

use sqlx::{AssertSqlSafe, PgConnection};

use super::error::SourceError;
use super::shape::Shape;
use super::source::Source;
use tidemark_shared::fence::{SourceSnapshot, widen_xid};

const INBOX_OF: &str = "SELECT inbox_id::integer FROM conversations WHERE id = $1";
/// A row's `xmax` is the transaction that changed, deleted or locked it last. When the snapshot does not see that
/// transaction, it is open or ended after the snapshot.
const ROW_XMAX: &str = "SELECT xmax::text::bigint FROM conversations WHERE id = $1";
const IS_VISIBLE: &str = "SELECT pg_visible_in_snapshot($1::text::xid8, pg_current_snapshot())";

impl Source {
    /// The inbox of a conversation: `None` when the conversation does not exist, `Some(None)` when it has no inbox.
    pub async fn inbox_of(
        &self,
        connection: &mut PgConnection,
        shape: &Shape,
        conversation: i64,
    ) -> Result<Option<Option<i32>>, SourceError> {
        let statement = shape.statement(INBOX_OF, |view| {
            format!(
                "SELECT v.inbox_id::integer FROM {} v WHERE v.conversation_id = $1 LIMIT 1",
                view.relation()
            )
        });
        sqlx::query_scalar(AssertSqlSafe(statement.as_ref()))
            .bind(conversation)
            .fetch_optional(connection)
            .await
            .map_err(self.query_error("look up the conversation's inbox"))
    }

    /// Whether a transaction that the snapshot does not see has changed or locked the conversation's row. Answers `false` in
    /// `view` mode, and when the login may not read system columns. A failed statement aborts the transaction, so this must be
    /// its last read.
    pub async fn has_writer(
        &self,
        connection: &mut PgConnection,
        snapshot: &SourceSnapshot,
        conversation: i64,
    ) -> bool {
        if self.view().is_some() {
            return false;
        }
        let xmax: Option<i64> = sqlx::query_scalar(ROW_XMAX)
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
