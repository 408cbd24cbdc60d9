//! Trap 15: attacks, bugs and mistakes that must not reach another tenant's rows.

use anyhow::{Result, ensure};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tidemark_ledger::connect::pool;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;

use crate::http::until_refused;
use crate::stage::{Stage, on_stage};

async fn count(stage: &Stage, of: &str) -> Result<i64> {
    let query = format!("SELECT count(*) FROM conversations_analytics WHERE {of}");
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&stage.target)
        .await?)
}

/// Trap 15.
#[tokio::test]
async fn one_conversation_id_of_two_tenants_is_two_rows_that_do_not_touch_each_other() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 7).await?;
        // the same Chatwoot under a second name, so that every id exists twice
        let file = std::env::temp_dir().join(format!("{}.toml", stage.database("twice")));
        std::fs::write(&file, format!("[sources.second]\nurl = \"{}\"\n", stage.url("source")))?;
        let twice = file.to_str().unwrap_or_default();
        let run = |args: &'static str| {
            let args: Vec<&str> = ["--config", twice].into_iter().chain(args.split(' ')).collect();
            let stage = &stage;
            async move {
                let answer = stage.tidemark(&args).await?;
                ensure!(answer.code == 0, "{args:?}: {answer:?}");
                Ok(())
            }
        };
        // the highest possible tenant id, too
        run("tenant add --id 2147483647 --name Second --source second --account-id 1").await?;
        run("inbox discover --tenant 2147483647").await?;
        run("sync --local --all").await?;
        let both = "conversation_id IN (SELECT conversation_id FROM conversations_analytics \
                    GROUP BY 1 HAVING array_agg(tenant_id ORDER BY tenant_id) = '{1,2147483647}')";
        ensure!(count(&stage, both).await? == 120, "{}", count(&stage, both).await?);

        stage
            .source
            .execute("DELETE FROM messages WHERE conversation_id = 9; DELETE FROM csat_survey_responses WHERE conversation_id = 9")
            .await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id = 9; UPDATE conversations SET priority = 3, updated_at = now() WHERE id = 10")
            .await?;
        run("sync --local --tenant 1").await?;
        let gone = "source_deleted_at IS NOT NULL AND conversation_id = 9";
        ensure!(count(&stage, gone).await? == 1, "another tenant's row is gone too");
        ensure!(count(&stage, "conversation_id = 10 AND priority = 3").await? == 1, "another tenant's row has changed too");
        run("sync --local --tenant 2147483647").await?;
        ensure!(count(&stage, gone).await? == 2, "its own row is not gone");
        run("verify --all").await?;
        std::fs::remove_file(file)?;
        Ok(())
    })
    .await;
}

/// Counts the rows that a transaction sees as `tenant`, or as no tenant. With `fails`, the transaction ends with an
/// error.
async fn visible_rows(db: &PgPool, tenant: Option<i32>, fails: bool) -> Result<i64> {
    let mut tx = db.begin().await?;
    if let Some(tenant) = tenant {
        sqlx::query("SELECT set_config('app.current_tenant_id', $1::integer::text, true)")
            .bind(tenant)
            .execute(&mut *tx)
            .await?;
    }
    let seen = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics")
        .fetch_one(&mut *tx)
        .await?;
    if fails {
        let broken = tx.execute("SELECT 1 / 0").await;
        ensure!(broken.is_err(), "nothing is divided by zero");
        // dropped without a rollback, as on an error that is returned with `?`
        drop(tx);
    } else {
        tx.commit().await?;
    }
    Ok(seen)
}

/// Trap 15.
#[tokio::test]
async fn a_pooled_connection_remembers_no_tenant() {
    on_stage(|stage| async move {
        let tenants = stage.sample(120, 2, 3).await?;
        stage.sync_local(&["--all"]).await?;
        let db = pool(
            &ServerUrl::from(stage.url("target")),
            "worker",
            1,
            DatabasePooler::None,
        )
        .await?
        .connections()
        .clone();
        for round in 0..6 {
            for tenant in &tenants {
                let own = count(&stage, &format!("tenant_id = {tenant}")).await?;
                ensure!(own > 0, "tenant {tenant} has rows");
                ensure!(
                    visible_rows(&db, Some(*tenant), round % 2 == 0).await? == own,
                    "round {round}"
                );
                ensure!(
                    visible_rows(&db, None, round % 3 == 0).await? == 0,
                    "round {round}: a tenant was left behind"
                );
            }
        }
        // no connection is reset: neither a role nor a setting may be left on one
        let acting: (String, Option<String>) = sqlx::query_as(
            "SELECT current_user::text, nullif(current_setting('app.current_tenant_id', true), '')",
        )
        .fetch_one(&db)
        .await?;
        ensure!(acting == ("etl_service".to_owned(), None), "{acting:?}");
        db.close().await;
        Ok(())
    })
    .await;
}

/// Trap 15.
#[tokio::test]
async fn a_message_that_names_another_tenants_chunk_is_refused_and_the_ledgers_tenant_rules() {
    on_stage(|stage| async move {
        stage.sample(80, 2, 11).await?;
        let producer = stage.start(&["producer"])?;
        let asked = stage
            .tidemark(&["sync", "--tenant", "1", "--full", "--json"])
            .await?;
        ensure!(asked.code == 0, "{asked:?}");
        let run = asked.json()["run_id"].clone();
        stage
            .until("SELECT count(*) > 0 AND bool_and(published_at IS NOT NULL) FROM etl_chunk")
            .await?;
        producer.stop().await?;
        stage.purge("chunks.bulk").await?;
        stage.purge("chunks.live").await?;

        let forged = json!({"v": 1, "run_id": run, "seq": 1, "tenant_id": 2, "attempt": 0});
        stage
            .publish("jobs", "live", forged.to_string().as_bytes())
            .await?;
        let worker = stage.start(&["worker"])?;
        until_refused(&stage, 1).await?;
        worker.stop().await?;
        stage.until_waiting("chunks.live", 0).await?;
        let untouched: bool = sqlx::query_scalar(
            "SELECT bool_and(attempt = 0 AND status = 'queued' AND tenant_id = 1) FROM etl_chunk",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(
            untouched && count(&stage, "true").await? == 0,
            "the forged message had an effect"
        );

        let honest = json!({"v": 1, "run_id": run, "seq": 1, "tenant_id": 1, "attempt": 0});
        stage
            .publish("jobs", "live", honest.to_string().as_bytes())
            .await?;
        let worker = stage.start(&["worker"])?;
        stage
            .until("SELECT bool_and(status = 'done') FROM etl_chunk")
            .await?;
        worker.stop().await?;
        ensure!(
            count(&stage, "tenant_id <> 1").await? == 0,
            "rows of a tenant that was never synced"
        );
        Ok(())
    })
    .await;
}

/// Writes another tenant's id into some rows of every staging table, as a bug of the worker would.
const FORGE: &str = "CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$ \
     BEGIN IF NEW.conversation_id % 7 = 0 THEN NEW.tenant_id := 2; END IF; RETURN NEW; END $$; \
     CREATE FUNCTION forge_staging() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
     IF to_regclass('pg_temp.tidemark_staging') IS NOT NULL AND NOT EXISTS \
        (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('pg_temp.tidemark_staging')) THEN \
     CREATE TRIGGER forge BEFORE INSERT ON pg_temp.tidemark_staging FOR EACH ROW EXECUTE FUNCTION public.forge(); \
     END IF; END $$; \
     CREATE EVENT TRIGGER forge ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION forge_staging()";

/// Trap 15.
#[tokio::test]
async fn a_tenant_forged_in_staging_stops_the_load_and_nothing_of_it_is_written() {
    on_stage(|stage| async move {
        let tenants = stage.sample(120, 2, 13).await?;
        stage.sync_local(&["--tenant", "2"]).await?;
        let fingerprint =
            "SELECT coalesce(md5(string_agg(a::text, ' ' ORDER BY conversation_id)), '') FROM conversations_analytics a";
        let before: String = sqlx::query_scalar(fingerprint).fetch_one(&stage.target).await?;
        stage.target.execute(FORGE).await?;
        let failed = stage.tidemark(&["sync", "--local", "--tenant", "1", "--json"]).await?;
        ensure!(failed.code == 1, "{failed:?}");
        let error = failed.json()["error"].to_string();
        ensure!(error.contains("row-level security policy") && error.contains("42501"), "{error}");
        let after: String = sqlx::query_scalar(fingerprint).fetch_one(&stage.target).await?;
        ensure!(before == after, "something of the load was written");

        stage.target.execute("DROP EVENT TRIGGER forge").await?;
        stage.sync_local(&["--all"]).await?;
        stage.assert_equal(&tenants).await
    })
    .await;
}

/// Trap 15.
#[tokio::test]
async fn sql_in_an_argument_is_no_sql() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 1).await?;
        for args in [
            &["sync", "--tenant", "1 OR 1=1"][..],
            &["sync", "--local", "--tenant", "1; DROP TABLE tenants"],
            &["resync", "--tenant", "1", "--ids", "1) OR (1=1"],
            &["tenant", "set", "--tenant", "1 OR 1=1", "--chunk-size", "5"],
            &["tenant", "remove", "--tenant", "1 OR 1=1", "--yes"],
            &["inbox", "map", "--tenant", "1", "--inbox", "1,2 OR true"],
            &["watermark", "show", "--tenant", "1' OR '1'='1"],
            &["run", "cancel", "1 OR 1=1", "--reason", "x"],
            &["verify", "--tenant", "1 OR 1=1"],
        ] {
            let refused = stage.tidemark(args).await?;
            ensure!(refused.code == 64, "{args:?}: {refused:?}");
        }
        // texts are stored as they are
        let name = "'); DROP TABLE tenants; --";
        let added = stage
            .tidemark(&["tenant", "add", "--id", "7", "--name", name, "--slug", "x'; --", "--timezone", "UTC"])
            .await?;
        ensure!(added.code == 0, "{added:?}");
        let kept: String = sqlx::query_scalar("SELECT name FROM tenants WHERE id = 7")
            .fetch_one(&stage.target)
            .await?;
        ensure!(kept == name, "{kept}");
        let paused = stage
            .tidemark(&["tenant", "pause", "--tenant", "7", "--reason", "it's; DROP TABLE etl_control; --"])
            .await?;
        ensure!(paused.code == 0, "{paused:?}");
        let untouched: bool = sqlx::query_scalar(
            "SELECT count(*) = 2 AND NOT EXISTS (SELECT FROM etl_control) FROM tenants WHERE deleted_at IS NULL",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(untouched, "something was done");
        Ok(())
    })
    .await;
}

/// Trap 15.
#[tokio::test]
async fn a_view_and_a_column_with_quotes_in_their_names_are_read_like_any_other() {
    on_stage(|stage| async move {
        let tenants = stage.sample(80, 2, 17).await?;
        stage
            .source
            .execute(
                "CREATE SCHEMA \"s\"\"1\"; \
                 CREATE VIEW \"s\"\"1\".\"v'; DROP TABLE conversations; --\" AS \
                 SELECT v.*, 'x'::text AS \"o\"\"dd'; DROP TABLE messages; --\", 1 AS \"select\" \
                 FROM vw_conversations_analytics_final v",
            )
            .await?;
        let view = [
            ("TIDEMARK_SOURCE_MODE", "view"),
            (
                "TIDEMARK_SOURCE_VIEW",
                "\"s\"\"1\".\"v'; DROP TABLE conversations; --\"",
            ),
        ];
        for args in [&["sync", "--local", "--all"][..], &["verify", "--all"]] {
            let answer = stage.tidemark_with(args, &view).await?;
            ensure!(answer.code == 0, "{args:?}: {answer:?}");
        }
        for tenant in tenants {
            ensure!(
                count(&stage, &format!("tenant_id = {tenant}")).await? > 0,
                "tenant {tenant} has no row"
            );
        }
        stage
            .until_source("SELECT EXISTS (SELECT FROM conversations) AND EXISTS (SELECT FROM messages)")
            .await
    })
    .await;
}
