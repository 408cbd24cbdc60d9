//! Row-level security: what each role may see and write.

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::stage::{Stage, on_stage};

/// Counts rows as a role, with this tenant setting.
async fn count_as(stage: &Stage, role: &str, setting: Option<&str>, from: &str) -> Result<i64> {
    let mut tx = stage.target.begin().await?;
    tx.execute(AssertSqlSafe(format!("SET LOCAL ROLE {role}")))
        .await?;
    if let Some(setting) = setting {
        sqlx::query("SELECT set_config('app.current_tenant_id', $1, true)")
            .bind(setting)
            .execute(&mut *tx)
            .await?;
    }
    Ok(
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {from}")))
            .fetch_one(&mut *tx)
            .await?,
    )
}

async fn sqlstate_of(connection: &mut PgConnection, statement: &'static str) -> String {
    match connection.execute(statement).await {
        Ok(_) => "none".to_owned(),
        Err(error) => error
            .as_database_error()
            .and_then(|error| error.code())
            .unwrap_or_default()
            .into_owned(),
    }
}

#[tokio::test]
async fn every_role_sees_the_tenant_of_the_setting_only_and_nothing_without_it() {
    on_stage(|stage| async move {
        let tenants = stage.sample(200, 2, 3).await?;
        stage.sync_local(&["--all"]).await?;
        let of = |tenant: i32| {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1")
                .bind(tenant)
                .fetch_one(&stage.target)
        };
        let (first, second) = (of(tenants[0]).await?, of(tenants[1]).await?);
        ensure!(first > 0 && second > 0, "both tenants have rows");
        for role in ["etl_service", "authenticated_users"] {
            for view in ["conversations_analytics", "conversations_analytics_live"] {
                ensure!(
                    count_as(&stage, role, Some("1"), view).await? == first,
                    "{role} {view}"
                );
                ensure!(
                    count_as(&stage, role, Some("2"), view).await? == second,
                    "{role} {view}"
                );
                for nobody in [None, Some(""), Some("x"), Some("1 OR true"), Some("99")] {
                    ensure!(
                        count_as(&stage, role, nobody, view).await? == 0,
                        "{role} {view} {nobody:?}"
                    );
                }
            }
        }
        ensure!(
            count_as(&stage, "admin_users", None, "conversations_analytics_live").await? == first + second,
            "admin"
        );
        ensure!(
            count_as(&stage, "authenticated_users", Some("2"), "etl_control").await? == 1,
            "own run"
        );
        ensure!(
            count_as(&stage, "etl_service", None, "etl_watermark").await? == 2,
            "all watermarks"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_row_of_another_tenant_cannot_be_written() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 3).await?;
        stage.sync_local(&["--all"]).await?;
        let mut tx = stage.target.begin().await?;
        tx.execute("SET LOCAL ROLE etl_service; SELECT set_config('app.current_tenant_id', '1', true)")
            .await?;
        let stolen = "UPDATE conversations_analytics SET tenant_id = 2";
        ensure!(
            sqlstate_of(&mut tx, stolen).await == "42501",
            "a row was given away"
        );
        tx.rollback().await?;

        let mut tx = stage.target.begin().await?;
        tx.execute("SET LOCAL ROLE etl_service; SELECT set_config('app.current_tenant_id', '2', true)")
            .await?;
        let touched = tx
            .execute("UPDATE conversations_analytics SET status = 9")
            .await?
            .rows_affected();
        ensure!(touched == 0, "{touched} rows of another tenant were changed");
        tx.rollback().await?;

        let mut tx = stage.target.begin().await?;
        tx.execute(
            "SET LOCAL ROLE authenticated_users; SELECT set_config('app.current_tenant_id', '1', true)",
        )
        .await?;
        let state = sqlstate_of(&mut tx, "UPDATE conversations_analytics SET status = 9").await;
        ensure!(state == "42501", "a reader could write: {state}");
        Ok::<(), anyhow::Error>(())
    })
    .await;
}

#[tokio::test]
async fn the_processes_act_as_the_service_role() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 3).await?;
        // the rows do not show which role wrote them, so a trigger records it
        stage
            .target
            .execute(
                "CREATE TABLE wrote (role name, tenant text); GRANT INSERT ON wrote TO etl_service; \
                 CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 INSERT INTO wrote VALUES (current_user, current_setting('app.current_tenant_id', true)); RETURN NULL; END $$; \
                 CREATE TRIGGER note AFTER INSERT ON conversations_analytics FOR EACH STATEMENT EXECUTE FUNCTION note()",
            )
            .await?;
        stage.sync_local(&["--all"]).await?;
        stage.until("SELECT bool_and(role = 'etl_service' AND tenant = '1') FROM wrote").await
    })
    .await;
}
