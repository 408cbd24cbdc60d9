//! A run, chunk or tenant that cannot go on does not block the others, and is not tried in vain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, Executor, PgConnection};
use tidemark_finalizer::finalize::Finalizer;
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::DispatchLimits;
use tidemark_ledger::tenant::list_to_plan;
use tidemark_producer::loops::schedule::Scheduler;
use tidemark_producer::planning::planner::Planner;
use tidemark_runtime::config::Settings;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::wake::Wakes;
use tidemark_shared::ids::TenantId;
use tidemark_source::Sources;

use crate::stage::{Stage, on_stage};

#[tokio::test]
async fn a_request_that_cannot_be_used_ends_its_run_failed_and_the_others_go_on() {
    on_stage(|stage| async move {
        stage.sample(60, 3, 5).await?;
        stage
            .target
            .execute(
                "INSERT INTO etl_control (tenant_id, type, triggered_by, request) VALUES \
                 (1, 'full', 'test', '{\"colour\": 1}'), (2, 'full', 'test', '{\"chunk_size\": 0}'), \
                 (3, 'full', 'test', '{}')",
            )
            .await?;
        let _producer = stage.start(&["producer"])?;
        stage
            .until("SELECT count(*) = 0 FROM etl_control WHERE status IN ('requested', 'planning')")
            .await?;
        let runs: Vec<(i32, String, Option<String>)> = sqlx::query_as(
            "SELECT tenant_id, status::text, error_message FROM etl_control ORDER BY tenant_id",
        )
        .fetch_all(&stage.target)
        .await?;
        let says = |at: usize, word: &str| runs[at].2.as_deref().is_some_and(|text| text.contains(word));
        ensure!(runs[0].1 == "failed" && says(0, "colour"), "{runs:?}");
        ensure!(runs[1].1 == "failed" && says(1, "chunk_size"), "{runs:?}");
        ensure!(runs[2].1 == "running", "{runs:?}");
        Ok(())
    })
    .await;
}

/// Runs of these tenants that only have to be closed.
async fn complete_runs(stage: &Stage, tenants: i32) -> Result<()> {
    for tenant in 1..=tenants {
        stage.tenant(tenant, "UTC", &[tenant]).await?;
    }
    sqlx::query(
        "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at) \
         SELECT n, 'full', 'running', 'test', now() FROM generate_series(1, $1) n",
    )
    .bind(tenants)
    .execute(&stage.target)
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_run_that_cannot_be_closed_holds_up_no_other() {
    on_stage(|stage| async move {
        complete_runs(&stage, 3).await?;
        stage
            .target
            .execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN RAISE EXCEPTION 'this run cannot be closed'; END $$; \
                 CREATE TRIGGER refuse BEFORE UPDATE ON etl_control FOR EACH ROW \
                     WHEN (NEW.tenant_id = 1 AND NEW.status = 'success') EXECUTE FUNCTION refuse()",
            )
            .await?;
        let _finalizer = stage.start(&["finalizer"])?;
        stage
            .until("SELECT count(*) = 2 FROM etl_control WHERE tenant_id > 1 AND status = 'success'")
            .await?;
        stage.target.execute("DROP TRIGGER refuse ON etl_control").await?;
        stage
            .until("SELECT count(*) = 3 FROM etl_control WHERE status = 'success'")
            .await
    })
    .await;
}

#[tokio::test]
async fn a_finalizer_that_is_stopped_leaves_what_is_left_to_others() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        stage
            .target
            .execute(
                "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, request) \
                 SELECT 1, 'resync', 'running', 'test', now(), \
                        jsonb_build_object('selection', jsonb_build_object('kind', 'ids', 'ids', jsonb_build_array(n))) \
                 FROM generate_series(1, 100) n",
            )
            .await?;
        let lifecycle = Lifecycle::new();
        lifecycle.stop();
        let finalizer = Finalizer::new(stage.db(), Duration::from_secs(60), Wakes::default(), None);
        tokio::time::timeout(Duration::from_secs(60), finalizer.run(lifecycle))
            .await
            .context("the finalizer does not stop")?;
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE finished_at IS NULL")
            .fetch_one(&stage.target)
            .await?;
        ensure!(open > 0, "all runs were closed after the stop");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn old_moves_behind_ten_thousand_young_ones_are_pruned() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        // an idle tenant's audit row keeps its id when it is updated
        stage
            .target
            .execute(
                "INSERT INTO etl_watermark_audit (tenant_id, moved_at, actor, reason) \
                 SELECT 1, CASE WHEN n <= 10000 THEN now() ELSE now() - interval '10 years' END, 'test', 'test' \
                 FROM generate_series(1, 10050) n",
            )
            .await?;
        let pruned = stage.tidemark(&["prune", "--json"]).await?;
        ensure!(pruned.code == 0 && pruned.json()["moves"] == 49, "{pruned:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_comparison_that_waits_for_a_sync_is_dispatched_when_that_has_ended_and_not_before() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let sync: i64 = sqlx::query_scalar(
            "INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, requested_at) \
             VALUES (1, 'full', 'running', 'test', now(), now() - interval '1 minute') RETURNING id",
        )
        .fetch_one(&stage.target)
        .await?;
        stage
            .target
            .execute(
                "WITH run AS (INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at) \
                              VALUES (1, 'verify', 'running', 'test', now()) RETURNING id), \
                      chunk AS (INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, attempt, next_attempt_at) \
                                SELECT id, 1, 1, 'bulk', '{\"kind\": \"keys\", \"ids\": [1]}', 1, 1, now() + interval '1 hour' \
                                FROM run) \
                 INSERT INTO etl_verification_part (run_id, seq, tenant_id, is_settled, fault_count, source_epoch, source_xmax, \
                     source_in_progress, source_looked_at, source_rows, target_rows, missing, extra, stale, different, pending, unproven) \
                 SELECT id, 1, 1, false, 1, 1, 1, 0, now(), 1, 0, 1, 0, 0, 0, 0, 0 FROM run",
            )
            .await?;
        let limits = DispatchLimits {
            fleet: 10,
            sources: vec![("main".to_owned(), 10)],
        };
        let db = stage.db();
        for ended in [false, true] {
            if ended {
                sqlx::query("UPDATE etl_control SET status = 'failed', finished_at = now() WHERE id = $1")
                    .bind(sync)
                    .execute(&stage.target)
                    .await?;
            }
            let mut tx = db.begin().await?;
            let taken = ledger::chunk::dispatch(&mut tx, &limits, None).await?.context("the lock is free")?;
            tx.commit().await?;
            ensure!(taken.len() == usize::from(ended), "sync ended: {ended}, dispatched: {taken:?}");
        }
        Ok(())
    })
    .await;
}

/// A planner with a statement timeout of half a second at the source.
fn planner_in_a_hurry(stage: &Stage) -> Result<Planner> {
    let source = stage.url("source");
    let settings = Settings::load_with(None, |name| match name {
        "TIDEMARK_SOURCE_URL" => Some(source.clone()),
        "TIDEMARK_SOURCE_STATEMENT_TIMEOUT" => Some("500ms".to_owned()),
        _ => None,
    })?;
    Ok(Planner {
        db: stage.db(),
        sources: Arc::new(Sources::new(&settings, "test")?),
        settings: settings.producer,
    })
}

#[tokio::test]
async fn a_group_whose_statement_times_out_is_not_planned_by_halves() {
    on_stage(|stage| async move {
        let tenants = stage.sample(60, 4, 5).await?;
        let planner = planner_in_a_hurry(&stage)?;
        // only the statement after the catalog query waits
        let mut lock = PgConnection::connect(&stage.owner_url("source")).await?;
        lock.execute(
            "CREATE FUNCTION slow() RETURNS bigint LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_sleep(30); RETURN 1; END $$; \
             ALTER TABLE conversations RENAME TO conversations_at_rest; \
             CREATE VIEW conversations AS SELECT * FROM conversations_at_rest WHERE slow() = 1",
        )
        .await?;
        let ids: Vec<TenantId> = tenants.iter().copied().map(TenantId).collect();
        let ready = list_to_plan(&stage.target, &ids).await?;
        let planned = planner.plan_together("main", ready).await;
        let errors: Vec<_> = planned
            .iter()
            .map(|(tenant, plan)| {
                plan.as_ref()
                    .err()
                    .with_context(|| format!("tenant {} has a plan", tenant.id))
            })
            .collect::<Result<_>>()?;
        ensure!(errors.len() == 4, "{errors:?}");
        ensure!(
            errors.iter().all(|error| Arc::ptr_eq(error, errors[0])),
            "each tenant's statement was tried: {errors:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_tenant_whose_plan_times_out_delays_the_others_only_once() {
    on_stage(|stage| async move {
        let tenants = stage.sample(60, 4, 5).await?;
        let planner = planner_in_a_hurry(&stage)?;
        stage
            .source
            .execute(
                "CREATE FUNCTION slow() RETURNS bigint LANGUAGE plpgsql COST 100000 AS \
                     $$ BEGIN PERFORM pg_sleep(30); RETURN 1; END $$; \
                 ALTER TABLE conversations RENAME TO conversations_at_rest; \
                 CREATE VIEW conversations AS SELECT * FROM conversations_at_rest WHERE account_id <> 1 OR slow() = 1",
            )
            .await?;
        let ids: Vec<TenantId> = tenants.iter().copied().map(TenantId).collect();
        for (failures, expected) in [(0, 0), (1, 3)] {
            sqlx::query("UPDATE etl_watermark SET consecutive_failures = $1")
                .bind(failures)
                .execute(&stage.target)
                .await?;
            let ready = list_to_plan(&stage.target, &ids).await?;
            let planned = planner.plan_together("main", ready).await;
            let well = planned.iter().filter(|(_, plan)| plan.is_ok()).count();
            ensure!(well == expected, "{failures} failures: {planned:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_chunk_whose_statement_times_out_is_read_in_smaller_pieces() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 5).await?;
        stage
            .source
            .execute(
                "CREATE FUNCTION slow(content text) RETURNS text LANGUAGE plpgsql AS \
                     $$ BEGIN PERFORM pg_sleep(0.003); RETURN content; END $$; \
                 ALTER TABLE messages RENAME TO messages_at_rest",
            )
            .await?;
        let columns: String = sqlx::query_scalar(
            "SELECT string_agg(CASE attname WHEN 'content' THEN 'slow(content) AS content' ELSE quote_ident(attname) END, \
                               ', ' ORDER BY attnum) \
             FROM pg_attribute WHERE attrelid = 'messages_at_rest'::regclass AND attnum > 0 AND NOT attisdropped",
        )
        .fetch_one(&stage.source)
        .await?;
        let view = format!("CREATE VIEW messages AS SELECT {columns} FROM messages_at_rest");
        stage.source.execute(sqlx::AssertSqlSafe(view)).await?;
        let answer = stage
            .tidemark_with(
                &["sync", "--local", "--json", "--tenant", "1", "--full"],
                &[("TIDEMARK_SOURCE_STATEMENT_TIMEOUT", "1s")],
            )
            .await?;
        ensure!(answer.code == 0, "{answer:?}");
        let (loaded, failures): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM conversations_analytics), \
                    (SELECT coalesce(sum(failure_count), 0)::bigint FROM etl_chunk)",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(loaded == 120 && failures == 0, "{loaded} rows, {failures} failures");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_scheduler_that_is_stopped_leaves_the_tenants_that_are_left_to_others() {
    on_stage(|stage| async move {
        // more tenants than are planned at once
        stage
            .target
            .execute(
                "INSERT INTO tenants (id, name, slug) SELECT n, 'x', 'x' || n FROM generate_series(1, 1200) n; \
                 INSERT INTO etl_watermark (tenant_id) SELECT id FROM tenants ON CONFLICT (tenant_id) DO NOTHING; \
                 INSERT INTO inbox_tenant_mapping (source, inbox_id, tenant_id) SELECT 'main', id, id FROM tenants; \
                 UPDATE etl_watermark SET next_due_at = '2000-01-01'",
            )
            .await?;
        let lifecycle = Lifecycle::new();
        lifecycle.stop();
        let scheduler = Scheduler::new(planner_in_a_hurry(&stage)?, Wakes::default());
        tokio::time::timeout(Duration::from_secs(60), scheduler.run(lifecycle))
            .await
            .context("the scheduler does not stop")?;
        let (due, planned): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE next_due_at = '2000-01-01'), \
                    count(*) FILTER (WHERE next_due_at <> '2000-01-01') FROM etl_watermark",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(planned > 0 && due > 0, "{planned} tenants were planned, {due} are left");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn runs_that_are_complete_together_are_closed_in_one_transaction() {
    on_stage(|stage| async move {
        complete_runs(&stage, 5).await?;
        let _finalizer = stage.start(&["finalizer"])?;
        stage
            .until("SELECT count(*) = 5 FROM etl_control WHERE status = 'success'")
            .await?;
        let (closed, recorded): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(DISTINCT xmin::text) FROM etl_control), \
                    (SELECT count(DISTINCT xmin::text) FROM etl_watermark WHERE checked_at IS NOT NULL)",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(
            (closed, recorded) == (1, 1),
            "{closed} and {recorded} transactions"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn plans_of_a_group_are_written_in_one_transaction_and_one_that_cannot_be_written_holds_up_no_other() {
    on_stage(|stage| async move {
        stage.sample(60, 4, 5).await?;
        stage
            .target
            .execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN RAISE EXCEPTION 'this chunk cannot be written'; END $$; \
                 CREATE TRIGGER refuse BEFORE INSERT ON etl_chunk FOR EACH ROW \
                     WHEN (NEW.tenant_id = 1) EXECUTE FUNCTION refuse(); \
                 UPDATE etl_watermark SET next_due_at = now(); UPDATE tenants SET sync_interval = '1 hour'",
            )
            .await?;
        let _producer = stage.start(&["producer"])?;
        let planned = "SELECT count(DISTINCT tenant_id) = 3 FROM etl_chunk WHERE tenant_id > 1";
        stage.until(planned).await?;
        // without the trigger the whole group is written at once
        stage
            .target
            .execute(
                "DROP TRIGGER refuse ON etl_chunk; DELETE FROM etl_chunk; DELETE FROM etl_control; \
                 UPDATE etl_watermark SET next_due_at = now()",
            )
            .await?;
        stage
            .until("SELECT count(DISTINCT tenant_id) = 4 FROM etl_chunk")
            .await?;
        let transactions: i64 = sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM etl_control")
            .fetch_one(&stage.target)
            .await?;
        ensure!(transactions == 1, "{transactions} transactions");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_failing_tenant_whose_plan_hangs_delays_no_other() {
    on_stage(|stage| async move {
        stage.sample(60, 4, 5).await?;
        stage.sync_local(&["--all"]).await?;
        stage
            .source
            .execute(
                "CREATE FUNCTION slow() RETURNS bigint LANGUAGE plpgsql COST 100000 AS \
                     $$ BEGIN PERFORM pg_sleep(600); RETURN 1; END $$; \
                 ALTER TABLE conversations RENAME TO conversations_at_rest; \
                 CREATE VIEW conversations AS SELECT * FROM conversations_at_rest WHERE account_id <> 1 OR slow() = 1",
            )
            .await?;
        stage
            .target
            .execute(
                "UPDATE tenants SET sync_interval = '1 second'; \
                 UPDATE etl_watermark SET next_due_at = now(), consecutive_failures = (tenant_id = 1)::integer",
            )
            .await?;
        let _producer = stage.start(&["producer"])?;
        let hangs = "SELECT count(*) = 1 FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name = 'tidemark plan tenant 1'";
        stage.until_source(hangs).await?;
        for _ in 0..2 {
            stage
                .target
                .execute("UPDATE etl_watermark SET checked_at = NULL")
                .await?;
            stage
                .until("SELECT count(*) = 3 FROM etl_watermark WHERE tenant_id > 1 AND checked_at IS NOT NULL")
                .await?;
        }
        let still_hangs: bool = sqlx::query_scalar(hangs).fetch_one(&stage.source).await?;
        ensure!(still_hangs, "the plan of tenant 1 has ended: nothing was shown");
        Ok(())
    })
    .await;
}
