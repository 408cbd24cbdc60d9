//! SQL that tries to leave the tenant of a bound login.

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use super::{bind, connect, unbind};
use crate::stage::{Stage, on_stage};

/// What the login reads with a tenant in its rows.
const RELATIONS: [&str; 10] = [
    "conversations_analytics",
    "conversations_analytics_live",
    "messages_live",
    "reporting_events_live",
    "conversation_change",
    "conversation_daily",
    "etl_control",
    "etl_watermark",
    "run_as_owner",
    "report()",
];

/// Statements that are allowed, and after which every row is still of the tenant. `{login}` is the login itself.
const HARMLESS: [&str; 19] = [
    "SET app.current_tenant_id = '2'",
    "SELECT set_config('app.current_tenant_id', '2', false)",
    "BEGIN; SET LOCAL app.current_tenant_id = '2'",
    "SET ROLE authenticated_users; SET app.current_tenant_id = '2'",
    "SET ROLE bound_users; SET app.current_tenant_id = '2'; RESET ROLE",
    "SET SESSION AUTHORIZATION DEFAULT; SET app.current_tenant_id = '2'",
    "ALTER ROLE {login} SET role = 'authenticated_users'",
    // temporary objects come first in the path of whoever asks
    "CREATE TEMP TABLE tenant_login (login name, tenant_id integer); INSERT INTO tenant_login VALUES (session_user, 2)",
    "CREATE TEMP VIEW tenant_login AS SELECT session_user AS login, 2 AS tenant_id",
    "CREATE TEMP TABLE pg_auth_members (roleid oid, member oid, admin_option boolean)",
    "CREATE FUNCTION pg_temp.app_current_tenant_id() RETURNS integer LANGUAGE sql AS 'SELECT 2'; SET search_path = pg_temp, public",
    "CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$SELECT '2'$$; SET search_path = pg_temp, public, pg_catalog",
    "CREATE FUNCTION pg_temp.same(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
     CREATE OPERATOR pg_temp.= (LEFTARG = name, RIGHTARG = name, FUNCTION = pg_temp.same); SET search_path = pg_temp, public, pg_catalog",
    "CREATE FUNCTION pg_temp.text(name) RETURNS text LANGUAGE sql AS $$SELECT 'postgres'$$; SET search_path = pg_temp, public, pg_catalog",
    // plans that were made before
    "PREPARE seen AS SELECT count(*) FROM conversations_analytics; EXECUTE seen; SET app.current_tenant_id = '2'; EXECUTE seen",
    "SET plan_cache_mode = force_generic_plan; SET app.current_tenant_id = '2'",
    // plans of other shapes
    "SET enable_indexscan = off; SET enable_bitmapscan = off; SET app.current_tenant_id = '2'",
    "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET app.current_tenant_id = '2'",
    "SET default_transaction_read_only = off; SET statement_timeout = 0; SET app.current_tenant_id = '2'",
];

/// Statements that are refused, with the SQLSTATE.
const REFUSED: [(&str, &str); 38] = [
    ("ALTER ROLE {login} SET app.current_tenant_id = '2'", "42501"),
    ("SET SESSION AUTHORIZATION postgres", "42501"),
    ("SET SESSION AUTHORIZATION {service}", "42501"),
    ("SET ROLE etl_service", "42501"),
    ("SET ROLE console_service", "42501"),
    ("SET ROLE admin_users", "42501"),
    ("SET ROLE {service}", "42501"),
    ("SET ROLE enrichment_writer", "42501"),
    ("GRANT admin_users TO {login}", "42501"),
    ("ALTER ROLE {login} BYPASSRLS", "42501"),
    ("ALTER ROLE {login} SUPERUSER", "42501"),
    ("ALTER ROLE {login} RENAME TO {login}_other", "0A000"),
    ("REVOKE bound_users FROM {login}", "42501"),
    ("SELECT is_made FROM tenant_login", "42501"),
    (
        "INSERT INTO tenant_login VALUES ('{login}', 2, true, now(), 'x')",
        "42501",
    ),
    ("UPDATE tenant_login SET tenant_id = 2", "42501"),
    ("DELETE FROM tenant_login", "42501"),
    ("TRUNCATE tenant_login", "42501"),
    (
        "SET row_security = off; SELECT count(*) FROM conversations_analytics",
        "42501",
    ),
    (
        "ALTER TABLE conversations_analytics DISABLE ROW LEVEL SECURITY",
        "42501",
    ),
    (
        "CREATE POLICY mine ON conversations_analytics USING (true)",
        "42501",
    ),
    ("DROP POLICY own_tenant ON conversations_analytics", "42501"),
    (
        "CREATE OR REPLACE FUNCTION public.app_current_tenant_id() RETURNS integer LANGUAGE sql AS 'SELECT 2'",
        "42501",
    ),
    (
        "ALTER FUNCTION public.app_current_tenant_id() SECURITY DEFINER",
        "42501",
    ),
    ("CREATE TABLE public.mine (x integer)", "42501"),
    ("CREATE TABLE enrichment.mine (x integer)", "42501"),
    ("CREATE SCHEMA mine", "42501"),
    (
        "CREATE INDEX ON conversations_analytics ((pg_temp.x(tenant_id)))",
        "42501",
    ),
    (
        "CREATE STATISTICS mine ON tenant_id, status FROM conversations_analytics",
        "42501",
    ),
    ("UPDATE conversations_analytics SET status = 0", "42501"),
    ("SELECT FROM conversations_analytics FOR UPDATE", "42501"),
    ("COPY conversations_analytics TO PROGRAM 'cat'", "42501"),
    ("COPY conversations_analytics TO '/tmp/rows'", "42501"),
    ("SELECT pg_read_file('postgresql.conf')", "42501"),
    ("SELECT * FROM pg_statistic", "42501"),
    ("SELECT * FROM pg_authid", "42501"),
    ("SELECT lo_import('/etc/passwd')", "42501"),
    ("SELECT slug FROM tenants", "42501"),
];

/// A session of the login that has given up its own limits.
async fn open(stage: &Stage, name: &str) -> Result<PgConnection> {
    let mut connection = connect(stage, name).await?;
    raw_sql("SET default_transaction_read_only = off; SET statement_timeout = 0")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Counts the rows of the tenant and of others in what the login reads.
async fn assert_apart(connection: &mut PgConnection, after: &str) -> Result<()> {
    for relation in RELATIONS {
        let counts = format!(
            "SELECT count(*) FILTER (WHERE tenant_id = 1), count(*) FILTER (WHERE tenant_id IS DISTINCT FROM 1) FROM public.{relation}"
        );
        let (own, others): (i64, i64) = sqlx::query_as(AssertSqlSafe(counts))
            .fetch_one(&mut *connection)
            .await
            .with_context(|| format!("{relation} after {after}"))?;
        ensure!(
            own > 0 && others == 0,
            "{relation} after {after}: {own} rows of its own, {others} of others"
        );
    }
    let names: Vec<i32> = sqlx::query_scalar("SELECT id FROM public.tenants")
        .fetch_all(&mut *connection)
        .await?;
    ensure!(names == [1], "{names:?} after {after}");
    Ok(())
}

/// What an operator may have added: a view and a function that run with the rights of another reader.
async fn add_owner_run_objects(stage: &Stage) -> Result<()> {
    raw_sql(
        "CREATE VIEW run_as_owner AS SELECT * FROM conversations_analytics; ALTER VIEW run_as_owner OWNER TO authenticated_users; \
         GRANT SELECT ON run_as_owner TO authenticated_users; \
         CREATE FUNCTION report() RETURNS SETOF conversations_analytics LANGUAGE sql SECURITY DEFINER \
             AS 'SELECT * FROM public.conversations_analytics'; \
         ALTER FUNCTION report() OWNER TO authenticated_users",
    )
    .execute(&stage.target)
    .await?;
    Ok(())
}

#[tokio::test]
async fn no_sql_shows_a_bound_login_another_tenant() {
    on_stage(|stage| async move {
        stage.sample(120, 2, 45).await?;
        stage.sync_local(&["--all"]).await?;
        add_owner_run_objects(&stage).await?;
        let name = stage.database("isaac");
        bind(&stage, &name, "1").await?;
        let outcome = attack(&stage, &name).await;
        unbind(&stage, &name).await?;
        outcome
    })
    .await;
}

async fn attack(stage: &Stage, name: &str) -> Result<()> {
    let fill = |sql: &str| sql.replace("{login}", name).replace("{service}", stage.login());
    for harmless in HARMLESS {
        let sql = fill(harmless);
        let mut connection = open(stage, name).await?;
        raw_sql(AssertSqlSafe(sql.clone()))
            .execute(&mut connection)
            .await
            .with_context(|| sql.clone())?;
        assert_apart(&mut connection, &sql).await?;
        connection.close().await?;
        // and in the next session, which begins with what ALTER ROLE has left
        assert_apart(
            &mut connect(stage, name).await?,
            &format!("a session after {sql}"),
        )
        .await?;
    }
    let mut connection = open(stage, name).await?;
    raw_sql("CREATE FUNCTION pg_temp.x(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1'")
        .execute(&mut connection)
        .await?;
    for (refused, expected) in REFUSED {
        let sql = fill(refused);
        let code = match raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await {
            Ok(_) => "none".to_owned(),
            Err(error) => error
                .as_database_error()
                .and_then(|error| error.code())
                .map(std::borrow::Cow::into_owned)
                .with_context(|| sql.clone())?,
        };
        ensure!(code == expected, "{sql}: {code}");
        raw_sql("RESET row_security").execute(&mut connection).await?;
    }
    assert_apart(&mut connection, "all that is refused").await?;
    leak(stage, name).await?;
    read_around(stage, name).await
}

/// Functions and operators that tell what they see run after the policies.
async fn leak(stage: &Stage, name: &str) -> Result<()> {
    let mut connection = open(stage, name).await?;
    raw_sql(
        "SET client_min_messages = error; CREATE TEMP TABLE overheard (tenant_id integer); \
         CREATE FUNCTION pg_temp.leak(integer) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS \
             'BEGIN INSERT INTO pg_temp.overheard VALUES ($1); RETURN true; END'; \
         CREATE FUNCTION pg_temp.told(integer, integer) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS \
             'BEGIN INSERT INTO pg_temp.overheard VALUES ($1); RETURN true; END'; \
         CREATE OPERATOR pg_temp.<<< (LEFTARG = integer, RIGHTARG = integer, FUNCTION = pg_temp.told)",
    )
    .execute(&mut connection)
    .await?;
    for relation in RELATIONS {
        for condition in ["pg_temp.leak(tenant_id)", "tenant_id OPERATOR(pg_temp.<<<) 0"] {
            raw_sql(AssertSqlSafe(format!(
                "SELECT count(*) FROM public.{relation} WHERE {condition}"
            )))
            .execute(&mut connection)
            .await
            .with_context(|| format!("{relation} {condition}"))?;
        }
        // a division by zero for each row of tenant 2 that is looked at
        raw_sql(AssertSqlSafe(format!(
            "SELECT count(*) FROM public.{relation} WHERE 1 / (tenant_id - 2) IS NOT NULL"
        )))
        .execute(&mut connection)
        .await
        .with_context(|| relation.to_owned())?;
    }
    let heard: Vec<i32> = sqlx::query_scalar("SELECT DISTINCT tenant_id FROM pg_temp.overheard")
        .fetch_all(&mut connection)
        .await?;
    ensure!(heard == [1], "a function has seen {heard:?}");
    Ok(())
}

/// COPY, EXPLAIN, statistics and other sessions.
async fn read_around(stage: &Stage, name: &str) -> Result<()> {
    let mut connection = open(stage, name).await?;
    raw_sql("SET app.current_tenant_id = '2'")
        .execute(&mut connection)
        .await?;
    let own: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics WHERE tenant_id = 1")
        .fetch_one(&stage.target)
        .await?;
    for copied in [
        "COPY conversations_analytics (tenant_id) TO STDOUT",
        "COPY (SELECT tenant_id FROM conversations_analytics_live UNION ALL SELECT tenant_id FROM report()) TO STDOUT",
    ] {
        let parts: Vec<_> = connection.copy_out_raw(copied).await?.try_collect().await?;
        let text = String::from_utf8(parts.concat())?;
        ensure!(
            i64::try_from(text.lines().count())? >= own && text.lines().all(|line| line == "1"),
            "{copied}"
        );
    }
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN (ANALYZE, VERBOSE) SELECT contact_name FROM conversations_analytics WHERE tenant_id = 2",
    )
    .fetch_all(&mut connection)
    .await?;
    let plan = plan.join("\n");
    let others: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT contact_name FROM conversations_analytics WHERE tenant_id = 2 AND length(contact_name) > 3",
    )
    .fetch_all(&stage.target)
    .await?;
    ensure!(
        !others.is_empty() && others.iter().all(|name| !plan.contains(name.as_str())),
        "{plan}"
    );
    // the tenant is found once, and leads to an index
    ensure!(plan.contains("InitPlan"), "{plan}");

    raw_sql("ANALYZE conversations_analytics, conversation_daily")
        .execute(&stage.target)
        .await?;
    let statistics = "SELECT count(*) FROM pg_stats WHERE tablename IN ('conversations_analytics', 'conversation_daily', 'tenant_login')";
    let seen: i64 = sqlx::query_scalar(statistics).fetch_one(&mut connection).await?;
    let there: i64 = sqlx::query_scalar(statistics).fetch_one(&stage.target).await?;
    ensure!(seen == 0 && there > 0, "{seen} of {there} statistics");
    let mut other = PgConnection::connect(&stage.url("target")).await?;
    raw_sql("SELECT 'a value of another tenant'")
        .execute(&mut other)
        .await?;
    let heard: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%a value of another' || ' tenant%'",
    )
    .fetch_one(&mut connection)
    .await?;
    ensure!(heard == 0, "another session's statement is shown");
    let logins: Vec<String> = sqlx::query_scalar("SELECT login::text FROM tenant_login")
        .fetch_all(&mut connection)
        .await?;
    ensure!(logins == [name], "{logins:?}");
    Ok(())
}
