//! A database that the Python script already lives in: its objects, its roles, its clocks and its dashboards.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};

use crate::stage::{Stage, on_stage};

const FIXTURE: &str = include_str!("../fixtures/legacy.sql");
const DOCUMENT: &str = include_str!("../../docs/coming-from-the-script.md");

/// The SQL block after this heading.
fn documented(heading: &str) -> Result<&'static str> {
    let (_, after) = DOCUMENT.split_once(heading).context("the heading is there")?;
    let (_, block) = after.split_once("```sql\n").context("a block begins")?;
    Ok(block.split_once("```").context("the block ends")?.0)
}

/// The script's tables in schema `legacy`.
async fn make_legacy(stage: &Stage) -> Result<()> {
    let script = format!("CREATE SCHEMA legacy; SET search_path = legacy; {FIXTURE}; RESET search_path");
    raw_sql(AssertSqlSafe(script)).execute(&stage.target).await?;
    Ok(())
}

/// The statements that an error tells an operator to run.
fn statements_in(stderr: &str) -> Vec<&str> {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter(|line| line.ends_with(';')).collect()
}

#[tokio::test]
async fn tables_of_somebody_else_are_neither_checked_nor_named() {
    on_stage(|stage| async move {
        stage
            .target
            .execute(
                "CREATE TABLE etl_of_the_script (tenant_id integer, note text); \
                 GRANT SELECT, INSERT ON etl_of_the_script TO authenticated_users, etl_service; \
                 CREATE POLICY open ON etl_of_the_script USING (true); \
                 ALTER TABLE etl_of_the_script SET (autovacuum_enabled = off); \
                 INSERT INTO etl_of_the_script SELECT 1, 'x' FROM generate_series(1, 30000); \
                 DELETE FROM etl_of_the_script; \
                 CREATE VIEW view_of_the_script AS SELECT * FROM etl_of_the_script; \
                 GRANT SELECT ON view_of_the_script TO authenticated_users",
            )
            .await?;
        // counted by the server some time after the transaction
        stage
            .until("SELECT n_dead_tup > 20000 FROM pg_stat_user_tables WHERE relname = 'etl_of_the_script'")
            .await?;
        let answer = stage.tidemark(&["doctor", "--json"]).await?;
        for name in ["etl_of_the_script", "view_of_the_script"] {
            ensure!(!answer.stdout.contains(name), "{name}: {}", answer.stdout);
        }
        stage.sample(50, 1, 5).await?;
        stage.sync_local(&["--all"]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn all_that_is_in_the_way_is_named_and_moved_by_the_statements_with_its_rights() {
    on_stage(|stage| async move {
        let reader = stage.database("reader");
        let mut owner = PgConnection::connect(&stage.owner_url("target")).await?;
        let script = format!(
            "CREATE ROLE {reader}; CREATE SCHEMA taken; SET search_path = taken; {FIXTURE}; \
             CREATE TABLE etl_process (id integer); CREATE TABLE notes (tenant_id integer); \
             CREATE VIEW conversations_analytics_live AS SELECT * FROM conversations_analytics; \
             CREATE TYPE etl_lane AS ENUM ('fast'); \
             CREATE FUNCTION app_current_tenant_id() RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
             GRANT USAGE ON SCHEMA taken TO {reader}; GRANT SELECT ON conversations_analytics TO {reader}"
        );
        raw_sql(AssertSqlSafe(script)).execute(&mut owner).await?;
        let taken = |url: String| format!("{url}?options=-csearch_path%3Dtaken");
        let (as_owner, login) = (taken(stage.owner_url("target")), taken(stage.url("target")));
        let settings = [("TIDEMARK_DATABASE_URL", as_owner.as_str())];
        let refused = stage.tidemark_with(&["migrate"], &settings).await?;
        let statements = statements_in(&refused.stderr);
        let usage = format!("GRANT USAGE ON SCHEMA legacy TO {reader};");
        ensure!(
            refused.code == 78
                && statements
                    == [
                        "CREATE SCHEMA legacy;",
                        usage.as_str(),
                        "ALTER TABLE conversations_analytics SET SCHEMA legacy;",
                        "ALTER VIEW conversations_analytics_live SET SCHEMA legacy;",
                        "ALTER TABLE etl_control SET SCHEMA legacy;",
                        "ALTER TABLE etl_process SET SCHEMA legacy;",
                        "ALTER TABLE inbox_tenant_mapping SET SCHEMA legacy;",
                        "ALTER TABLE tenants SET SCHEMA legacy;",
                        "ALTER TYPE etl_lane SET SCHEMA legacy;",
                        "ALTER FUNCTION app_current_tenant_id() SET SCHEMA legacy;",
                    ],
            "{refused:?}"
        );
        for statement in statements {
            owner
                .execute(AssertSqlSafe(statement))
                .await
                .with_context(|| statement.to_owned())?;
        }
        let migrated = stage.tidemark_with(&["migrate"], &settings).await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        // the roles of the policies reach the tables in their schema without another statement
        let status = stage
            .tidemark_with(&["status"], &[("TIDEMARK_DATABASE_URL", &login)])
            .await?;
        ensure!(status.code == 0, "{status:?}");
        owner
            .execute(AssertSqlSafe(format!(
                "SET ROLE {reader}; SELECT count(*) FROM legacy.conversations_analytics; RESET ROLE; \
                 SELECT count(*) FROM taken.notes; DROP OWNED BY {reader}; DROP ROLE {reader}"
            )))
            .await
            .context(
                "dashboards still read the old table, and the table that was in nobody's way is where it was",
            )?;
        owner.close().await?;
        Ok(())
    })
    .await;
}

/// The script's clock is São Paulo's, but it took `watermark_end` from Chatwoot's rows, which are UTC.
#[tokio::test]
async fn a_watermark_from_another_clock_than_the_scripts_is_read_in_its_own_time_zone() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 77).await?;
        stage.target.execute("TRUNCATE tenants CASCADE").await?;
        make_legacy(&stage).await?;
        let inbox: i32 = sqlx::query_scalar("SELECT min(id) FROM inboxes").fetch_one(&stage.source).await?;
        raw_sql(AssertSqlSafe(format!(
            "SET TimeZone = 'UTC'; \
             INSERT INTO legacy.inbox_tenant_mapping (inbox_id, tenant_id) VALUES ({inbox}, 1); \
             INSERT INTO legacy.etl_control (tenant_id, started_at, status, watermark_end) \
             VALUES (1, now() - interval '3 hours', 'success', date_trunc('second', now()) - interval '1 minute'); \
             INSERT INTO legacy.conversations_analytics (tenant_id, conversation_id, inbox_id, etl_updated_at) \
             VALUES (1, 1, {inbox}, '2026-01-01 00:00')"
        )))
        .execute(&stage.target)
        .await?;
        let owner = stage.owner_url("target");
        let settings = [("TIDEMARK_LEGACY_URL", owner.as_str())];
        let import = [
            "import-legacy", "--schema", "legacy", "--timezone", "America/Sao_Paulo", "--json",
        ];
        let refused = stage.tidemark_with(&import, &settings).await?;
        ensure!(
            refused.code == 1 && refused.stdout.contains("--watermark-timezone"),
            "one minute ago in UTC is three hours ahead in São Paulo: {refused:?}"
        );
        let two_clocks = [&import[..], &["--watermark-timezone", "UTC"]].concat();
        let imported = stage.tidemark_with(&two_clocks, &settings).await?;
        ensure!(imported.code == 0, "{imported:?}");
        let is_right: bool = sqlx::query_scalar(
            "SELECT (SELECT w.watermark = c.watermark_end AT TIME ZONE 'UTC' - interval '1 hour' \
                     FROM etl_watermark w, legacy.etl_control c WHERE w.tenant_id = 1) \
                AND (SELECT etl_updated_at = '2026-01-01 03:00Z' FROM conversations_analytics)",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(is_right, "{:#}", imported.json());
        Ok(())
    })
    .await;
}

async fn ask(connection: &mut PgConnection, question: &'static str) -> Result<Value> {
    Ok(sqlx::query_scalar(question).fetch_one(connection).await?)
}

#[tokio::test]
async fn dashboards_of_the_script_go_on_over_tidemarks_rows_beside_their_own_columns() {
    on_stage(|stage| async move {
        stage.sample(80, 2, 78).await?;
        make_legacy(&stage).await?;
        let (first, second): (i64, i64) = sqlx::query_as(
            "SELECT min(id) FILTER (WHERE account_id = 1)::bigint, min(id) FILTER (WHERE account_id = 2)::bigint \
             FROM conversations",
        )
        .fetch_one(&stage.source)
        .await?;
        raw_sql(AssertSqlSafe(format!(
            "INSERT INTO legacy.conversations_analytics \
                 (tenant_id, conversation_id, is_lead, ai_probability_score, etl_updated_at) \
             VALUES (1, {first}, false, 1, '2026-01-01'), (1, {first}, true, 99.5, '2026-01-02'), \
                    (2, {second}, true, 12, '2026-01-01')"
        )))
        .execute(&stage.target)
        .await?;
        stage.sync_local(&["--all"]).await?;
        let is_15: bool = sqlx::query_scalar("SELECT current_setting('server_version_num')::integer >= 150000")
            .fetch_one(&stage.target)
            .await?;
        // as the document says
        let option = if is_15 { "security_invoker" } else { "security_barrier" };
        let block = documented("## Dashboards of the script")?.replace("security_invoker", option);
        raw_sql(AssertSqlSafe(block)).execute(&stage.target).await?;

        let dashboard = stage.database("dashboard");
        let create = format!(
            "CREATE ROLE {dashboard} LOGIN PASSWORD '{dashboard}' IN ROLE authenticated_users; \
             ALTER ROLE {dashboard} SET search_path = dashboards, legacy"
        );
        raw_sql(AssertSqlSafe(create)).execute(&stage.target).await?;
        let outcome = match ask_as_dashboard(&stage, &dashboard).await {
            Ok(()) => ask_as_bound_login(&stage, &stage.database("bound")).await,
            Err(error) => Err(error),
        };
        let drop = format!("DROP ROLE {dashboard}");
        stage.target.execute(AssertSqlSafe(drop)).await?;
        outcome?;
        // none of it is in the way of a process or of the next sync
        stage.sync_local(&["--all", "--full"]).await?;
        let answer = stage.tidemark(&["doctor", "--json"]).await?;
        ensure!(!answer.stdout.contains("dashboards"), "{}", answer.stdout);
        Ok(())
    })
    .await;
}

/// The queries of "Questions of dashboards", with their questions.
fn questions() -> Vec<(&'static str, &'static str)> {
    let section = DOCUMENT
        .split_once("### Questions of dashboards")
        .map_or("", |(_, section)| section);
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix("` |")?.split_once(" | `"))
        .collect()
}

/// The answer of each question is that of the tenant's live rows, which a superuser filters by hand.
async fn assert_answers(stage: &Stage, dashboard: &mut PgConnection, tenant: i32) -> Result<()> {
    let questions = questions();
    ensure!(questions.len() >= 11, "{} questions", questions.len());
    let mut owner = stage.target.acquire().await?;
    raw_sql("SET TimeZone = 'UTC'").execute(&mut *owner).await?;
    for (question, query) in questions {
        let rows = format!("SELECT jsonb_agg(to_jsonb(q) ORDER BY to_jsonb(q)::text) FROM ({query}) q");
        let expected = format!(
            "WITH conversations_analytics AS (SELECT * FROM public.conversations_analytics_live WHERE tenant_id = {tenant}) {rows}"
        );
        let expected: Option<Value> = sqlx::query_scalar(AssertSqlSafe(expected))
            .fetch_one(&mut *owner)
            .await?;
        let answer: Option<Value> = sqlx::query_scalar(AssertSqlSafe(rows))
            .fetch_one(&mut *dashboard)
            .await
            .with_context(|| question.to_owned())?;
        ensure!(
            answer == expected,
            "{question} of {tenant}: {answer:?}, not {expected:?}"
        );
    }
    Ok(())
}

/// The same dashboard by a login that is bound to a tenant.
async fn ask_as_bound_login(stage: &Stage, name: &str) -> Result<()> {
    let (owner, password) = (stage.owner_url("target"), "correct horse battery staple");
    let args = [
        "--database-url",
        &owner,
        "tenant",
        "login",
        "add",
        "--tenant",
        "2",
        "--name",
        name,
        "--password-file",
        "-",
    ];
    let added = stage.tidemark_with_input(&args, password).await?;
    ensure!(added.code == 0, "{added:?}");
    let mut url: url::Url = owner.parse()?;
    let named = url
        .set_username(name)
        .and_then(|()| url.set_password(Some(password)));
    ensure!(named.is_ok(), "a URL takes a user");
    let asked = async {
        let mut dashboard = PgConnection::connect(url.as_str()).await?;
        raw_sql(
            "SET search_path = dashboards, legacy; SET TimeZone = 'UTC'; SET app.current_tenant_id = '1'",
        )
        .execute(&mut dashboard)
        .await?;
        assert_answers(stage, &mut dashboard, 2).await?;
        let own = ask(&mut dashboard, "SELECT jsonb_agg(tenant_id) FROM own_columns").await?;
        ensure!(own == serde_json::json!([2]), "{own}");
        Ok(())
    }
    .await;
    let removed = stage
        .tidemark(&[
            "--database-url",
            &owner,
            "tenant",
            "login",
            "remove",
            "--name",
            name,
        ])
        .await?;
    ensure!(removed.code == 0, "{removed:?}");
    asked
}

/// The dashboard has Tidemark's rows of its tenant, and the newest own value of each conversation.
async fn ask_as_dashboard(stage: &Stage, name: &str) -> Result<()> {
    let mut url: url::Url = stage.owner_url("target").parse()?;
    let named = url.set_username(name).and_then(|()| url.set_password(Some(name)));
    ensure!(named.is_ok(), "a URL takes a user");
    let mut dashboard = PgConnection::connect(url.as_str()).await?;
    raw_sql("SET TimeZone = 'UTC'").execute(&mut dashboard).await?;
    let rows = "SELECT to_jsonb(count(*)) FROM conversations_analytics";
    let own = "SELECT jsonb_agg(jsonb_build_array(is_lead, ai_probability_score::float8)) FROM conversations_analytics \
               WHERE is_lead IS NOT NULL AND conversation_created_at IS NOT NULL";
    ensure!(ask(&mut dashboard, rows).await? == 0, "rows without a tenant");
    for (tenant, leads) in [
        (1, serde_json::json!([[true, 99.5]])),
        (2, serde_json::json!([[true, 12]])),
    ] {
        dashboard
            .execute(AssertSqlSafe(format!("SET app.current_tenant_id = {tenant}")))
            .await?;
        let live: i64 =
            sqlx::query_scalar("SELECT count(*) FROM conversations_analytics_live WHERE tenant_id = $1")
                .bind(tenant)
                .fetch_one(&stage.target)
                .await?;
        let seen = ask(&mut dashboard, rows).await?;
        ensure!(live > 0 && seen == live, "tenant {tenant}: {seen} of {live} rows");
        assert_answers(stage, &mut dashboard, tenant).await?;
        let found = ask(&mut dashboard, own).await?;
        ensure!(found == leads, "tenant {tenant}: {found}");
        let direct = ask(&mut dashboard, "SELECT to_jsonb(count(*)) FROM own_columns").await?;
        ensure!(direct == 1, "tenant {tenant}: {direct} rows of its own columns");
    }
    dashboard.close().await?;
    Ok(())
}
