//! The planner's statistics of the target after a tenant's first full run. Autovacuum is off for the table.

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Executor};
use tidemark_ledger::target::{Analysis, analyze_after_first_run};

use crate::stage::{Stage, on_stage};

/// The target cannot be analyzed by accident, and the login of the processes is not its owner.
async fn without_autovacuum(stage: &Stage) -> Result<bool> {
    stage
        .target
        .execute("ALTER TABLE conversations_analytics SET (autovacuum_enabled = off)")
        .await?;
    let number: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::integer")
        .fetch_one(&stage.target)
        .await?;
    Ok(number >= 170_000)
}

/// How many rows the planner knows, and how often the table was analyzed.
async fn known(stage: &Stage) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "SELECT greatest(c.reltuples, 0)::bigint, s.analyze_count FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid \
         WHERE c.oid = 'conversations_analytics'::regclass",
    )
    .fetch_one(&stage.target)
    .await?)
}

async fn own(stage: &Stage) -> Result<()> {
    let own = format!("ALTER TABLE conversations_analytics OWNER TO {}", stage.login());
    Ok(stage.target.execute(AssertSqlSafe(own)).await.map(drop)?)
}

#[tokio::test]
async fn a_first_full_run_leaves_statistics_where_the_login_may_and_breaks_nothing_where_it_may_not() {
    on_stage(|stage| async move {
        stage.sample(240, 3, 211).await?;
        if without_autovacuum(&stage).await? {
            stage
                .target
                .execute("REVOKE MAINTAIN ON conversations_analytics FROM etl_service")
                .await?;
        }
        let first = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(known(&stage).await? == (0, 0), "the login may not analyze");
        // more changes than plans can do without statistics
        let rows = first["records"]["inserted"].as_i64().unwrap_or_default();
        ensure!(rows > 0, "{first:#}");
        for _ in 0..=10_000 / rows {
            stage.target.execute("UPDATE conversations_analytics SET etl_run_id = etl_run_id").await?;
        }
        stage
            .until("SELECT n_mod_since_analyze > 10000 FROM pg_stat_all_tables WHERE relid = 'conversations_analytics'::regclass")
            .await?;
        let doctor = stage.tidemark(&["doctor"]).await?;
        ensure!(
            doctor.stdout.contains("ANALYZE public.conversations_analytics;"),
            "{doctor:?}"
        );

        own(&stage).await?;
        let second = stage.sync_local(&["--tenant", "2"]).await?;
        stage
            .until("SELECT analyze_count = 1 FROM pg_stat_all_tables WHERE relid = 'conversations_analytics'::regclass")
            .await?;
        let both = rows + second["records"]["inserted"].as_i64().unwrap_or_default();
        ensure!(known(&stage).await?.0 == both, "{:?}, not {both}", known(&stage).await?);
        // neither a later run nor a tenant of a few rows repeats it
        stage.sync_local(&["--tenant", "2", "--full"]).await?;
        ensure!(known(&stage).await?.1 == 1, "analyzed again");
        stage.assert_equal(&[1, 2]).await
    })
    .await;
}

/// Rows that statements have looked at in the target so far, by any index or none.
async fn rows_looked_at(stage: &Stage) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE relid = t.relid)::bigint + t.seq_tup_read \
         FROM pg_stat_all_tables t WHERE t.relid = 'conversations_analytics'::regclass",
    )
    .fetch_one(&stage.target)
    .await?)
}

#[tokio::test]
async fn syncs_into_a_target_without_statistics_read_no_tenant_once_for_each_chunk() {
    on_stage(|stage| async move {
        stage.sample(1_500, 1, 214).await?;
        if without_autovacuum(&stage).await? {
            stage
                .target
                .execute("REVOKE MAINTAIN ON conversations_analytics FROM etl_service")
                .await?;
        }
        let full = ["--tenant", "1", "--full", "--chunk-size", "50"];
        let first = stage.sync_local(&full).await?;
        ensure!(first["records"]["inserted"] == 1_500, "{first:#}");
        ensure!(known(&stage).await? == (0, 0), "the login may not analyze");
        let after_first = rows_looked_at(&stage).await?;
        let again = stage.sync_local(&full).await?;
        ensure!(again["records"]["unchanged"] == 1_500, "{again:#}");
        let after_again = rows_looked_at(&stage).await?;
        stage
            .source
            .execute("UPDATE conversations SET priority = 3, updated_at = now() WHERE id % 2 = 0")
            .await?;
        let changed = stage.sync_local(&["--tenant", "1", "--chunk-size", "10"]).await?;
        ensure!(
            changed["records"]["updated"].as_i64() > Some(700)
                && changed["chunks"]["total"].as_i64() > Some(70),
            "{changed:#}"
        );
        let after_changed = rows_looked_at(&stage).await?;
        // a plan reads the tenant's rows; then a chunk reads its own for what it leaves out, for what is gone, to lock them, and once
        // more before it commits
        for (sync, looked_at) in [
            ("first", after_first),
            ("again", after_again - after_first),
            ("changed", after_changed - after_again),
        ] {
            ensure!(looked_at < 15_000, "{sync}: {looked_at} rows");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn several_finalizers_analyze_once_and_hold_up_no_run() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 212).await?;
        if !without_autovacuum(&stage).await? {
            own(&stage).await?;
        }
        // an ANALYZE of somebody else that takes long
        let mut other = stage.target.begin().await?;
        other.execute("LOCK TABLE conversations_analytics IN SHARE UPDATE EXCLUSIVE MODE").await?;
        let fleet = stage.fleet(&["producer", "worker", "finalizer", "finalizer"])?;
        fleet.until_started().await?;
        stage.ask_full("50").await?;
        stage.until("SELECT bool_and(status = 'success') FROM etl_control").await?;
        let busy = analyze_after_first_run(&stage.db()).await?;
        ensure!(busy == Analysis::Busy, "{busy:?}");
        other.rollback().await?;
        let (first, second, third) = (stage.db(), stage.db(), stage.db());
        let outcomes = tokio::try_join!(
            analyze_after_first_run(&first),
            analyze_after_first_run(&second),
            analyze_after_first_run(&third)
        )?;
        let done = [outcomes.0, outcomes.1, outcomes.2].iter().filter(|one| **one == Analysis::Done).count();
        ensure!(done <= 1, "{outcomes:?}");
        stage
            .until("SELECT analyze_count >= 1 FROM pg_stat_all_tables WHERE relid = 'conversations_analytics'::regclass")
            .await?;
        let last = analyze_after_first_run(&stage.db()).await?;
        ensure!(last == Analysis::NotNeeded, "{last:?}");
        ensure!(known(&stage).await? == (120, 1), "{:?}", known(&stage).await?);
        fleet.stop().await
    })
    .await;
}

#[tokio::test]
async fn the_finalizer_analyzes_after_the_first_full_run_of_a_tenant() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 213).await?;
        if !without_autovacuum(&stage).await? {
            own(&stage).await?;
        }
        let fleet = stage.fleet(&["up"])?;
        fleet.until_started().await?;
        stage.ask_full("50").await?;
        stage
            .until("SELECT analyze_count = 1 FROM pg_stat_all_tables WHERE relid = 'conversations_analytics'::regclass")
            .await?;
        ensure!(known(&stage).await? == (120, 1), "{:?}", known(&stage).await?);
        fleet.stop().await
    })
    .await;
}
