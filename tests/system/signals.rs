//! The signals that name a changed conversation, and the contents of a sample of the source's transactions.

use std::sync::Arc;

use anyhow::ensure;
use sqlx::{Connection, Executor, PgConnection};
use tidemark_runtime::config::Settings;
use tidemark_source::Sources;

use crate::servers::Server;
use crate::stage::{Servers, on_servers, on_stage};

/// A merged installation: only the conversation shows whose its messages are.
#[tokio::test]
async fn an_edit_is_found_when_its_message_carries_the_inbox_of_another_tenant() {
    on_stage(|stage| async move {
        let tenants = stage.sample(100, 2, 257).await?;
        stage
            .source
            .execute(
                "UPDATE conversations SET inbox_id = (SELECT min(inbox_id) FROM conversations WHERE account_id = 1), \
                        updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT min(conversation_id) FROM messages WHERE account_id = 2)",
            )
            .await?;
        for tenant in ["1", "2"] {
            stage.sync_local(&["--tenant", tenant]).await?;
        }
        stage
            .source
            .execute(
                "UPDATE messages SET content = 'edited', updated_at = clock_timestamp() AT TIME ZONE 'UTC' \
                 WHERE conversation_id = (SELECT min(conversation_id) FROM messages WHERE account_id = 2)",
            )
            .await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            run["signals"]["messages"] == 1 && run["records"]["updated"] == 1,
            "{run:#}"
        );
        stage.assert_equal(&tenants).await
    })
    .await;
}

/// A merged installation.
#[tokio::test]
async fn a_changed_contact_of_another_account_is_found_by_its_conversation() {
    on_stage(|stage| async move {
        stage.sample(100, 2, 263).await?;
        let contact: i64 = sqlx::query_scalar(
            "UPDATE contacts SET account_id = 2, email = NULL, identifier = NULL \
             WHERE id = (SELECT min(contact_id) FROM conversations WHERE account_id = 1) RETURNING id::bigint",
        )
        .fetch_one(&stage.source)
        .await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        sqlx::query(
            "UPDATE contacts SET name = 'Renamed', updated_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = $1",
        )
        .bind(contact)
        .execute(&stage.source)
        .await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run["signals"]["contacts"].as_i64() > Some(0), "{run:#}");
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 2: the list of open transactions and the highest ended one are read at different moments.
#[tokio::test]
async fn a_writer_that_ends_while_a_sample_is_taken_is_below_its_highest_id() {
    let server = Server::postgres().await.expect("a server can be started");
    let servers = Servers {
        source: server.url().expect("it has a URL"),
        ..Servers::shared()
    };
    on_servers(servers, |stage| async move {
        // a query for the open transactions waits here
        let stall = format!(
            "CREATE SCHEMA stall; \
             CREATE FUNCTION stall.gate() RETURNS boolean LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$; \
             CREATE VIEW stall.pg_stat_activity AS SELECT s.pid, s.backend_xid, d.datname \
                 FROM (SELECT stall.gate() AS is_open OFFSET 0) g, \
                      LATERAL pg_stat_get_activity(CASE WHEN g.is_open THEN NULL::integer END) s \
                 LEFT JOIN pg_database d ON d.oid = s.datid; \
             ALTER DATABASE {} SET search_path = stall, pg_catalog, public",
            stage.database("source")
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(stall)).execute(&stage.source).await?;
        let mut holder = PgConnection::connect(&stage.owner_url("source")).await?;
        holder.execute("SELECT pg_advisory_lock(1)").await?;
        let mut writer = PgConnection::connect(&stage.owner_url("source")).await?;
        writer.execute("BEGIN").await?;
        let written: i64 = sqlx::query_scalar("SELECT pg_current_xact_id()::text::bigint")
            .fetch_one(&mut writer)
            .await?;

        let url = stage.url("source");
        let settings = Settings::load_with(None, |name| (name == "TIDEMARK_SOURCE_URL").then(|| url.clone()))?;
        let source = Arc::clone(Sources::new(&settings, "producer")?.get("main")?);
        let waits = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datname = current_database() \
                     AND application_name LIKE 'tidemark%' AND wait_event_type = 'Lock')";
        let end = async {
            stage.until_source(waits).await?;
            writer.execute("COMMIT").await?;
            holder.close().await?;
            anyhow::Ok(())
        };
        let (observed, ended) = tokio::join!(source.observe(), end);
        ended?;
        let sample = observed?.sample;
        ensure!(sample.hi >= written, "{written} is not in {sample:?}");
        Ok(())
    })
    .await;
}
