//! Migrations and a first sync by logins without superuser rights.

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, Executor, PgConnection};
use tidemark_ledger::connect::pool;
use tidemark_ledger::isolation::{Finding, check, refusal};
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;

use crate::servers::Server;
use crate::stage::{Stage, on_stage};

/// URL of one of this server's databases for a login.
fn url_of(server: &Server, login: &str, database: &str) -> Result<String> {
    let mut url: url::Url = server.url()?.parse()?;
    url.set_path(database);
    ensure!(url.set_username(login).is_ok(), "a URL takes a user");
    Ok(url.into())
}

/// Asserts that a first sync succeeds, with ledger and target in this database.
async fn assert_syncs(stage: &Stage, database: &str) -> Result<()> {
    let there = [("TIDEMARK_DATABASE_URL", database)];
    for command in [
        "tenant add --id 1 --name One --account-id 1",
        "inbox discover --tenant 1",
        "sync --local --tenant 1",
        "verify --tenant 1",
    ] {
        let args: Vec<&str> = command.split(' ').collect();
        let answer = stage.tidemark_with(&args, &there).await?;
        ensure!(answer.code == 0, "{command}: {answer:?}");
    }
    let found = findings(database).await?;
    ensure!(refusal(&found).is_none(), "{found:#?}");
    Ok(())
}

/// What the processes find when they start.
async fn findings(database: &str) -> Result<Vec<Finding>> {
    let db = pool(&ServerUrl::from(database), "worker", 1, DatabasePooler::None).await?;
    let found = check(&db).await?;
    db.connections().close().await;
    Ok(found)
}

/// The statements that an error tells an administrator to run.
fn statements_in(stderr: &str) -> Vec<&str> {
    stderr
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.ends_with(';'))
        .collect()
}

#[tokio::test]
async fn a_login_that_may_create_roles_migrates_and_any_other_is_told_what_an_administrator_runs() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 3).await?;
        // roles belong to a server, so only a server of this test's own lacks them
        let server = Server::postgres().await?;
        let mut admin = PgConnection::connect(&server.url()?).await?;
        admin.execute("CREATE ROLE maker LOGIN CREATEROLE").await?;
        admin.execute("CREATE ROLE plain LOGIN").await?;
        admin.execute("CREATE DATABASE made OWNER maker").await?;
        admin.execute("CREATE DATABASE others").await?;
        let mut administrator = PgConnection::connect(&url_of(&server, "postgres", "others")?).await?;
        // PostgreSQL 15 and newer begin so
        administrator
            .execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            .await?;

        let plain = url_of(&server, "plain", "others")?;
        let there = [("TIDEMARK_DATABASE_URL", plain.as_str())];
        let refused = stage.tidemark_with(&["migrate"], &there).await?;
        let statements = statements_in(&refused.stderr);
        ensure!(
            refused.code == 78
                && statements
                    == [
                        "CREATE ROLE etl_service NOLOGIN;",
                        "CREATE ROLE authenticated_users NOLOGIN;",
                        "CREATE ROLE admin_users NOLOGIN;",
                        "CREATE ROLE console_service NOLOGIN;",
                        "CREATE ROLE bound_users NOLOGIN;",
                        "CREATE ROLE enrichment_writer NOLOGIN;",
                        "GRANT etl_service TO plain;",
                        "GRANT console_service TO plain;",
                        "GRANT CREATE ON SCHEMA public TO plain;",
                        "CREATE SCHEMA enrichment AUTHORIZATION plain;",
                    ],
            "{refused:?}"
        );

        let made = url_of(&server, "maker", "made")?;
        let migrated = stage
            .tidemark_with(&["migrate"], &[("TIDEMARK_DATABASE_URL", &made)])
            .await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        assert_syncs(&stage, &made).await?;

        let refused = stage.tidemark_with(&["migrate"], &there).await?;
        let statements = statements_in(&refused.stderr);
        ensure!(statements.len() == 4, "the roles are there by now: {refused:?}");
        for statement in statements {
            administrator
                .execute(sqlx::AssertSqlSafe(statement))
                .await
                .with_context(|| statement.to_owned())?;
        }
        let migrated = stage.tidemark_with(&["migrate"], &there).await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        assert_syncs(&stage, &plain).await?;

        // a login that only runs the processes: it inherits nothing and owns nothing
        admin
            .execute("CREATE ROLE runner LOGIN NOINHERIT IN ROLE etl_service")
            .await?;
        let runner = url_of(&server, "runner", "others")?;
        let as_runner = [("TIDEMARK_DATABASE_URL", runner.as_str())];
        let synced = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1", "--full"], &as_runner)
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        let refused = stage
            .tidemark_with(&["migrate", "--down-to", "0"], &as_runner)
            .await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains("belong to plain"),
            "{refused:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_administrator_without_superuser_sets_the_server_up_and_may_do_so_twice() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 3).await?;
        // roles belong to the server, so it has to be a new one
        let server = Server::postgres().await?;
        let mut superuser = PgConnection::connect(&server.url()?).await?;
        superuser
            .execute("CREATE ROLE managed LOGIN CREATEROLE CREATEDB")
            .await?;
        let administrator = url_of(&server, "managed", "postgres")?;
        for _ in 0..2 {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/analytics.sql");
            let output = tokio::process::Command::new("psql")
                .args([&administrator, "-qX", "-v", "login=fleet", "-v", "database=numbers", "-f", script])
                .output()
                .await
                .context("run psql")?;
            ensure!(output.status.success(), "{output:?}");
        }
        let is_member: bool = sqlx::query_scalar(
            "SELECT rolsuper OR pg_has_role('managed', 'fleet', 'USAGE') FROM pg_roles WHERE rolname = 'managed'",
        )
        .fetch_one(&mut superuser)
        .await?;
        ensure!(!is_member, "the administrator keeps the login's rights");

        let analytics = url_of(&server, "fleet", "numbers")?;
        let there = [("TIDEMARK_DATABASE_URL", analytics.as_str())];
        let migrated = stage.tidemark_with(&["migrate"], &there).await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        assert_syncs(&stage, &analytics).await?;
        // in the schema of the tables nobody else makes any
        let is_open: bool = sqlx::query_scalar(
            "SELECT has_schema_privilege('public', relnamespace, 'CREATE') FROM pg_class WHERE oid = 'tenants'::regclass",
        )
        .fetch_one(&mut PgConnection::connect(&analytics).await?)
        .await?;
        ensure!(!is_open, "everybody may create objects beside the tables");

        // a group that the script has left as a login
        for group in [
            "etl_service", "console_service", "authenticated_users", "admin_users", "bound_users", "enrichment_writer",
        ] {
            let login = format!("ALTER ROLE {group} LOGIN");
            superuser.execute(sqlx::AssertSqlSafe(login)).await?;
            let found = findings(&analytics).await?;
            ensure!(
                found.len() == 1
                    && !found[0].stops_start
                    && found[0].problem.to_string().contains(&format!("{group} may log in")),
                "{found:#?}"
            );
            superuser.execute(sqlx::AssertSqlSafe(found[0].fix.clone())).await?;
        }
        let found = findings(&analytics).await?;
        ensure!(found.is_empty(), "{found:#?}");
        Ok(())
    })
    .await;
}
