//! Databases of other encodings than UTF8: refused for ledger and target, read as a source.

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tidemark_ledger::MIGRATOR;
use tokio::process::Command;

use crate::stage::{Stage, on_stage};

/// Creates a database with this encoding on the test's server and returns its URL.
async fn create(stage: &Stage, side: &str, encoding: &str) -> Result<String> {
    let name = stage.database(side);
    let create = format!(
        "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    stage.admin().await?.execute(AssertSqlSafe(create)).await?;
    Ok(url_of(stage, &name))
}

fn url_of(stage: &Stage, database: &str) -> String {
    let mut url: url::Url = stage
        .owner_url("target")
        .parse()
        .expect("the test server's URL is valid");
    url.set_path(database);
    url.into()
}

async fn drop_all(stage: &Stage, databases: &[String]) -> Result<()> {
    let mut admin = stage.admin().await?;
    for database in databases {
        let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
        admin.execute(AssertSqlSafe(drop)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_analytics_database_of_another_encoding_is_refused_with_the_statement_for_another_one() {
    on_stage(|stage| async move {
        let names = ["latin", "bytes"].map(|side| stage.database(side));
        let made = names.clone().map(|name| format!("{name}_utf8"));
        let outcome = refused_and_made(&stage, &["latin", "bytes"]).await;
        drop_all(&stage, &[names, made].concat()).await?;
        outcome
    })
    .await;
}

async fn refused_and_made(stage: &Stage, sides: &[&str]) -> Result<()> {
    for (side, encoding) in sides.iter().zip(["LATIN1", "SQL_ASCII"]) {
        let url = create(stage, side, encoding).await?;
        let there = [("TIDEMARK_DATABASE_URL", url.as_str())];
        for command in [&["migrate"][..], &["migrate", "--check"]] {
            let refused = stage.tidemark_with(command, &there).await?;
            ensure!(
                refused.code == 78 && refused.stderr.contains(encoding),
                "{refused:?}"
            );
        }
        let empty: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NULL")
            .fetch_one(&mut PgConnection::connect(&url).await?)
            .await?;
        ensure!(empty, "something was created");

        let answer = stage.tidemark_with(&["doctor", "--json"], &there).await?;
        let report = answer.json();
        let finding = report["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|group| group["group"] == "ledger")
            .flat_map(|group| group["findings"].as_array().into_iter().flatten())
            .find(|finding| finding["check"] == "encoding")
            .with_context(|| format!("a finding of the encoding: {report:#}"))?;
        ensure!(finding["level"] == "error" && answer.code == 1, "{finding:#}");
        // one that an earlier version has migrated
        let mut connection = PgConnection::connect(&url).await?;
        connection.execute("SET client_encoding = 'LATIN1'").await?;
        MIGRATOR.run(&mut connection).await?;
        connection.close().await?;
        let mut login: url::Url = stage.url("target").parse()?;
        login.set_path(&stage.database(side));
        for process in [&["worker"][..], &["status"], &["sync", "--local", "--all"]] {
            let refused = stage
                .tidemark_with(process, &[("TIDEMARK_DATABASE_URL", login.as_str())])
                .await?;
            ensure!(
                refused.code == 78
                    && refused.stderr.contains(encoding)
                    && refused.stderr.contains("CREATE DATABASE"),
                "{process:?}: {refused:?}"
            );
        }
        let statement = finding["todo"][0].as_str().context("a statement")?.to_owned();
        stage
            .admin()
            .await?
            .execute(AssertSqlSafe(statement.clone()))
            .await
            .context(statement)?;
        let made = url_of(stage, &format!("{}_utf8", stage.database(side)));
        let migrated = stage
            .tidemark_with(&["migrate"], &[("TIDEMARK_DATABASE_URL", &made)])
            .await?;
        ensure!(migrated.code == 0, "{migrated:?}");
    }
    Ok(())
}

/// Leaves characters in the source that LATIN1 has, and some that are not ASCII.
const LATIN_ONLY: &str = r#"
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c
               JOIN information_schema.tables t USING (table_schema, table_name)
               WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
                 AND c.data_type IN ('text', 'character varying', 'jsonb', 'json') LOOP
        EXECUTE format('UPDATE %I SET %I = regexp_replace(%2$I::text, ''[^\x01-\xff]'', ''é'', ''g'')::%s WHERE %2$I::text ~ ''[^\x01-\xff]''',
                       one.table_name, one.column_name, one.data_type);
    END LOOP;
END
$$;
UPDATE messages SET content = 'São Paulo, coração: ' || content;
"#;

async fn copy(from: &str, to: &str) -> Result<()> {
    let output = Command::new("bash")
        .args([
            "-c",
            // newer clients set a parameter that older servers do not know
            "set -o pipefail; pg_dump --no-comments \"$1\" | sed '/^SET transaction_timeout/d' \
                | psql -qX -v ON_ERROR_STOP=1 \"$2\"",
            "copy",
            from,
            to,
        ])
        .output()
        .await
        .context("run pg_dump and psql")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn a_source_of_another_encoding_is_read_and_one_without_an_encoding_is_named() {
    on_stage(|stage| async move {
        let names = ["latin", "bytes"].map(|side| stage.database(side));
        let outcome = read_from_others(&stage).await;
        drop_all(&stage, &names).await?;
        outcome
    })
    .await;
}

async fn read_from_others(stage: &Stage) -> Result<()> {
    stage.sample(60, 1, 9).await?;
    sqlx::raw_sql(LATIN_ONLY).execute(&stage.source).await?;
    for (side, encoding) in [("latin", "LATIN1"), ("bytes", "SQL_ASCII")] {
        let url = create(stage, side, encoding).await?;
        copy(&stage.owner_url("source"), &url).await?;
        let there = [("TIDEMARK_SOURCE_URL", url.as_str())];
        stage
            .target
            .execute("TRUNCATE etl_source, etl_fence, conversations_analytics, etl_control CASCADE")
            .await?;
        let synced = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1", "--full"], &there)
            .await?;
        ensure!(synced.code == 0, "{encoding}: {synced:?}");
        stage.assert_equal(&[1]).await.context(encoding)?;
        let verified = stage.tidemark_with(&["verify", "--tenant", "1"], &there).await?;
        ensure!(verified.code == 0, "{encoding}: {verified:?}");
        let doctor = stage.tidemark_with(&["doctor", "--json"], &there).await?;
        let is_named = doctor.stdout.contains("SQL_ASCII");
        ensure!(
            is_named == (encoding == "SQL_ASCII"),
            "{encoding}: {}",
            doctor.stdout
        );
    }
    // bytes that are no text of UTF8 cost their conversation and no other
    let url = url_of(stage, &stage.database("bytes"));
    let broken: i64 = sqlx::query_scalar(
        "UPDATE messages SET content = content || E'\\xe9', updated_at = now() AT TIME ZONE 'UTC' \
         WHERE id = (SELECT min(id) FROM messages) RETURNING conversation_id::bigint",
    )
    .fetch_one(&mut PgConnection::connect(&url).await?)
    .await?;
    let synced = stage
        .tidemark_with(
            &["sync", "--local", "--tenant", "1"],
            &[("TIDEMARK_SOURCE_URL", &url)],
        )
        .await?;
    let rejected: Vec<i64> =
        sqlx::query_scalar("SELECT conversation_id FROM etl_rejected_row WHERE resolved_at IS NULL")
            .fetch_all(&stage.target)
            .await?;
    ensure!(
        synced.code == 2 && rejected == [broken],
        "{rejected:?}, not {broken}: {synced:?}"
    );
    Ok(())
}
