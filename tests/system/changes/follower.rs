//! A consumer that has nothing but the feed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use sqlx::PgConnection;

/// A conversation with the kind of its change and the changed columns.
pub type Named = (i64, String, Option<Vec<String>>);

/// The same behind its cursor.
type Row = (String, i64, String, Option<Vec<String>>);

/// One call of the feed.
pub enum Step {
    Read(Vec<Named>),
    /// The cursor is of no use any more: the next step starts again.
    Again,
}

pub struct Follower {
    tenant: i32,
    pub cursor: Option<String>,
    /// The hash of each row, as it was read when the feed named it.
    pub rows: BTreeMap<i64, String>,
    /// The last change that was read.
    reached: i64,
}

impl Follower {
    pub const fn new(tenant: i32) -> Self {
        Self {
            tenant,
            cursor: None,
            rows: BTreeMap::new(),
            reached: 0,
        }
    }

    /// Takes the next part of the feed.
    pub async fn step(&mut self, connection: &mut PgConnection, max_rows: i32) -> Result<Step> {
        let call =
            "SELECT next_cursor, conversation_id, kind, changed_columns FROM changes_since($1, $2, $3)";
        let part: Result<Vec<Row>, sqlx::Error> = sqlx::query_as(call)
            .bind(self.tenant)
            .bind(&self.cursor)
            .bind(max_rows)
            .fetch_all(&mut *connection)
            .await;
        let part = match part {
            Ok(part) => part,
            Err(error)
                if error
                    .as_database_error()
                    .and_then(|error| error.code())
                    .as_deref()
                    == Some("TF410") =>
            {
                *self = Self::new(self.tenant);
                return Ok(Step::Again);
            }
            Err(error) => return Err(error).context("call changes_since"),
        };
        ensure!(
            part.len() <= usize::try_from(max_rows)?,
            "more than was asked for"
        );
        let mut changes = Vec::new();
        for (cursor, id, kind, columns) in part {
            if kind != "existing" {
                let position: i64 = cursor.split(':').nth(1).context("a position")?.parse()?;
                ensure!(position > self.reached, "{position} comes after {}", self.reached);
                self.reached = position;
            }
            self.cursor = Some(cursor);
            changes.push((id, kind, columns));
        }
        let named: Vec<i64> = changes.iter().map(|(id, ..)| *id).collect();
        let found: Vec<(i64, String)> = sqlx::query_as(
            "SELECT conversation_id, encode(row_hash, 'hex') FROM conversations_analytics \
             WHERE tenant_id = $1 AND conversation_id = ANY($2) AND source_deleted_at IS NULL",
        )
        .bind(self.tenant)
        .bind(&named)
        .fetch_all(connection)
        .await?;
        for id in named {
            self.rows.remove(&id);
        }
        self.rows.extend(found);
        Ok(Step::Read(changes))
    }
}
