//! Sessions on the source: read-only, bounded in number and time, and named after their work. sessions.rs asserts the
//! limits in every test.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use sqlx::{Connection, Executor};
use tidemark_ledger::connect::pool;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;
use tidemark_postgres::guarded::{Backend, Guarded};
use tidemark_runtime::config::Settings;
use tidemark_source::{Reads, Source, Sources};

use crate::stage::{Stage, on_stage};

const SESSION: &str = "SELECT name, setting FROM pg_settings WHERE name IN ('transaction_read_only', \
     'default_transaction_read_only', 'transaction_isolation', 'statement_timeout', 'lock_timeout', \
     'idle_in_transaction_session_timeout', 'TimeZone', 'jit', 'application_name')";

fn source(stage: &Stage) -> Result<Arc<Source>> {
    let url = stage.url("source");
    let settings = Settings::load_with(None, |name| match name {
        "TIDEMARK_SOURCE_URL" => Some(url.clone()),
        "TIDEMARK_SOURCE_STATEMENT_TIMEOUT" => Some("90s".to_owned()),
        _ => None,
    })?;
    Ok(Arc::clone(Sources::new(&settings, "worker")?.get("main")?))
}

#[tokio::test]
async fn a_session_on_the_source_reads_only_and_is_bounded_and_named() {
    on_stage(|stage| async move {
        let source = source(&stage)?;
        let mut tx = source.begin("run 7 chunk 3").await?;
        let settings: Vec<(String, String)> = sqlx::query_as(SESSION).fetch_all(tx.connection()).await?;
        let settings: BTreeMap<String, String> = settings.into_iter().collect();
        for (name, expected) in [
            ("transaction_read_only", "on"),
            ("default_transaction_read_only", "on"),
            ("transaction_isolation", "repeatable read"),
            // in milliseconds
            ("statement_timeout", "90000"),
            ("lock_timeout", "10000"),
            ("idle_in_transaction_session_timeout", "300000"),
            ("TimeZone", "UTC"),
            ("jit", "off"),
            ("application_name", "tidemark run 7 chunk 3"),
        ] {
            ensure!(settings[name] == expected, "{name}: {settings:#?}");
        }
        tx.finish().await;
        // outside a transaction a session has the process's name, and cannot write either
        let name: String = sqlx::query_scalar("SHOW application_name")
            .fetch_one(source.pool())
            .await?;
        ensure!(name == "tidemark worker", "{name}");
        let refused = source.pool().execute("DELETE FROM conversations").await;
        let Err(error) = refused else {
            bail!("a session on the source can write")
        };
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .context("a code")?;
        ensure!(code == "25006", "{error}");
        source.pool().close().await;
        Ok(())
    })
    .await;
}

/// PostgreSQL's `plan_cache_mode` in a transaction that reads keys of so many inboxes.
async fn plans_for_keys(source: &Source, inboxes: usize) -> Result<String> {
    let reads = Reads::Keys { inboxes };
    let mut tx = source.begin_for("run 7 chunk 3", reads).await?;
    source.current_shape(&mut tx).await?;
    let mode = sqlx::query_scalar("SHOW plan_cache_mode")
        .fetch_one(tx.connection())
        .await?;
    tx.finish().await;
    Ok(mode)
}

#[tokio::test]
async fn keys_are_read_by_generic_plans_where_indexes_find_them_and_inboxes_are_few() {
    on_stage(|stage| async move {
        let known = source(&stage)?;
        let unknown = plans_for_keys(&known, 3).await?;
        ensure!(
            unknown == "force_custom_plan",
            "before the tables are known: {unknown}"
        );
        for (inboxes, expected) in [
            (3, "force_generic_plan"),
            (100, "force_generic_plan"),
            (101, "force_custom_plan"),
        ] {
            let mode = plans_for_keys(&known, inboxes).await?;
            ensure!(mode == expected, "{inboxes} inboxes: {mode}");
        }
        known.pool().close().await;

        stage
            .source
            .execute("DROP INDEX index_reporting_events_on_conversation_id")
            .await?;
        let without = source(&stage)?;
        for read in ["first", "second"] {
            let mode = plans_for_keys(&without, 3).await?;
            ensure!(
                mode == "force_custom_plan",
                "{read} read without the index: {mode}"
            );
        }
        without.pool().close().await;
        Ok(())
    })
    .await;
}

/// True when a sleeping statement runs in one side's database.
const ASLEEP: &str = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active' \
     AND datname = any(ARRAY[current_database(), replace(current_database(), '_target', '_source')])";
const AWAKE: &str = "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active' \
     AND datname = any(ARRAY[current_database(), replace(current_database(), '_target', '_source')])";

#[tokio::test]
async fn dropped_work_cancels_its_statement_on_either_server() {
    on_stage(|stage| async move {
        let source = source(&stage)?;
        let mut tx = source.begin("run 7 chunk 3").await?;
        {
            let work = async move { tx.connection().execute("SELECT pg_sleep(600)").await };
            tokio::select! {
                done = work => bail!("it did not sleep: {done:?}"),
                asleep = stage.until(ASLEEP) => asleep?,
            }
        }
        stage.until(AWAKE).await?;
        source.pool().close().await;

        // A login without superuser rights: it may cancel its own statements. The role that it acts as may not.
        let login = format!("{}_login", stage.database("target"));
        let create = format!("CREATE ROLE {login} LOGIN IN ROLE etl_service");
        stage.target.execute(sqlx::AssertSqlSafe(create)).await?;
        let outcome = async {
            let mut url = url::Url::parse(&stage.url("target"))?;
            ensure!(url.set_username(&login).is_ok(), "a URL takes a user");
            let target = pool(
                &ServerUrl::from(url.to_string()),
                "worker",
                2,
                DatabasePooler::None,
            )
            .await?;
            let mut guarded = Guarded::acquire(&target).await?;
            target.begin_on(guarded.connection()).await?;
            let (pid, since) = sqlx::query_as("SELECT pg_backend_pid(), now()")
                .fetch_one(guarded.connection())
                .await?;
            guarded.set_backend(Backend { pid, since });
            let work = async move { guarded.connection().execute("SELECT pg_sleep(600)").await };
            tokio::select! {
                done = work => bail!("it did not sleep: {done:?}"),
                asleep = stage.until(ASLEEP) => asleep?,
            }
            stage.until(AWAKE).await?;
            target.connections().close().await;
            Ok(())
        }
        .await;
        let drop = format!("DROP ROLE {login}");
        stage.target.execute(sqlx::AssertSqlSafe(drop)).await?;
        outcome
    })
    .await;
}

/// The number of a process's sessions on the source.
async fn assert_at_most(stage: &Stage, limit: i64) -> Result<()> {
    let sessions: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'tidemark %'",
    )
    .bind(stage.database("source"))
    .fetch_one(&stage.target)
    .await?;
    ensure!(
        sessions <= limit,
        "{sessions} sessions on the source, {limit} are allowed"
    );
    Ok(())
}

#[tokio::test]
async fn a_process_keeps_to_its_sessions_however_much_there_is_to_do() {
    on_stage(|stage| async move {
        stage.sample(300, 3, 109).await?;
        let up = stage.start_with(&["up", "--workers", "6"], &[("TIDEMARK_SOURCE_MAX_CONNECTIONS", "3")])?;
        // every chunk waits here when it reads messages; one of the six permits is never given to bulk chunks
        let holder = stage.block_readers("messages").await?;
        let asked = stage.tidemark(&["sync", "--all", "--json", "--chunk-size", "10"]).await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage.until("SELECT count(*) >= 5 FROM etl_chunk WHERE status = 'running'").await?;
        stage
            .until(
                "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = replace(current_database(), '_target', '_source') \
                 AND wait_event_type = 'Lock' AND application_name ~ '^tidemark run [0-9]+ chunk [0-9]+$'",
            )
            .await?;
        assert_at_most(&stage, 3).await?;
        holder.close().await?;
        let within = async {
            loop {
                assert_at_most(&stage, 3).await?;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            exceeded = within => exceeded,
            ended = stage.until("SELECT count(*) = 3 AND bool_and(status = 'success') FROM etl_control") => ended,
        }?;
        up.stop().await?;
        stage.assert_equal(&[1, 2, 3]).await
    })
    .await;
}
