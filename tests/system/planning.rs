//! Tenants of one source planned together: each gets the same plan as alone, one tenant's failure fails no other, and
//! an unchanged target is not read again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Executor};
use tidemark_ledger::tenant::list_to_plan;
use tidemark_producer::planning::plan::{Plan, Planned};
use tidemark_producer::planning::planner::Planner;
use tidemark_runtime::config::Settings;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_source::Sources;

use crate::stage::{Stage, on_stage};

const VIEW: &str = "vw_conversations_analytics_final";

fn planner(stage: &Stage, view: Option<&str>) -> Result<Planner> {
    let source = stage.url("source");
    let settings = Settings::load_with(None, |name| match (name, view) {
        ("TIDEMARK_SOURCE_URL", _) => Some(source.clone()),
        ("TIDEMARK_SOURCE_MODE", Some(_)) => Some("view".to_owned()),
        ("TIDEMARK_SOURCE_VIEW", view) => view.map(str::to_owned),
        _ => None,
    })?;
    Ok(Planner {
        db: stage.db(),
        sources: Arc::new(Sources::new(&settings, "test")?),
        settings: settings.producer,
    })
}

async fn plan_together(stage: &Stage, planner: &Planner, tenants: &[i32]) -> Result<Vec<Planned>> {
    let ids: Vec<TenantId> = tenants.iter().copied().map(TenantId).collect();
    let ready = list_to_plan(&stage.target, &ids).await?;
    let mut planned = planner.plan_together("main", ready).await;
    planned.sort_by_key(|(tenant, _)| tenant.id);
    Ok(planned)
}

/// The parts of a plan that must not depend on the other tenants.
fn describe<E: std::fmt::Display>(plan: Result<&Plan, E>) -> String {
    match plan {
        Ok(plan) => format!(
            "{:?} {:?} {:?} from {:?}, {} renamed, {:?}",
            plan.run_type,
            plan.chunks,
            plan.record.signals,
            plan.record.watermark_start,
            plan.renamed_count(),
            plan.record.warnings,
        ),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn tenants_planned_together_get_the_plans_that_they_get_alone() {
    for (view, digest_interval) in [(None, 0), (Some(VIEW), 0), (None, 3600)] {
        on_stage(|stage| async move {
            let mut tenants = stage.sample(600, 5, 61).await?;
            // tenant 6 shares the account of tenant 1, and tenant 7 has no inbox
            let shared: i32 = sqlx::query_scalar("SELECT max(id) FROM inboxes WHERE account_id = 1")
                .fetch_one(&stage.source)
                .await?;
            stage.target.execute("DELETE FROM inbox_tenant_mapping WHERE tenant_id = 1").await?;
            let rest: Vec<i32> = sqlx::query_scalar("SELECT id FROM inboxes WHERE account_id = 1 AND id < $1")
                .bind(shared)
                .fetch_all(&stage.source)
                .await?;
            ensure!(!rest.is_empty(), "account 1 has one inbox only");
            let added = ["tenant", "add", "--id", "7", "--name", "Nothing mapped"];
            stage.tidemark(&added).await?;
            stage.tenant(6, "UTC", &[shared]).await?;
            let map = rest.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            stage.tidemark(&["inbox", "map", "--tenant", "1", "--inbox", &map]).await?;
            tenants.extend([6, 7]);

            let mode = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
            let settings = if view.is_some() { mode.as_slice() } else { &[] };
            for tenant in ["1", "2", "3", "4", "6"] {
                let synced = stage.tidemark_with(&["sync", "--local", "--tenant", tenant], settings).await?;
                ensure!(synced.code == 0, "{synced:?}");
            }
            // tenant 5 has no watermark yet; the others have watermarks and lookbacks of their own
            stage
                .target
                .execute(
                    "UPDATE tenants SET lookback = make_interval(mins => id), chunk_size = 10 + id; \
                     UPDATE etl_watermark SET watermark = watermark - make_interval(hours => tenant_id * tenant_id)",
                )
                .await?;
            let options = tidemark_sample::TrafficOptions {
                rate_per_second: 0.0,
                count: Some(250),
                seed: 7,
                ..tidemark_sample::TrafficOptions::default()
            };
            let stop = tokio_util::sync::CancellationToken::new();
            tidemark_sample::traffic(&stage.url("source"), &options, stop).await?;
            for change in [
                // before the lookback of some of the tenants
                "UPDATE messages SET content = content || '!', updated_at = now() AT TIME ZONE 'UTC' - interval '5 hours' \
                 WHERE id % 40 = 0",
                "UPDATE contacts SET name = 'Outro', updated_at = now() AT TIME ZONE 'UTC' - interval '3 hours' WHERE id % 10 = 0",
                "UPDATE contacts SET name = 'Sempre', updated_at = 'infinity' WHERE id % 25 = 1",
                "UPDATE csat_survey_responses SET rating = 1, updated_at = now() AT TIME ZONE 'UTC' - interval '10 hours'",
                "UPDATE users SET name = name || ' Silva', updated_at = now() AT TIME ZONE 'UTC' - interval '2 hours' WHERE id % 3 = 0",
                "UPDATE inboxes SET name = 'Front desk', updated_at = now() AT TIME ZONE 'UTC' WHERE account_id <= 2",
                "UPDATE conversations SET priority = 3 WHERE id % 50 = 7",
                // more than the guard allows
                "DELETE FROM conversations WHERE account_id = 2",
            ] {
                stage.source.execute(change).await?;
            }

            // some plans compare digests, some go by times
            stage
                .target
                .execute(
                    "UPDATE etl_watermark SET digests_compared_at = digests_compared_at - interval '1 hour' \
                     WHERE tenant_id % 2 = 0",
                )
                .await?;
            let mut planner = planner(&stage, view)?;
            planner.settings.digest_interval = Duration::from_secs(digest_interval);
            let together = plan_together(&stage, &planner, &tenants).await?;
            ensure!(together.len() == tenants.len(), "{} plans", together.len());
            let mut keys = 0;
            for (tenant, plan) in &together {
                let alone = planner.plan(tenant, RunType::Incremental, &RunRequest::default()).await;
                let (together, alone) = (describe(plan.as_ref()), describe(alone.as_ref()));
                ensure!(together == alone, "tenant {}\n{together}\n{alone}", tenant.id);
                if let Ok(plan) = plan {
                    keys += plan.chunks.len();
                    let compares = digest_interval == 0 || tenant.id.0 % 2 == 0 || plan.run_type == RunType::Full;
                    ensure!(plan.record.compares_digests == compares, "tenant {}", tenant.id);
                    ensure!((plan.run_type == RunType::Full) == (tenant.id.0 == 5), "{together}");
                }
            }
            ensure!(keys > 0, "nothing was planned");
            let failed: Vec<i32> = together
                .iter()
                .filter(|(_, plan)| plan.is_err())
                .map(|(tenant, _)| tenant.id.0)
                .collect();
            ensure!(failed == [2, 7], "{failed:?} failed");
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_statement_that_fails_for_one_tenant_does_not_fail_those_beside_it() {
    on_stage(|stage| async move {
        let tenants = stage.sample(300, 5, 63).await?;
        // a tenant's first plan needs fewer statements
        stage.sync_local(&["--all"]).await?;
        let broken = format!(
            "CREATE FUNCTION refuse(account integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql \
                 AS $$ BEGIN RAISE 'not this one'; END $$; \
             CREATE VIEW broken AS SELECT conversation_id, inbox_id, conversation_created_at, \
                 conversation_updated_at + make_interval(secs => CASE account_id WHEN 3 THEN refuse(account_id) ELSE 0 END) \
                     AS conversation_updated_at, \
                 message_compiled FROM {VIEW}"
        );
        stage.source.execute(AssertSqlSafe(broken)).await?;
        let planner = planner(&stage, Some("broken"))?;
        let planned = plan_together(&stage, &planner, &tenants).await?;
        for (tenant, plan) in planned {
            let fails = plan.is_err();
            ensure!(
                fails == (tenant.id.0 == 3),
                "tenant {}: {}",
                tenant.id,
                describe(plan.as_ref())
            );
        }
        Ok(())
    })
    .await;
}

/// Waits until the scheduler has checked every tenant once.
async fn check_every_tenant(stage: &Stage) -> Result<()> {
    stage
        .target
        .execute("UPDATE etl_watermark SET checked_at = NULL, next_due_at = now()")
        .await?;
    stage
        .until("SELECT bool_and(checked_at IS NOT NULL) FROM etl_watermark")
        .await
}

/// Tenants that two checks of the scheduler have found unchanged.
async fn idle_tenants(stage: &Stage) -> Result<Vec<i32>> {
    let tenants = stage.sample(300, 3, 67).await?;
    stage.sync_local(&["--all"]).await?;
    let producer = stage.start(&["producer"])?;
    for _ in 0..2 {
        check_every_tenant(stage).await?;
    }
    producer.stop().await?;
    let (runs, agreements, audits): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM etl_control), (SELECT count(*) FROM etl_agreement), \
                (SELECT count(*) FROM etl_watermark_audit a JOIN etl_watermark w USING (tenant_id) \
                 WHERE a.run_id IS NULL AND a.new = w.watermark)",
    )
    .fetch_one(&stage.target)
    .await?;
    ensure!(
        (runs, agreements, audits) == (3, 3, 3),
        "{runs} runs, {agreements} agreements, {audits} audit rows of the watermarks"
    );
    Ok(tenants)
}

/// Changes after which matched totals are no longer valid, each with the statement that takes it back.
const INVALIDATES: [(&str, &str); 7] = [
    (
        "UPDATE tenants SET mapping_version = mapping_version + 1",
        "UPDATE tenants SET mapping_version = mapping_version - 1",
    ),
    (
        "UPDATE etl_agreement SET agreed_at = agreed_at - interval '61 minutes'",
        "UPDATE etl_agreement SET agreed_at = agreed_at + interval '61 minutes'",
    ),
    (
        "UPDATE etl_agreement SET digest = digest + 1",
        "UPDATE etl_agreement SET digest = digest - 1",
    ),
    // a run that was opened again and has ended again
    (
        "UPDATE etl_control SET finished_at = finished_at + interval '1 minute'",
        "UPDATE etl_control SET finished_at = finished_at - interval '1 minute'",
    ),
    (
        "INSERT INTO etl_control (tenant_id, type, triggered_by) SELECT id, 'resync', 'test' FROM tenants",
        "DELETE FROM etl_control WHERE triggered_by = 'test'",
    ),
    (
        "INSERT INTO etl_control (tenant_id, type, triggered_by, status, finished_at) \
         SELECT id, 'resync', 'test', 'success', '2020-01-01' FROM tenants",
        "DELETE FROM etl_control WHERE triggered_by = 'test'",
    ),
    (
        "INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, error) \
         SELECT id, 0, 1, 1, 'target', 'a test' FROM tenants",
        "DELETE FROM etl_rejected_row",
    ),
];

#[tokio::test]
async fn the_target_of_an_idle_tenant_is_read_again_when_anything_can_have_changed_it() {
    on_stage(|stage| async move {
        let tenants = idle_tenants(&stage).await?;
        // only an operator changes rows like this; only a plan that reads the target finds it
        stage
            .target
            .execute("UPDATE conversations_analytics SET source_digest = source_digest + 1 WHERE conversation_id <= 40")
            .await?;
        let planner = planner(&stage, None)?;
        let keys = async || -> Result<usize> {
            let mut keys = 0;
            for (_, plan) in plan_together(&stage, &planner, &tenants).await? {
                keys += plan?.chunks.iter().map(|chunk| chunk.key_count).sum::<i64>();
            }
            Ok(usize::try_from(keys)?)
        };
        ensure!(keys().await? == 0, "the target was read");
        for (change, back) in INVALIDATES {
            stage.target.execute(change).await?;
            ensure!(keys().await? >= 40, "the target was not read after {change}");
            stage.target.execute(back).await?;
            ensure!(keys().await? == 0, "the target was read after {back}");
        }
        // `plan` and a requested run always read the target
        let shown = stage.tidemark(&["plan", "--tenant", "1", "--json"]).await?;
        ensure!(shown.json()["signals"]["digest"].as_i64() > Some(0), "{shown:?}");
        let runs = stage.sync_local(&["--all"]).await?;
        let found: i64 = runs
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|run| run["signals"]["digest"].as_i64())
            .sum();
        ensure!(found == 40, "{runs:#}");
        stage.assert_equal(&tenants).await
    })
    .await;
}

#[tokio::test]
async fn no_match_is_recorded_while_a_chunk_of_an_ended_run_may_still_arrive() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 71).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .target
            .execute(
                "UPDATE etl_control SET status = 'cancelled'; \
                 UPDATE etl_chunk SET status = 'running', finished_at = NULL, lease_until = now() + interval '1 hour'",
            )
            .await?;
        let producer = stage.start(&["producer"])?;
        let agreements = async || -> Result<i64> {
            check_every_tenant(&stage).await?;
            Ok(sqlx::query_scalar("SELECT count(*) FROM etl_agreement")
                .fetch_one(&stage.target)
                .await?)
        };
        ensure!(agreements().await? == 0, "its rows are not there yet");
        stage
            .target
            .execute("UPDATE etl_chunk SET status = 'cancelled', finished_at = now(), lease_until = NULL")
            .await?;
        ensure!(agreements().await? == 1, "nothing can arrive any more");
        producer.stop().await
    })
    .await;
}
