//! Corruptions of source and target, and the faults that a comparison must then find.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Executor};

use crate::stage::Stage;

/// Kinds of faults by conversation.
pub type Faults = BTreeMap<i64, String>;

/// Columns of the target that a test may change, with their types. Another digest of a contact only has the row read once more:
/// no comparison looks at it.
async fn columns(stage: &Stage) -> Result<Vec<(String, String)>> {
    Ok(sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute \
         WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND NOT attisdropped \
           AND attname NOT IN ('tenant_id', 'conversation_id', 'source_deleted_at', 'contact_digest') ORDER BY attnum",
    )
    .fetch_all(&stage.target)
    .await?)
}

/// An SQL expression of the column's type whose value differs from the column's.
fn different_value(column: &str, sql_type: &str) -> String {
    match sql_type {
        "boolean" => format!("{column} IS NOT TRUE"),
        "integer" | "bigint" | "numeric" => format!("coalesce({column}, 0) + 1"),
        "timestamp with time zone" => format!(
            "CASE WHEN isfinite({column}) THEN {column} + interval '1 microsecond' ELSE '2020-01-01' END"
        ),
        "date" => format!("coalesce({column}, '2020-01-01') + 1"),
        "jsonb" => format!("jsonb_build_array({column})"),
        "text[]" => format!("{column} || 'x'::text"),
        "integer[]" => format!("{column} || 0"),
        "uuid" => "gen_random_uuid()".to_owned(),
        "bytea" => "decode(md5(random()::text), 'hex')".to_owned(),
        _ => format!("CASE {column} WHEN 'x' THEN 'y' ELSE 'x' END"),
    }
}

/// Corrupts rows one after the other, and records the fault that each corruption causes.
pub struct Corrupter<'a> {
    stage: &'a Stage,
    rng: StdRng,
    /// Conversations without a corruption.
    untouched: Vec<i64>,
    /// Above this id there is no conversation.
    unused: i64,
    columns: Vec<(String, String)>,
    turn: usize,
    pub expected: Faults,
}

impl<'a> Corrupter<'a> {
    /// For a stage in step whose highest conversation id is `conversations`.
    pub async fn new(stage: &'a Stage, seed: u64, conversations: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut untouched: Vec<i64> = sqlx::query_scalar(
            "SELECT conversation_id FROM conversations_analytics WHERE t_messages > 1 AND tenant_id = 1",
        )
        .fetch_all(&stage.target)
        .await?;
        untouched.shuffle(&mut rng);
        // each column twice, so that the columns outlast the corruptions
        let mut columns = columns(stage).await?;
        columns.shuffle(&mut rng);
        Ok(Self {
            stage,
            unused: i64::try_from(conversations)?,
            columns: [columns.clone(), columns].concat(),
            rng,
            untouched,
            turn: 0,
            expected: Faults::new(),
        })
    }

    async fn on_target(&self, statement: String) -> Result<()> {
        let done = self
            .stage
            .target
            .execute(AssertSqlSafe(statement.clone()))
            .await?;
        ensure!(done.rows_affected() == 1, "{statement}: {done:?}");
        Ok(())
    }

    async fn on_source(&self, statement: String) -> Result<()> {
        let done = self
            .stage
            .source
            .execute(AssertSqlSafe(statement.clone()))
            .await?;
        ensure!(done.rows_affected() >= 1, "{statement}: {done:?}");
        Ok(())
    }

    /// Expects every conversation with this contact to be stale.
    async fn expect_of_contact(&mut self, contact: &str) -> Result<()> {
        let of: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT conversation_id FROM conversations_analytics \
             WHERE tenant_id = 1 AND source_deleted_at IS NULL AND (contact_id = {contact} OR client_sender_id = {contact})"
        )))
        .fetch_all(&self.stage.target)
        .await?;
        for id in of {
            self.untouched.retain(|other| *other != id);
            self.expected.entry(id).or_insert_with(|| "stale".to_owned());
        }
        Ok(())
    }

    /// Corrupts one conversation, each time in the next of twenty ways.
    pub async fn corrupt(&mut self) -> Result<()> {
        let id = self.untouched.pop().context("there are more conversations")?;
        let row = format!("WHERE tenant_id = 1 AND conversation_id = {id}");
        self.turn += 1;
        let kind = match self.turn % 20 {
            0 | 1 => {
                self.on_target(format!("DELETE FROM conversations_analytics {row}"))
                    .await?;
                "missing"
            }
            2 => {
                self.on_target(format!(
                    "UPDATE conversations_analytics SET source_deleted_at = now() {row}"
                ))
                .await?;
                "missing"
            }
            3 | 4 => {
                self.unused += self.rng.random_range(1..5_000);
                let extra = self.unused;
                self.on_target(format!(
                    "INSERT INTO conversations_analytics \
                     SELECT (jsonb_populate_record(t, '{{\"conversation_id\": {extra}}}')).* \
                     FROM conversations_analytics t {row}"
                ))
                .await?;
                self.expected.insert(extra, "extra".to_owned());
                return Ok(());
            }
            5 => {
                self.on_source(format!("DELETE FROM conversations WHERE id = {id}"))
                    .await?;
                "extra"
            }
            6 => {
                self.on_source(format!(
                    "UPDATE conversations SET priority = coalesce(priority, 0) % 3 + 1, \
                                        custom_attributes = '{{\"silent\": true}}' WHERE id = {id}"
                ))
                .await?;
                "stale"
            }
            7 => {
                self.on_source(format!(
                    "UPDATE messages SET content = coalesce(content, '') || '!' \
                     WHERE id = (SELECT max(id) FROM messages WHERE conversation_id = {id})"
                ))
                .await?;
                "stale"
            }
            8 => {
                self.on_source(format!(
                    "DELETE FROM messages WHERE id = (SELECT min(id) FROM messages WHERE conversation_id = {id})"
                ))
                .await?;
                "stale"
            }
            9 => {
                // back-dated, as an import writes it
                self.on_source(format!(
                    "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at) \
                     SELECT 'late', account_id, inbox_id, id, 2, '2020-01-01', '2020-01-01' FROM conversations WHERE id = {id}"
                ))
                .await?;
                "stale"
            }
            10 => {
                let contact: Option<i64> =
                    sqlx::query_scalar("SELECT contact_id FROM conversations WHERE id = $1")
                        .bind(id)
                        .fetch_one(&self.stage.source)
                        .await?;
                let contact = contact.unwrap_or(0).to_string();
                self.stage
                    .source
                    .execute(AssertSqlSafe(format!(
                        "UPDATE contacts SET phone_number = '+55 11 0000-{id}', name = 'Another' WHERE id = {contact}"
                    )))
                    .await?;
                self.untouched.push(id);
                return self.expect_of_contact(&contact).await;
            }
            11 => {
                self.on_source(format!(
                    "INSERT INTO csat_survey_responses (account_id, conversation_id, message_id, rating, contact_id, created_at, \
                                                        updated_at) \
                     SELECT 1, {id}, -{id}, 1, 1, now() + interval '1 year', '2020-01-01'"
                ))
                .await?;
                "stale"
            }
            12 => {
                let digest = ["row_hash", "source_digest", "related_digest", "row_digest"]
                    .choose(&mut self.rng)
                    .expect("there are four");
                let sql_type = if *digest == "row_hash" { "bytea" } else { "bigint" };
                let value = match (*digest, self.rng.random_bool(0.5)) {
                    ("row_hash", _) => different_value(digest, sql_type),
                    (digest, true) => format!("{digest} # 1"),
                    (digest, false) => format!("-({digest} / 2)"),
                };
                self.on_target(format!(
                    "UPDATE conversations_analytics SET {digest} = {value} {row}"
                ))
                .await?;
                "different"
            }
            _ => {
                let (column, sql_type) = self.columns.pop().context("there are more columns")?;
                let value = different_value(&column, &sql_type);
                self.on_target(format!(
                    "UPDATE conversations_analytics SET {column} = {value} {row}"
                ))
                .await?;
                "different"
            }
        };
        self.expected.insert(id, kind.to_owned());
        Ok(())
    }
}
