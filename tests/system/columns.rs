//! Every column, against two computations that share no code with the transform: a query over the source
//! (reference/), and values computed by hand.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tidemark_worker::row::columns::COLUMNS;

use crate::stage::{Stage, on_stage};

const REFERENCE: &str = include_str!("../reference/conversations.sql");
const ABSENT: &str = include_str!("../reference/absent.sql");
const FIXTURES: &str = include_str!("../reference/fixtures.sql");
const EXPECTED: &str = include_str!("../reference/expected.sql");

pub type Rows = BTreeMap<i64, BTreeMap<String, Value>>;

/// The tenant's rows as the reference computes them from the source.
pub async fn reference(stage: &Stage, tenant: i32, timezone: &str, inboxes: &[i32]) -> Result<Rows> {
    // numbers as text, because this test would read JSON numbers as floats
    let query = format!(
        "SELECT r.conversation_id, ({})::text FROM ({REFERENCE}) r",
        as_object("r")
    );
    // the views of absent.sql vanish with the transaction
    let mut transaction = stage.source.begin().await?;
    sqlx::raw_sql(ABSENT).execute(&mut *transaction).await?;
    let rows: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(query))
        .bind(inboxes)
        .bind(tenant)
        .bind(timezone)
        .fetch_all(&mut *transaction)
        .await?;
    parse(rows)
}

/// Asserts that the rows of every tenant of a sample are those that the reference computes.
pub async fn assert_reference(stage: &Stage) -> Result<()> {
    for tenant in tidemark_sample::describe(&stage.url("source")).await? {
        let id = tenant.account_id;
        let expected = reference(stage, id, &tenant.timezone, &tenant.inbox_ids).await?;
        let same = assert_same(&expected, &target(stage, id).await?);
        same.with_context(|| format!("tenant {id}"))?;
    }
    Ok(())
}

/// The tenant's rows in the target.
pub async fn target(stage: &Stage, tenant: i32) -> Result<Rows> {
    let query = format!(
        "SELECT r.conversation_id, ({})::text FROM conversations_analytics r \
         WHERE tenant_id = $1 AND source_deleted_at IS NULL",
        as_object("r")
    );
    parse(
        sqlx::query_as(AssertSqlSafe(query))
            .bind(tenant)
            .fetch_all(&stage.target)
            .await?,
    )
}

/// Every column as text, by name. `jsonb_build_object` takes at most 50 pairs.
fn as_object(row: &str) -> String {
    COLUMNS
        .chunks(40)
        .map(|columns| {
            let pairs: Vec<String> = columns
                .iter()
                .map(|column| format!("'{0}', {row}.{0}::text", column.name))
                .collect();
            format!("jsonb_build_object({})", pairs.join(", "))
        })
        .collect::<Vec<_>>()
        .join(" || ")
}

fn parse(rows: Vec<(i64, String)>) -> Result<Rows> {
    rows.into_iter()
        .map(|(id, text)| Ok((id, serde_json::from_str(&text)?)))
        .collect()
}

pub fn assert_same(expected: &Rows, actual: &Rows) -> Result<()> {
    ensure!(!expected.is_empty(), "nothing to compare");
    let mut differences = Vec::new();
    for id in expected.keys().chain(actual.keys()) {
        let (Some(wanted), Some(found)) = (expected.get(id), actual.get(id)) else {
            let side = if expected.contains_key(id) {
                "expected"
            } else {
                "found"
            };
            differences.push(format!("{id}: only {side}"));
            continue;
        };
        for (column, value) in wanted {
            if found.get(column) != Some(value) {
                differences.push(format!(
                    "{id}.{column}: expected {value}, found {:?}",
                    found.get(column)
                ));
            }
        }
    }
    ensure!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    Ok(())
}

#[tokio::test]
async fn every_column_of_a_seeded_sample_equals_the_reference() {
    on_stage(|stage| async move {
        stage.sample(600, 3, 23).await?;
        stage.sync_local(&["--all", "--chunk-size", "100"]).await?;
        assert_reference(&stage).await
    })
    .await;
}

#[tokio::test]
async fn every_column_of_the_fixtures_equals_the_reference_and_what_was_worked_out_by_hand() {
    on_stage(|stage| async move {
        sqlx::raw_sql(FIXTURES).execute(&stage.source).await?;
        let tenants: [(i32, &str, &[i32]); 4] = [
            (1, "UTC", &[11, 12, 13, 14, 15]),
            (2, "America/Sao_Paulo", &[21]),
            (3, "Europe/Lisbon", &[31]),
            (4, "Asia/Kathmandu", &[41]),
        ];
        for (tenant, timezone, inboxes) in tenants {
            stage.tenant(tenant, timezone, inboxes).await?;
        }
        stage.sync_local(&["--all"]).await?;
        for (tenant, timezone, inboxes) in tenants {
            let expected = reference(&stage, tenant, timezone, inboxes).await?;
            assert_same(&expected, &target(&stage, tenant).await?)?;
        }

        // the database compares the values computed by hand, with the script that also checks the reference
        let columns: Vec<String> = COLUMNS
            .iter()
            .map(|column| match column.sql_type.split_once('(') {
                Some(("varchar", _)) => format!("{0}::text", column.name),
                _ => column.name.to_owned(),
            })
            .collect();
        let mut connection = stage.target.acquire().await?;
        let actual = format!(
            "CREATE TEMP VIEW actual AS SELECT {} FROM conversations_analytics",
            columns.join(", ")
        );
        sqlx::query(AssertSqlSafe(actual))
            .execute(&mut *connection)
            .await?;
        sqlx::raw_sql(EXPECTED).execute(&mut *connection).await?;
        let differences: Vec<String> = sqlx::query_scalar("SELECT d::text FROM difference d")
            .fetch_all(&mut *connection)
            .await?;
        ensure!(differences.is_empty(), "{differences:#?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn clients_who_are_not_the_contact_are_known_by_their_phones_also_where_their_messages_are_many() {
    on_stage(|stage| async move {
        let tenants = stage.sample(150, 1, 29).await?;
        // megabytes of messages, most of them from contacts of other conversations
        sqlx::raw_sql(
            "UPDATE messages SET content = repeat(md5(id::text), 300), \
                 sender_id = (SELECT max(id) FROM contacts) - sender_id % 7 WHERE sender_type = 'Contact' AND id % 5 > 0",
        )
        .execute(&stage.source)
        .await?;
        stage.sync_local(&["--all", "--chunk-size", "100"]).await?;
        let samples = tidemark_sample::describe(&stage.url("source")).await?;
        let (sample, tenant) = (&samples[0], tenants[0]);
        let expected = reference(&stage, tenant, &sample.timezone, &sample.inbox_ids).await?;
        let text = |row: &BTreeMap<String, Value>, column: &str| row[column].as_str().map(str::len);
        let others = expected.values().filter(|row| row["client_sender_id"] != row["contact_id"]);
        let bytes: usize = others.filter_map(|row| text(row, "message_compiled")).sum();
        ensure!(bytes > 2 << 20, "{bytes} bytes: too few to exceed the buffer");
        assert_same(&expected, &target(&stage, tenant).await?)
    })
    .await;
}
