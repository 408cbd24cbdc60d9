//! Checks which keys the view's messages have.

use sqlx::{AssertSqlSafe, PgConnection};

use super::shape::ViewShape;
use crate::error::SourceError;
use crate::shape::Shape;
use crate::source::Source;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::SourceFound;

/// Optional keys of a message: a missing key is read as NULL. `message_id`, `sent_at` and `private` are required.
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
/// How many conversations are checked. Few, because the view compiles the messages of each.
const CHECKED_CONVERSATIONS: usize = 20;
const MISSING_KEYS: &str = include_str!("missing_keys.sql");
/// Stands for the view in [`MISSING_KEYS`], so that psql takes the file as it is.
const VIEW_IN_STATEMENT: &str = "vw_conversations_analytics_final";

impl Source {
    /// Warnings for a run: missing tables, columns and message keys. The keys are those of the last of `conversations`, or of
    /// the newest ones if there are none. Must be the last statement of its transaction: if it fails, the run goes on, but
    /// the transaction is aborted.
    pub async fn shape_warnings(
        &self,
        connection: &mut PgConnection,
        shape: &Shape,
        conversations: &[i64],
    ) -> Vec<String> {
        let mut warnings: Vec<String> = shape.warnings().iter().map(ToString::to_string).collect();
        let Some(shape) = shape.view() else {
            return warnings;
        };
        let last = conversations.len().saturating_sub(CHECKED_CONVERSATIONS);
        let checked = (!conversations.is_empty()).then(|| &conversations[last..]);
        match self.missing_keys(connection, shape, checked).await {
            Ok(missing) => warnings.extend(missing.iter().map(ToString::to_string)),
            Err(error) => {
                tracing::warn!(error = %report(&error), "keys of the view's messages not checked");
            }
        }
        warnings
    }

    /// A warning that names the keys that no message of these conversations has, or of the newest ones. Without messages
    /// there is no warning.
    pub(crate) async fn missing_keys(
        &self,
        connection: &mut PgConnection,
        shape: &ViewShape,
        conversations: Option<&[i64]>,
    ) -> Result<Option<SourceFound>, SourceError> {
        let statement = MISSING_KEYS.replace(VIEW_IN_STATEMENT, &shape.relation());
        let (checked_count, missing): (i64, Vec<String>) = sqlx::query_as(AssertSqlSafe(statement))
            .bind(&MESSAGE_KEYS[..])
            .bind(i64::try_from(CHECKED_CONVERSATIONS).expect("a small number"))
            .bind(conversations)
            .fetch_one(connection)
            .await
            .map_err(self.query_error("check the keys of the view's messages"))?;
        Ok(
            (checked_count > 0 && !missing.is_empty()).then(|| SourceFound::KeysMissing {
                view: shape.name.to_string(),
                keys: missing,
                checked: checked_count,
            }),
        )
    }
}
