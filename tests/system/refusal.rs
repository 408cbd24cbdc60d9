//! Processes check the isolation of tenants before they start, and refuse to run without it.

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Executor};
use tidemark_ledger::connect::pool;
use tidemark_ledger::isolation::{Finding, check};
use tidemark_net::url::ServerUrl;
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::DatabasePooler;

use crate::stage::{Stage, on_stage};

/// The database as processes see it.
async fn as_processes(stage: &Stage) -> Result<DbPool> {
    Ok(pool(
        &ServerUrl::from(stage.url("target")),
        "worker",
        2,
        DatabasePooler::None,
    )
    .await?)
}

async fn findings(stage: &Stage) -> Result<Vec<Finding>> {
    let db = as_processes(stage).await?;
    let found = check(&db).await?;
    db.connections().close().await;
    Ok(found)
}

#[tokio::test]
async fn no_process_runs_on_a_login_that_row_level_security_does_not_bind() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 5).await?;
        let owner = stage.owner_url("target");
        let superuser = [("TIDEMARK_DATABASE_URL", owner.as_str())];
        for process in [
            &["worker"][..],
            &["producer"],
            &["finalizer"],
            &["up"],
            &["sync", "--local", "--all"],
        ] {
            let refused = stage.tidemark_with(process, &superuser).await?;
            ensure!(refused.code == 78, "{process:?}: {refused:?}");
            for said in ["is a superuser", "GRANT etl_service TO tidemark"] {
                ensure!(refused.stderr.contains(said), "{process:?}: {refused:?}");
            }
        }
        let nothing: bool = sqlx::query_scalar("SELECT NOT EXISTS (SELECT FROM etl_control)")
            .fetch_one(&stage.target)
            .await?;
        ensure!(nothing, "something was begun");

        let login = stage.login();
        let bypass = format!("ALTER ROLE {login} BYPASSRLS");
        stage.target.execute(AssertSqlSafe(bypass)).await?;
        let refused = stage.tidemark(&["worker"]).await?;
        let mend = format!("ALTER ROLE {login} NOBYPASSRLS;");
        ensure!(
            refused.code == 78 && refused.stderr.contains(&mend),
            "{refused:?}"
        );
        stage.target.execute(AssertSqlSafe(mend)).await?;
        stage.sync_local(&["--all"]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Changes that somebody may have made to the database, and a part of the refusal.
const DAMAGE: [(&str, &str); 10] = [
    (
        "ALTER TABLE etl_chunk NO FORCE ROW LEVEL SECURITY",
        "not forced on etl_chunk",
    ),
    (
        "ALTER TABLE conversations_analytics DISABLE ROW LEVEL SECURITY",
        "off on conversations_analytics",
    ),
    ("ALTER TABLE tenants DISABLE ROW LEVEL SECURITY", "off on tenants"),
    (
        "ALTER TABLE etl_name DISABLE ROW LEVEL SECURITY",
        "off on etl_name",
    ),
    (
        "CREATE POLICY \"odd one\" ON conversations_analytics USING (true)",
        "the policy \"odd one\"",
    ),
    (
        "ALTER POLICY service ON conversations_analytics TO PUBLIC",
        "the policy service",
    ),
    (
        "ALTER POLICY service ON conversations_analytics USING (true)",
        "rows of other tenants are seen",
    ),
    (
        "ALTER POLICY service ON conversations_analytics WITH CHECK (true)",
        "a row can be written for another tenant",
    ),
    (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.current_tenant_id = 1', current_database()); END $$",
        "before anybody sets it",
    ),
    (
        "GRANT INSERT ON etl_rejected_row TO authenticated_users",
        "authenticated_users may write etl_rejected_row",
    ),
];

#[tokio::test]
async fn what_lets_tenants_reach_each_other_is_found_and_fixed_by_the_statement_of_the_error() {
    on_stage(|stage| async move {
        stage.sample(50, 2, 5).await?;
        stage.sync_local(&["--all"]).await?;
        ensure!(findings(&stage).await?.is_empty(), "{:#?}", findings(&stage).await?);
        let rows = "SELECT md5(string_agg(a::text, ' ' ORDER BY tenant_id, conversation_id)) FROM conversations_analytics a";
        let before: String = sqlx::query_scalar(rows).fetch_one(&stage.target).await?;
        for (damage, said) in DAMAGE {
            stage.target.execute(damage).await?;
            let found = findings(&stage).await?;
            ensure!(
                found.iter().any(|finding| finding.problem.to_string().contains(said)),
                "{damage}: {found:#?}"
            );
            ensure!(
                found.iter().all(|finding| finding.stops_start) || said.contains("may write"),
                "{damage}: {found:#?}"
            );
            for finding in found {
                stage
                    .target
                    .execute(AssertSqlSafe(finding.fix.clone()))
                    .await
                    .with_context(|| format!("{damage}: {finding:?}"))?;
            }
            let left = findings(&stage).await?;
            ensure!(left.is_empty(), "{damage}: {left:#?}");
        }
        let after: String = sqlx::query_scalar(rows).fetch_one(&stage.target).await?;
        ensure!(before == after, "the check has changed something");
        Ok(())
    })
    .await;
}

/// A constraint of the operator's own rejects the probe's row; the probe's answer stays the same.
#[tokio::test]
async fn a_probe_whose_row_is_refused_still_shows_whether_other_tenants_are_reached() {
    on_stage(|stage| async move {
        stage
            .target
            .execute("ALTER TABLE conversations_analytics ADD CHECK (conversation_id > 0)")
            .await?;
        ensure!(
            findings(&stage).await?.is_empty(),
            "{:#?}",
            findings(&stage).await?
        );
        stage
            .target
            .execute("ALTER POLICY service ON conversations_analytics WITH CHECK (true)")
            .await?;
        let found = findings(&stage).await?;
        ensure!(
            found.len() == 1
                && found[0]
                    .problem
                    .to_string()
                    .contains("written for another tenant"),
            "{found:#?}"
        );
        let refused = stage.tidemark(&["finalizer"]).await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains("CREATE POLICY service"),
            "{refused:?}"
        );
        Ok(())
    })
    .await;
}

/// Trap 25. `config::limits` has every setting and its range; here processes and commands refuse values outside it.
#[tokio::test]
async fn a_setting_at_its_edge_is_refused_at_the_start_with_its_range() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 133).await?;
        for (variable, value, setting, range) in [
            ("TIDEMARK_WORKER_LEASE", "0s", "worker.lease", "from 1s to 1h"),
            (
                "TIDEMARK_WORKER_CONCURRENCY",
                "-1",
                "worker.concurrency",
                "from 1 to 256",
            ),
            (
                "TIDEMARK_PRODUCER_TICK",
                "999999999999days",
                "producer.tick",
                "from 10ms to 1day",
            ),
            (
                "TIDEMARK_PRODUCER_MAX_LOST",
                "0",
                "producer.max_lost",
                "from 1 to 1000",
            ),
        ] {
            for process in [
                &["worker"][..],
                &["up"],
                &["sync", "--local", "--all"],
                &["status"],
            ] {
                let refused = stage.tidemark_with(process, &[(variable, value)]).await?;
                ensure!(refused.code == 78, "{process:?}: {refused:?}");
                for said in [variable, setting, value, range] {
                    ensure!(refused.stderr.contains(said), "{process:?}: {refused:?}");
                }
            }
        }
        for (args, range) in [
            (&["sync", "--tenant", "1", "--chunk-size", "0"][..], "50000"),
            (&["worker", "--concurrency", "0"], "256"),
            (&["up", "--workers", "100000"], "256"),
            (
                &["tenant", "set", "--tenant", "1", "--max-in-flight", "0"],
                "1000",
            ),
            (
                &["tenant", "set", "--tenant", "1", "--sync-interval", "0s"],
                "from 1s to 365days",
            ),
            (
                &["tenant", "set", "--tenant", "1", "--sync-interval", "99999years"],
                "from 1s to 365days",
            ),
            (
                &["tenant", "set", "--tenant", "1", "--verify-interval", "0s"],
                "or `off`",
            ),
            (&["watermark", "show", "--behind", "99999years"], "to 36500days"),
            (
                &["run", "list", "--since", "99999years"],
                "more than 100 years ago",
            ),
        ] {
            let refused = stage.tidemark(args).await?;
            ensure!(
                refused.code == 64 && refused.stderr.contains(range),
                "{args:?}: {refused:?}"
            );
        }
        // values that bypass the commands violate the ledger's constraints
        for change in [
            "chunk_size = 0",
            "chunk_size = 50001",
            "max_in_flight = 0",
            "max_in_flight = 1001",
            "sync_interval = '0'",
            "sync_interval = '1000 years'",
            "verify_interval = '-1 s'",
            "verify_interval = '1000 years'",
            "lookback = '-1 s'",
            "lookback = '1000 years'",
        ] {
            let change = AssertSqlSafe(format!("UPDATE tenants SET {change}"));
            let error = stage.target.execute(change).await.err();
            let is_check = error
                .as_ref()
                .and_then(|error| error.as_database_error())
                .is_some_and(|error| error.is_check_violation());
            ensure!(is_check, "{error:?}");
        }
        Ok(())
    })
    .await;
}
