//! Source tables that are rewritten, and rows that are hidden, while a plan, a chunk or a comparison begins.

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::stage::{Process, Stage, on_stage};
use crate::traps::assert_sound;

/// Rewrites a source table in an open transaction. After its commit, the table looks empty to older snapshots.
struct Rewrite(PgConnection);

impl Rewrite {
    async fn begin(stage: &Stage, table: &str, by: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(&stage.owner_url("source")).await?;
        let rewrite = format!("BEGIN; {}", by.replace("{table}", table));
        sqlx::raw_sql(AssertSqlSafe(rewrite))
            .execute(&mut connection)
            .await?;
        Ok(Self(connection))
    }

    /// Commits when a reader of the source has met the rewrite.
    async fn end_when_met(mut self, stage: &Stage) -> Result<()> {
        until_met(stage).await?;
        self.0.execute("COMMIT").await?;
        Ok(())
    }
}

/// Waits until one of our sessions waits for a lock, or was refused one and tries again.
async fn until_met(stage: &Stage) -> Result<()> {
    stage
        .until_source(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name LIKE 'tidemark%' AND (wait_event_type = 'Lock' OR query = 'ROLLBACK'))",
        )
        .await
}

const ALTER: &str = "ALTER TABLE {table} ADD COLUMN rewritten double precision DEFAULT random()";
const REFILL: &str = "CREATE TEMPORARY TABLE kept ON COMMIT DROP AS TABLE {table}; TRUNCATE {table}; \
                      INSERT INTO {table} SELECT * FROM kept";

async fn begin(stage: &Stage, args: &[&str]) -> Result<Process> {
    stage.start(&[&["sync", "--local", "--tenant", "1"], args].concat())
}

/// Trap 21.
#[tokio::test]
async fn a_table_that_is_rewritten_while_a_full_run_begins_is_read_whole() {
    for (table, by) in [
        ("messages", ALTER),
        ("contacts", REFILL),
        ("csat_survey_responses", ALTER),
        ("users", REFILL),
        ("conversations", ALTER),
    ] {
        on_stage(|stage| async move {
            stage.sample(60, 1, 211).await?;
            let rewrite = Rewrite::begin(&stage, table, by).await?;
            let sync = begin(&stage, &["--full", "--chunk-size", "20"]).await?;
            rewrite.end_when_met(&stage).await?;
            sync.finish().await?;
            stage.assert_equal(&[1]).await
        })
        .await;
    }
}

/// Trap 21: the plan saw all rows, and only the chunks meet the rewrite. The login may only read.
#[tokio::test]
async fn a_table_that_is_rewritten_while_chunks_begin_is_read_whole() {
    for (table, by) in [("messages", ALTER), ("contacts", ALTER), ("messages", REFILL)] {
        on_stage(|stage| async move {
            stage.sample(60, 1, 223).await?;
            let reader = stage.reader_url().await?;
            let settings = [("TIDEMARK_SOURCE_URL", reader.as_str())];
            let producer = stage.start_with(&["producer"], &settings)?;
            let run = stage.ask_full("20").await?;
            stage
                .until("SELECT count(*) = 1 FROM etl_control WHERE status = 'running'")
                .await?;
            producer.stop().await?;
            let rewrite = Rewrite::begin(&stage, table, by).await?;
            let up = stage.start_with(&["up"], &settings)?;
            rewrite.end_when_met(&stage).await?;
            stage
                .until(&format!(
                    "SELECT status = 'success' FROM etl_control WHERE id = {run}"
                ))
                .await?;
            up.stop().await?;
            stage.assert_equal(&[1]).await
        })
        .await;
    }
}

/// Trap 21.
#[tokio::test]
async fn edits_are_not_passed_over_when_their_table_is_rewritten_while_a_plan_begins() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 227).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute(
                "UPDATE messages SET content = 'edited', updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id IN (SELECT max(id) FROM messages GROUP BY conversation_id LIMIT 40)",
            )
            .await?;
        let rewrite = Rewrite::begin(&stage, "messages", ALTER).await?;
        let sync = begin(&stage, &[]).await?;
        rewrite.end_when_met(&stage).await?;
        sync.finish().await?;
        stage
            .until(
                "SELECT count(*) = 40 FROM conversations_analytics WHERE message_compiled @> '[{\"text\": \"edited\"}]'",
            )
            .await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 21.
#[tokio::test]
async fn a_resync_and_a_repair_empty_nothing_when_a_table_is_rewritten_as_they_begin() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 229).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let up = stage.start(&["up"])?;
        for args in [
            &["resync", "--tenant", "1", "--all-rows", "--wait"][..],
            &["verify", "--tenant", "1", "--repair"][..],
        ] {
            let rewrite = Rewrite::begin(&stage, "messages", REFILL).await?;
            let command = stage.start(args)?;
            rewrite.end_when_met(&stage).await?;
            command.finish().await?;
            stage.assert_equal(&[1]).await?;
        }
        up.stop().await
    })
    .await;
}

/// Trap 21: a login with rights on single columns cannot lock, so it must detect a rewrite after the snapshot.
#[tokio::test]
async fn a_login_with_rights_for_single_columns_reads_a_rewritten_table_whole() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 233).await?;
        let reader = stage.reader_url().await?;
        let narrow = format!(
            "REVOKE SELECT ON contacts FROM {login}; \
             GRANT SELECT (id, name, email, phone_number, identifier, account_id, custom_attributes, additional_attributes, \
                           country_code, blocked, created_at, updated_at) ON contacts TO {login}",
            login = stage.login()
        );
        sqlx::raw_sql(AssertSqlSafe(narrow)).execute(&stage.source).await?;
        let rewrite = Rewrite::begin(&stage, "contacts", ALTER).await?;
        let sync = stage.start_with(
            &["sync", "--local", "--tenant", "1", "--full"],
            &[("TIDEMARK_SOURCE_URL", reader.as_str())],
        )?;
        rewrite.end_when_met(&stage).await?;
        sync.finish().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 21: a deadlock must never end the source's own transaction.
#[tokio::test]
async fn a_migration_of_the_source_that_rewrites_one_table_after_another_is_not_disturbed() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 239).await?;
        let mut rewrite = Rewrite::begin(&stage, "messages", ALTER).await?;
        let sync = begin(&stage, &["--full", "--chunk-size", "20"]).await?;
        until_met(&stage).await?;
        for table in ["conversations", "contacts", "accounts"] {
            let next = ALTER.replace("{table}", table);
            rewrite.0.execute(AssertSqlSafe(next)).await?;
        }
        rewrite.end_when_met(&stage).await?;
        sync.finish().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 22.
#[tokio::test]
async fn rows_that_are_hidden_between_plan_and_chunk_are_not_marked_deleted() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 241).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let reader = stage.reader_url().await?;
        let settings = [("TIDEMARK_SOURCE_URL", reader.as_str())];
        let producer = stage.start_with(&["producer"], &settings)?;
        let run = stage.ask_full("40").await?;
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE status = 'running'")
            .await?;
        producer.stop().await?;
        // ten rows of a chunk's forty stay visible, so no chunk finds nothing at all
        stage
            .source
            .execute(
                "ALTER TABLE conversations ENABLE ROW LEVEL SECURITY; \
                 CREATE POLICY hidden ON conversations USING (id % 4 = 0)",
            )
            .await?;
        let up = stage.start_with(&["up"], &settings)?;
        stage
            .until(&format!(
                "SELECT status = 'failed' FROM etl_control WHERE id = {run}"
            ))
            .await?;
        up.stop().await?;
        let (marked, dead, error): (i64, i64, String) = sqlx::query_as(
            "SELECT (SELECT count(source_deleted_at) FROM conversations_analytics), \
                    (SELECT coalesce(sum(deleted), 0) FROM etl_chunk WHERE status = 'dead')::bigint, \
                    (SELECT max(error) FROM etl_chunk WHERE status = 'dead')",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(
            marked <= 50 && dead == 0,
            "{marked} rows are marked, {dead} by the chunk that failed"
        );
        ensure!(error.contains("--allow-mass-delete"), "{error}");

        stage
            .source
            .execute("ALTER TABLE conversations DISABLE ROW LEVEL SECURITY")
            .await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        assert_sound(&stage, &run).await
    })
    .await;
}

/// Trap 22: rows that an operator declares deleted may go, chunk by chunk.
#[tokio::test]
async fn a_run_that_allows_it_marks_as_many_as_are_gone() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 251).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id % 2 = 0")
            .await?;
        let run = stage
            .sync_local(&["--tenant", "1", "--chunk-size", "20", "--allow-mass-delete"])
            .await?;
        ensure!(run["records"]["deleted"] == 100, "{run:#}");
        assert_sound(&stage, &run).await
    })
    .await;
}
