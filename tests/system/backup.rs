//! Dump and restore of an analytics database whose row-level security binds its owner too.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tidemark_ledger::tables::TABLES;
use tokio::process::Command;

use crate::servers::Server;
use crate::stage::{Stage, on_stage};

/// Rows for the tables that a sync and a comparison leave empty.
const OTHER_ROWS: &str = include_str!("backup/other_rows.sql");

/// A server that a managed administrator has set up, without superuser, by the documents.
struct Managed {
    server: Server,
    login: &'static str,
    database: &'static str,
}

impl Managed {
    async fn new(login: &'static str, database: &'static str) -> Result<Self> {
        let server = Server::postgres().await?;
        let mut superuser = PgConnection::connect(&server.url()?).await?;
        superuser
            .execute("CREATE ROLE managed LOGIN CREATEROLE CREATEDB")
            .await?;
        superuser.close().await?;
        let made = Self {
            server,
            login,
            database,
        };
        let output = made
            .command("psql", "managed", "postgres")?
            .args([
                "-qX",
                "-v",
                &format!("login={login}"),
                "-v",
                &format!("database={database}"),
            ])
            .args([
                "-f",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/analytics.sql"),
            ])
            .output()
            .await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(made)
    }

    fn url(&self, login: &str) -> Result<String> {
        let mut url: url::Url = self.server.url()?.parse()?;
        url.set_path(self.database);
        ensure!(url.set_username(login).is_ok(), "a URL takes a user");
        Ok(url.into())
    }

    /// A program that connects as the environment says.
    fn command(&self, program: &str, login: &str, database: &str) -> Result<Command> {
        let url: url::Url = self.server.url()?.parse()?;
        let mut command = Command::new(program);
        command
            .env("PGHOST", url.host_str().context("a host")?)
            .env("PGPORT", url.port().context("a port")?.to_string())
            .env("PGUSER", login)
            .env("PGDATABASE", database);
        Ok(command)
    }

    async fn script(&self, name: &str, login: &str, file: &Path) -> Result<Output> {
        let script = format!("{}/../deploy/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut command = self.command(&script, login, self.database)?;
        Ok(command.arg(file).output().await?)
    }

    async fn superuser(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.url("postgres")?).await?)
    }
}

/// The number of rows of each table and a digest of them, as a superuser sees them, and the position of each sequence.
async fn contents(database: &mut PgConnection) -> Result<Vec<(String, i64, Option<String>)>> {
    let mut all = Vec::new();
    for table in TABLES.iter().chain(&["_sqlx_migrations"]) {
        let statement =
            format!("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t");
        let (count, digest) = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_one(&mut *database)
            .await?;
        all.push(((*table).to_owned(), count, digest));
    }
    let sequences: Vec<(String, i64)> =
        sqlx::query_as("SELECT sequencename::text, coalesce(last_value, 0) FROM pg_sequences ORDER BY 1")
            .fetch_all(database)
            .await?;
    ensure!(!sequences.is_empty(), "no sequence");
    all.extend(
        sequences
            .into_iter()
            .map(|(name, position)| (name, position, None)),
    );
    Ok(all)
}

/// Rights, policies, triggers, constraints and indexes of all tables, as one text.
/// The owner's own policies, which only servers before PostgreSQL 15 have, name `owner` here.
async fn shape(database: &mut PgConnection, owner: &str) -> Result<String> {
    let shape: String = sqlx::query_scalar(include_str!("backup/shape.sql"))
        .fetch_one(database)
        .await?;
    Ok(shape.replace(&format!("\"roles\": [\"{owner}\"]"), "\"roles\": [\"owner\"]"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn run(stage: &Stage, database: &str, command: &str) -> Result<()> {
    let args: Vec<&str> = command.split(' ').collect();
    let answer = stage
        .tidemark_with(&args, &[("TIDEMARK_DATABASE_URL", database)])
        .await?;
    ensure!(answer.code == 0, "{command}: {answer:?}");
    Ok(())
}

#[tokio::test]
async fn every_row_of_every_table_is_dumped_and_restored_by_owners_without_superuser() {
    on_stage(|stage| async move {
        let tenants = stage.sample(80, 2, 21).await?;
        let old = Managed::new("fleet", "numbers").await?;
        let analytics = old.url("fleet")?;
        run(&stage, &analytics, "migrate").await?;
        for tenant in &tenants {
            run(
                &stage,
                &analytics,
                &format!("tenant add --id {tenant} --name T{tenant} --account-id {tenant}"),
            )
            .await?;
            run(&stage, &analytics, &format!("inbox discover --tenant {tenant}")).await?;
        }
        run(&stage, &analytics, "sync --local --all").await?;
        run(&stage, &analytics, "verify --all").await?;
        let mut before = old.superuser().await?;
        sqlx::raw_sql(OTHER_ROWS).execute(&mut before).await?;
        let newest: i64 = sqlx::query_scalar("SELECT max(id) FROM etl_control")
            .fetch_one(&mut before)
            .await?;
        let there = contents(&mut before).await?;
        for (table, count, _) in &there {
            ensure!(*count > 0, "{table} is empty, so the test shows nothing of it");
        }
        let file = old.server.path("dump");
        assert_refused_until_all_is_visible(&old, &mut before, &file).await?;
        ensure!(
            contents(&mut before).await? == there,
            "the backup has changed something"
        );

        let new = Managed::new("other", "restored").await?;
        let restored = new.script("restore.sh", "other", &file).await?;
        ensure!(restored.status.success(), "{}", text(&restored));
        let mut after = new.superuser().await?;
        let here = contents(&mut after).await?;
        ensure!(here == there, "{here:#?}, not {there:#?}");
        let (shape_before, shape_after) = (
            shape(&mut before, "fleet").await?,
            shape(&mut after, "other").await?,
        );
        ensure!(shape_before == shape_after, "{shape_before}\n{shape_after}");
        let again = new.script("restore.sh", "other", &file).await?;
        ensure!(
            !again.status.success() && text(&again).contains("has the tables already"),
            "{again:?}"
        );

        // what was made up for the dump would change what is synced
        for database in [&mut before, &mut after] {
            sqlx::raw_sql(
                "DELETE FROM etl_withheld_conversation; DELETE FROM etl_forgotten_contact; \
                 DELETE FROM etl_name WHERE id = 900000",
            )
            .execute(database)
            .await?;
        }
        // an owner that dumps may run processes
        run(&stage, &old.url("fleet")?, "sync --local --tenant 1").await?;
        // the fleet goes on there
        let analytics = new.url("other")?;
        run(&stage, &analytics, "migrate --check").await?;
        run(&stage, &analytics, "sync --local --all").await?;
        run(&stage, &analytics, "verify --all").await?;
        let written: i64 = sqlx::query_scalar(
            "SELECT sum(records_inserted + records_updated)::bigint FROM etl_control WHERE id > $1",
        )
        .bind(newest)
        .fetch_one(&mut after)
        .await?;
        ensure!(
            written == 0,
            "{written} rows were written again after the restore"
        );
        Ok(())
    })
    .await;
}

/// The owner alone is refused, and so is a dump that a policy would hide rows from; at the end there is one.
async fn assert_refused_until_all_is_visible(
    old: &Managed,
    superuser: &mut PgConnection,
    file: &Path,
) -> Result<()> {
    let plain = old
        .command("pg_dump", old.login, old.database)?
        .args(["--format=custom", "--file"])
        .arg(file)
        .output()
        .await?;
    ensure!(
        text(&plain).contains("row-level security"),
        "a plain dump by the owner: {plain:?}"
    );
    let refused = old.script("backup.sh", old.login, file).await?;
    let advice = "GRANT admin_users TO fleet;";
    ensure!(
        !refused.status.success() && text(&refused).contains(advice),
        "{refused:?}"
    );
    PgConnection::connect(&old.url("managed")?)
        .await?
        .execute(advice)
        .await?;
    for (damage, repair) in [
        (
            "DROP POLICY admin ON etl_name",
            "CREATE POLICY admin ON etl_name FOR SELECT TO admin_users USING (true);",
        ),
        (
            "ALTER POLICY admin ON tenants USING (id = 1)",
            "ALTER POLICY admin ON tenants USING (true)",
        ),
        (
            "CREATE POLICY less ON etl_chunk AS RESTRICTIVE USING (tenant_id = 1)",
            "DROP POLICY less ON etl_chunk",
        ),
        (
            "REVOKE SELECT ON etl_fence FROM admin_users",
            "GRANT SELECT ON etl_fence TO admin_users;",
        ),
    ] {
        superuser.execute(damage).await?;
        let refused = old.script("backup.sh", old.login, file).await?;
        let table = damage
            .split(' ')
            .skip_while(|word| *word != "ON")
            .nth(1)
            .context("a table")?;
        ensure!(
            !refused.status.success() && text(&refused).contains(&format!("  {table}: ")),
            "{damage}: {refused:?}"
        );
        superuser.execute(repair).await?;
    }
    let dumped = old.script("backup.sh", old.login, file).await?;
    ensure!(dumped.status.success(), "{}", text(&dumped));
    Ok(())
}

#[tokio::test]
async fn doctor_names_tables_that_a_dump_would_lack_rows_of() {
    on_stage(|stage| async move {
        for (damage, part) in [
            (
                "DROP POLICY admin ON etl_name",
                "no policy shows all rows of etl_name",
            ),
            (
                "CREATE POLICY less ON etl_chunk AS RESTRICTIVE USING (true)",
                "the restrictive policy less",
            ),
            (
                "REVOKE SELECT ON etl_fence FROM admin_users",
                "admin_users may not read etl_fence",
            ),
        ] {
            let found = backup_findings(&stage).await?;
            ensure!(found.is_empty(), "before {damage}: {found:?}");
            stage.target.execute(damage).await?;
            let found = backup_findings(&stage).await?;
            ensure!(
                found.len() == 1 && found[0].0.contains(part),
                "{damage}: {found:?}"
            );
            stage.target.execute(AssertSqlSafe(found[0].1.clone())).await?;
        }
        let found = backup_findings(&stage).await?;
        ensure!(found.is_empty(), "{found:?}");
        Ok(())
    })
    .await;
}

/// What doctor says of the backup, and the statement that fixes it.
async fn backup_findings(stage: &Stage) -> Result<Vec<(String, String)>> {
    let report = stage.tidemark(&["doctor", "--json"]).await?.json();
    let groups = report["groups"].as_array().context("groups")?;
    let findings = groups
        .iter()
        .filter_map(|group| group["findings"].as_array())
        .flatten();
    Ok(findings
        .filter(|finding| finding["check"] == "backup")
        .map(|finding| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (text(&finding["found"]), text(&finding["todo"][0]))
        })
        .collect())
}
