//! Database logins that are bound to a tenant: how they are made, and what they cannot reach.

mod attacks;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};

use crate::servers::Server;
use crate::stage::{Answer, Servers, Stage, on_servers, on_stage};

const PASSWORD: &str = "correct horse battery staple";

/// Runs `tidemark tenant login …` with the login of this URL.
async fn login_command(stage: &Stage, url: &str, args: &[&str]) -> Result<Answer> {
    let args = [&["--database-url", url, "tenant", "login"], args].concat();
    stage.tidemark_with_input(&args, &format!("{PASSWORD}\n")).await
}

/// Makes a login that is bound to a tenant, as the server's superuser.
async fn bind(stage: &Stage, name: &str, tenant: &str) -> Result<()> {
    let args = ["add", "--tenant", tenant, "--name", name, "--password-file", "-"];
    let added = login_command(stage, &stage.owner_url("target"), &args).await?;
    ensure!(added.code == 0, "{added:?}");
    Ok(())
}

async fn unbind(stage: &Stage, name: &str) -> Result<()> {
    let removed = login_command(stage, &stage.owner_url("target"), &["remove", "--name", name]).await?;
    ensure!(removed.code == 0, "{removed:?}");
    Ok(())
}

/// A connection of this login to the analytics database.
async fn connect(stage: &Stage, name: &str) -> Result<PgConnection> {
    let mut url: url::Url = stage.owner_url("target").parse()?;
    let named = url
        .set_username(name)
        .and_then(|()| url.set_password(Some(PASSWORD)));
    ensure!(named.is_ok(), "a URL takes a user");
    Ok(PgConnection::connect(url.as_str()).await?)
}

/// The tenants whose rows the login sees.
async fn tenants_seen(connection: &mut PgConnection) -> Result<Vec<i32>> {
    Ok(
        sqlx::query_scalar("SELECT DISTINCT tenant_id FROM conversations_analytics ORDER BY 1")
            .fetch_all(connection)
            .await?,
    )
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<()> {
    raw_sql(AssertSqlSafe(sql.clone()))
        .execute(connection)
        .await
        .with_context(|| sql)?;
    Ok(())
}

#[tokio::test]
async fn a_login_is_made_listed_and_removed_and_every_step_is_in_the_audit() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 41).await?;
        stage.sync_local(&["--all"]).await?;
        let name = stage.database("isaac \"x\"; --");
        let owner = stage.owner_url("target");
        bind(&stage, &name, "1").await?;
        // the same again changes nothing, and another tenant is refused
        bind(&stage, &name, "1").await?;
        let moved = login_command(&stage, &owner, &["add", "--tenant", "2", "--name", &name]).await?;
        ensure!(
            moved.code == 64 && moved.stderr.contains("bound to tenant 1"),
            "{moved:?}"
        );

        let listed = login_command(&stage, &owner, &["list", "--tenant", "1", "--json"])
            .await?
            .json();
        ensure!(
            listed[0]["login"] == name.as_str()
                && listed[0]["is_made"] == true
                && listed[0]["problem"].is_null()
                && listed[0]["writes_enrichment"] == false
                && listed.as_array().map(Vec::len) == Some(1),
            "{listed:#}"
        );
        let mut bound = connect(&stage, &name).await?;
        ensure!(tenants_seen(&mut bound).await? == [1]);
        let limits: (String, String) = sqlx::query_as(
            "SELECT current_setting('statement_timeout'), current_setting('default_transaction_read_only')",
        )
        .fetch_one(&mut bound)
        .await?;
        ensure!(limits == ("1min".to_owned(), "on".to_owned()), "{limits:?}");
        unbind(&stage, &name).await?;
        ensure!(
            tenants_seen(&mut bound).await.is_err(),
            "a session of before goes on"
        );
        let is_left: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(&name)
            .fetch_one(&stage.target)
            .await?;
        ensure!(!is_left, "the login is there still");
        let gone = login_command(&stage, &owner, &["remove", "--name", &name]).await?;
        ensure!(
            gone.code == 64 && gone.stderr.contains("tenant login list"),
            "{gone:?}"
        );

        let audit: Vec<(String, Option<i32>, String)> = sqlx::query_as(
            "SELECT action, tenant_id, subject FROM etl_action_audit WHERE action LIKE 'login.%' ORDER BY id",
        )
        .fetch_all(&stage.target)
        .await?;
        let actions: Vec<&str> = audit.iter().map(|(action, ..)| action.as_str()).collect();
        ensure!(actions == ["login.add", "login.add", "login.remove"], "{audit:?}");
        ensure!(
            audit
                .iter()
                .all(|(_, tenant, subject)| *tenant == Some(1) && subject.ends_with(&name)),
            "{audit:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_login_with_other_rights_is_not_bound_and_doctor_names_one_that_gets_them() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 42).await?;
        stage.sync_local(&["--all"]).await?;
        let (owner, name, group) = (
            stage.owner_url("target"),
            stage.database("strong"),
            stage.database("group"),
        );
        let mut admin = PgConnection::connect(&owner).await?;
        let outcome = async {
            run(
                &mut admin,
                format!("CREATE ROLE {group} NOLOGIN; CREATE ROLE {name} LOGIN"),
            )
            .await?;
            for (power, word) in [
                ("BYPASSRLS", "BYPASSRLS"),
                ("SUPERUSER", "superuser"),
                ("CREATEROLE", "CREATEROLE"),
                ("REPLICATION", "REPLICATION"),
            ] {
                run(&mut admin, format!("ALTER ROLE {name} {power}")).await?;
                let refused =
                    login_command(&stage, &owner, &["add", "--tenant", "1", "--name", &name]).await?;
                ensure!(
                    refused.code == 64 && refused.stderr.contains(word),
                    "{power}: {refused:?}"
                );
                run(&mut admin, format!("ALTER ROLE {name} NO{power}")).await?;
            }
            // through a group, too
            run(&mut admin, format!("GRANT {group} TO {name}")).await?;
            for role in [
                "admin_users",
                "etl_service",
                "console_service",
                "pg_read_all_settings",
            ] {
                run(&mut admin, format!("GRANT {role} TO {group}")).await?;
                let refused =
                    login_command(&stage, &owner, &["add", "--tenant", "1", "--name", &name]).await?;
                ensure!(
                    refused.code == 64 && refused.stderr.contains(role),
                    "{role}: {refused:?}"
                );
                run(&mut admin, format!("REVOKE {role} FROM {group}")).await?;
            }
            let processes =
                login_command(&stage, &owner, &["add", "--tenant", "1", "--name", stage.login()]).await?;
            ensure!(
                processes.code == 64 && processes.stderr.contains("etl_service"),
                "{processes:?}"
            );

            // one of before, with another password: it keeps both
            run(
                &mut admin,
                format!("GRANT authenticated_users TO {name}; ALTER ROLE {name} PASSWORD '{PASSWORD}'"),
            )
            .await?;
            let bound = login_command(&stage, &owner, &["add", "--tenant", "2", "--name", &name]).await?;
            ensure!(bound.code == 0, "{bound:?}");
            let mut dashboard = connect(&stage, &name).await?;
            run(&mut dashboard, "SET app.current_tenant_id = '1'".to_owned()).await?;
            ensure!(tenants_seen(&mut dashboard).await? == [2]);
            let settings: Option<Vec<String>> =
                sqlx::query_scalar("SELECT rolconfig FROM pg_roles WHERE rolname = $1")
                    .bind(&name)
                    .fetch_one(&mut admin)
                    .await?;
            ensure!(settings.is_none(), "{settings:?}");

            // A right that it gets later stops the processes. Without the mark, which every database of the server reads: the
            // processes of the other tests would stop too. Here the row in tenant_login says that it is bound.
            run(
                &mut admin,
                format!("REVOKE bound_users FROM {name}; GRANT admin_users TO {group}"),
            )
            .await?;
            let refused = stage.tidemark(&["sync", "--local", "--tenant", "1"]).await?;
            ensure!(
                refused.code == 78
                    && refused
                        .stderr
                        .contains(&format!("REVOKE admin_users FROM {name};")),
                "{refused:?}"
            );
            run(&mut admin, format!("REVOKE admin_users FROM {group}")).await?;
            // it was not made by the command, so it is not dropped by it
            unbind(&stage, &name).await?;
            ensure!(tenants_seen(&mut dashboard).await.is_err());
            Ok(())
        }
        .await;
        run(
            &mut admin,
            format!("DROP ROLE IF EXISTS {name}; DROP ROLE IF EXISTS {group}"),
        )
        .await?;
        outcome
    })
    .await;
}

#[tokio::test]
async fn a_login_that_is_renamed_or_made_again_leaves_no_tenant() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 43).await?;
        stage.sync_local(&["--all"]).await?;
        let (name, other) = (stage.database("isaac"), stage.database("renamed"));
        bind(&stage, &name, "1").await?;
        let mut admin = PgConnection::connect(&stage.owner_url("target")).await?;
        let outcome = async {
            run(&mut admin, format!("ALTER ROLE {name} RENAME TO {other}")).await?;
            let mut renamed = connect(&stage, &other).await?;
            run(&mut renamed, "SET app.current_tenant_id = '2'".to_owned()).await?;
            ensure!(
                tenants_seen(&mut renamed).await?.is_empty(),
                "a renamed login has a tenant"
            );
            let listed = login_command(&stage, &stage.owner_url("target"), &["list", "--json"])
                .await?
                .json();
            ensure!(
                listed[0]["problem"]
                    .as_str()
                    .is_some_and(|text| text.contains("dropped or renamed")),
                "{listed:#}"
            );
            // a dashboard's login of the old name: the tenant stays that of the name
            run(
                &mut admin,
                format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' IN ROLE authenticated_users"),
            )
            .await?;
            let mut again = connect(&stage, &name).await?;
            run(&mut again, "SET app.current_tenant_id = '2'".to_owned()).await?;
            ensure!(tenants_seen(&mut again).await? == [1]);
            unbind(&stage, &name).await
        }
        .await;
        run(
            &mut admin,
            format!("DROP ROLE IF EXISTS {name}; DROP ROLE IF EXISTS {other}"),
        )
        .await?;
        outcome
    })
    .await;
}

/// URL of a database of this server for a login.
fn url_of(server: &Server, login: &str, database: &str) -> Result<String> {
    let mut url: url::Url = server.url()?.parse()?;
    url.set_path(database);
    ensure!(url.set_username(login).is_ok(), "a URL takes a user");
    Ok(url.into())
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
async fn logins_are_bound_without_a_superuser_by_the_command_or_by_the_statements_that_it_prints() {
    on_stage(|stage| async move {
        // roles belong to a server, so it has to be a new one
        let server = Server::postgres().await?;
        let mut superuser = PgConnection::connect(&server.url()?).await?;
        superuser.execute("CREATE ROLE managed LOGIN CREATEROLE CREATEDB").await?;
        let administrator = url_of(&server, "managed", "postgres")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/analytics.sql");
        let output = tokio::process::Command::new("psql")
            .args([&administrator, "-qX", "-v", "login=fleet", "-v", "database=numbers", "-f", script])
            .output()
            .await
            .context("run psql")?;
        ensure!(output.status.success(), "{output:?}");
        let fleet = url_of(&server, "fleet", "numbers")?;
        let there = [("TIDEMARK_DATABASE_URL", fleet.as_str())];
        for command in [&["migrate"][..], &["tenant", "add", "--id", "1", "--name", "One"], &["tenant", "add", "--id", "2", "--name", "Two"]] {
            let done = stage.tidemark_with(command, &there).await?;
            ensure!(done.code == 0, "{done:?}");
        }
        let add = ["add", "--tenant", "1", "--name", "isaac", "--password-file", "-"];
        let refused = login_command(&stage, &fleet, &add).await?;
        let statements = statements_in(&refused.stderr);
        ensure!(
            refused.code == 78 && statements.len() == 6 && !refused.stderr.contains(PASSWORD),
            "{refused:?}"
        );
        let listed = login_command(&stage, &fleet, &["list", "--json"]).await?.json();
        ensure!(listed == serde_json::json!([]), "{listed:#}");
        // what the administrator of a managed server may do
        let mut managed = PgConnection::connect(&administrator).await?;
        for statement in statements {
            managed
                .execute(AssertSqlSafe(statement.to_owned()))
                .await
                .with_context(|| statement.to_owned())?;
        }
        // not bound yet: no tenant, whatever it sets
        let mut isaac = PgConnection::connect(&url_of(&server, "isaac", "numbers")?).await?;
        isaac.execute("SET app.current_tenant_id = '2'").await?;
        let tenant = "SELECT app_current_tenant_id()";
        let seen: Option<i32> = sqlx::query_scalar(tenant).fetch_one(&mut isaac).await?;
        ensure!(seen.is_none(), "{seen:?}");
        let bound = login_command(&stage, &fleet, &add).await?;
        ensure!(bound.code == 0, "{bound:?}");
        let seen: Option<i32> = sqlx::query_scalar(tenant).fetch_one(&mut isaac).await?;
        ensure!(seen == Some(1), "{seen:?}");
        let refused = login_command(&stage, &fleet, &["remove", "--name", "isaac"]).await?;
        let statements = statements_in(&refused.stderr);
        ensure!(
            refused.code == 78
                && statements == ["REVOKE authenticated_users FROM \"isaac\";", "REVOKE bound_users FROM \"isaac\";"],
            "{refused:?}"
        );
        let seen: Option<i32> = sqlx::query_scalar(tenant).fetch_one(&mut isaac).await?;
        ensure!(seen == Some(1), "it has rights, so it stays bound: {seen:?}");
        for statement in statements {
            managed.execute(AssertSqlSafe(statement.to_owned())).await?;
        }
        let removed = login_command(&stage, &fleet, &["remove", "--name", "isaac"]).await?;
        ensure!(removed.code == 0 && removed.stderr.contains("stays on the server"), "{removed:?}");

        // a login with CREATEROLE that has made the groups does all of it by the command
        let mut superuser_there = PgConnection::connect(&url_of(&server, "postgres", "postgres")?).await?;
        superuser_there.execute("CREATE ROLE maker LOGIN CREATEROLE").await?;
        superuser_there.execute("CREATE DATABASE made OWNER maker").await?;
        superuser_there
            .execute("GRANT etl_service, console_service, authenticated_users, bound_users TO maker WITH ADMIN OPTION")
            .await?;
        let maker = url_of(&server, "maker", "made")?;
        let there = [("TIDEMARK_DATABASE_URL", maker.as_str())];
        for command in [&["migrate"][..], &["tenant", "add", "--id", "7", "--name", "Seven"]] {
            let done = stage.tidemark_with(command, &there).await?;
            ensure!(done.code == 0, "{done:?}");
        }
        let add = ["add", "--tenant", "7", "--name", "ruth", "--password-file", "-"];
        let bound = login_command(&stage, &maker, &add).await?;
        ensure!(bound.code == 0, "{bound:?}");
        let mut ruth = PgConnection::connect(&url_of(&server, "ruth", "made")?).await?;
        let seen: Option<i32> = sqlx::query_scalar(tenant).fetch_one(&mut ruth).await?;
        ensure!(seen == Some(7), "{seen:?}");
        let removed = login_command(&stage, &maker, &["remove", "--name", "ruth"]).await?;
        ensure!(removed.code == 0 && removed.stderr.contains("ruth is gone"), "{removed:?}");
        // who has made the groups is no bound login itself
        let mut own = PgConnection::connect(&maker).await?;
        own.execute("SET app.current_tenant_id = '7'").await?;
        let seen: Option<i32> = sqlx::query_scalar(tenant).fetch_one(&mut own).await?;
        ensure!(seen == Some(7), "{seen:?}");
        Ok(())
    })
    .await;
}

/// A pooler in transaction mode lends one session to many clients.
#[tokio::test]
async fn over_one_pooled_connection_a_bound_login_keeps_its_tenant_and_others_take_turns() {
    let postgres = Server::postgres().await.expect("a server starts");
    let servers = Servers {
        target: postgres.url().expect("a server has a URL"),
        ..Servers::shared()
    };
    on_servers(servers, |stage| async move {
        stage.sample(120, 2, 44).await?;
        stage.sync_local(&["--all"]).await?;
        let mut admin = PgConnection::connect(&stage.owner_url("target")).await?;
        bind(&stage, "isaac", "1").await?;
        run(&mut admin, "CREATE ROLE portal LOGIN IN ROLE authenticated_users".to_owned()).await?;
        let pooler = Server::pgbouncer(&stage.owner_url("target"), &["isaac", "portal"], 1).await?;
        let through = |login: &str| -> Result<String> {
            let mut url = url::Url::parse(&pooler.url()?)?;
            url.set_path(&stage.database("target"));
            ensure!(url.set_username(login).is_ok(), "a URL takes a user");
            Ok(url.to_string())
        };
        let open = async |login: &str| -> Result<PgConnection> {
            let options = through(login)?
                .parse::<sqlx::postgres::PgConnectOptions>()?
                .extra_float_digits(None)
                .statement_cache_capacity(0);
            Ok(PgConnection::connect_with(&options).await?)
        };
        let count = "SELECT count(*) FILTER (WHERE tenant_id = 1), count(*) FILTER (WHERE tenant_id = 2) FROM conversations_analytics";
        // what one client leaves on the session is there for the next
        let mut first = open("isaac").await?;
        raw_sql("PREPARE left_here AS SELECT DISTINCT tenant_id FROM conversations_analytics; SET app.current_tenant_id = '2'")
            .execute(&mut first)
            .await?;
        let mut second = open("isaac").await?;
        for _ in 0..2 {
            let mut tx = second.begin().await?;
            let (own, others): (i64, i64) = sqlx::query_as(count).persistent(false).fetch_one(&mut *tx).await?;
            ensure!(own > 0 && others == 0, "{own} and {others}");
            let left = sqlx::Executor::fetch_all(&mut *tx, raw_sql("EXECUTE left_here")).await?;
            ensure!(left.len() == 1, "{} tenants", left.len());
            tx.commit().await?;
        }
        let mut portals = [open("portal").await?, open("portal").await?];
        for turn in 0..6 {
            let tenant = 1 + turn % 2;
            let mut tx = portals[turn % 2].begin().await?;
            raw_sql(AssertSqlSafe(format!("SET LOCAL app.current_tenant_id = '{tenant}'")))
                .execute(&mut *tx)
                .await?;
            let (one, two): (i64, i64) = sqlx::query_as(count).persistent(false).fetch_one(&mut *tx).await?;
            ensure!(
                if tenant == 1 { one > 0 && two == 0 } else { one == 0 && two > 0 },
                "turn {turn}: {one} and {two}"
            );
            tx.commit().await?;
        }
        unbind(&stage, "isaac").await
    })
    .await;
}
