//! The keys of the view's messages.

use sqlx::{AssertSqlSafe, PgConnection};

use super::shape::ViewShape;
use crate::error::SourceError;
use crate::source::Source;
use tidemark_postgres::report::report;

/// Keys of a message that may be missing: it is read as if they were NULL. Those of its id, its time and whether it is
/// private must be there.
const MESSAGE_KEYS: [&str; 8] = [
    "text",
    "sender",
    "sender_id",
    "message_type",
    "content_type",
    "status",
    "sentiment",
    "source_id",
];
/// The newest conversations, whose messages are looked at for their keys. Few: the view compiles the messages of each.
const CONVERSATIONS_LOOKED_AT: i64 = 20;
const MISSING_KEYS: &str = include_str!("missing_keys.sql");

impl Source {
    /// What a run has to warn of, keys of messages included. The last statement of its transaction: that the messages cannot
    /// be looked at is no reason to fail, but no statement works after it.
    pub async fn view_warnings(
        &self,
        connection: &mut PgConnection,
        shape: Option<&ViewShape>,
    ) -> Vec<String> {
        let Some(shape) = shape else {
            return Vec::new();
        };
        let mut warnings = shape.warnings();
        match self.missing_keys(connection, shape).await {
            Ok(missing) => warnings.extend(missing),
            Err(error) => {
                tracing::warn!(error = %report(&error), "keys of the view's messages not looked at");
            }
        }
        warnings
    }

    /// A warning of the keys that no message of the newest conversations has. No message: no warning.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(crate) async fn missing_keys(
        &self,
        connection: &mut PgConnection,
        shape: &ViewShape,
    ) -> Result<Option<String>, SourceError> {
        let statement = MISSING_KEYS.replace("{view}", &shape.relation());
        let (looked_at, missing): (i64, Vec<String>) = sqlx::query_as(AssertSqlSafe(statement))
            .bind(&MESSAGE_KEYS[..])
            .bind(CONVERSATIONS_LOOKED_AT)
            .fetch_one(connection)
            .await
            .map_err(self.query_error("look at the keys of the view's messages"))?;
        Ok((looked_at > 0 && !missing.is_empty()).then(|| {
            format!(
                "view {}: its messages have no {} (none of {looked_at} that were looked at): NULL in every message",
                shape.name,
                missing.join(", ")
            )
        }))
    }
}
