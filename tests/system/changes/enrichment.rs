//! Consumers that write beside the rows: the example of docs/data.md as SQL and as a script, and what they may not do.

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};

use crate::stage::{Stage, on_stage};

const PASSWORD: &str = "correct horse battery staple";
const DOCUMENT: &str = include_str!("../../../docs/data.md");

/// The blocks of SQL of "Enrichment": tables, statement of the consumer, query of a dashboard.
fn documented() -> Result<[&'static str; 3]> {
    let (_, section) = DOCUMENT
        .split_once("\n## Enrichment\n")
        .context("the section is there")?;
    let section = section.split("\n## ").next().unwrap_or(section);
    let blocks: Vec<&str> = section
        .split("```sql\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .collect();
    <[&str; 3]>::try_from(blocks).map_err(|blocks| anyhow::anyhow!("{} blocks", blocks.len()))
}

/// Makes the tables and a login that writes them for a tenant.
async fn set_up(stage: &Stage, name: &str) -> Result<()> {
    let [tables, ..] = documented()?;
    raw_sql(tables).execute(&stage.target).await?;
    let owner = stage.owner_url("target");
    let args = [
        "--database-url",
        &owner,
        "tenant",
        "login",
        "add",
        "--tenant",
        "1",
        "--name",
        name,
        "--writes-enrichment",
        "--password-file",
        "-",
    ];
    let added = stage.tidemark_with_input(&args, PASSWORD).await?;
    ensure!(added.code == 0, "{added:?}");
    Ok(())
}

async fn remove(stage: &Stage, name: &str) -> Result<()> {
    let owner = stage.owner_url("target");
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
    Ok(())
}

fn url(stage: &Stage, name: &str) -> Result<String> {
    let mut url: url::Url = stage.owner_url("target").parse()?;
    let named = url
        .set_username(name)
        .and_then(|()| url.set_password(Some(PASSWORD)));
    ensure!(named.is_ok(), "a URL takes a user");
    Ok(url.into())
}

/// Labels that are wrong: of another text than the last, missing, or of a conversation that is gone.
async fn wrong_labels(stage: &Stage) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT * FROM conversations_analytics_live WHERE tenant_id = 1 AND last_customer_text IS NOT NULL) a \
         FULL JOIN enrichment.conversation_label l USING (tenant_id, conversation_id) \
         WHERE a.last_customer_message_at IS DISTINCT FROM l.labelled_of \
            OR l.label IS DISTINCT FROM CASE WHEN a.last_customer_text ILIKE '%boleto%' THEN 'billing' ELSE 'other' END",
    )
    .fetch_one(&stage.target)
    .await?)
}

/// Customers write again, and conversations are deleted.
async fn go_on(stage: &Stage) -> Result<()> {
    stage
        .source
        .execute(
            "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at, sender_type, sender_id) \
             SELECT CASE WHEN id % 2 = 0 THEN E'Onde está o boleto?\\n\\'\"\\\\' ELSE 'Obrigado' END, account_id, inbox_id, id, 0, \
                    now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', 'Contact', contact_id FROM conversations WHERE id % 4 < 2; \
             DELETE FROM messages WHERE conversation_id % 9 = 2; DELETE FROM csat_survey_responses WHERE conversation_id % 9 = 2; \
             DELETE FROM conversations WHERE id % 9 = 2",
        )
        .await?;
    let synced = stage
        .tidemark(&["sync", "--local", "--all", "--allow-mass-delete"])
        .await?;
    ensure!(synced.code == 0, "{synced:?}");
    Ok(())
}

#[tokio::test]
async fn the_documented_consumer_labels_what_is_new_and_touches_no_row_of_ours() {
    on_stage(|stage| async move {
        stage.sample(80, 2, 55).await?;
        stage.sync_local(&["--all"]).await?;
        let name = stage.database("labels");
        set_up(&stage, &name).await?;
        let outcome = consume(&stage, &name).await;
        remove(&stage, &name).await?;
        outcome
    })
    .await;
}

async fn consume(stage: &Stage, name: &str) -> Result<()> {
    let [_, statement, query] = documented()?;
    let mut consumer = PgConnection::connect(&url(stage, name)?).await?;
    let mut read_all = async || -> Result<i64> {
        let mut read = 0;
        loop {
            let part: i64 = sqlx::query_scalar(statement).fetch_one(&mut consumer).await?;
            if part == 0 {
                return Ok(read);
            }
            read += part;
        }
    };
    let there: i64 =
        sqlx::query_scalar("SELECT count(*) FROM conversations_analytics_live WHERE tenant_id = 1")
            .fetch_one(&stage.target)
            .await?;
    ensure!(read_all().await? == there && there > 20);
    ensure!(wrong_labels(stage).await? == 0);
    go_on(stage).await?;
    ensure!(wrong_labels(stage).await? > 0, "nothing is new");
    let read = read_all().await?;
    ensure!(read > 0 && read < there, "{read} changes");
    ensure!(wrong_labels(stage).await? == 0);
    // a sync and a resync of everything leave the labels alone
    stage.sync_local(&["--all", "--full"]).await?;
    ensure!(read_all().await? == 0 && wrong_labels(stage).await? == 0);
    let shown: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(&mut consumer).await?;
    ensure!(shown.len() == 2, "{shown:?}");

    for refused in [
        "UPDATE conversations_analytics SET status = 0",
        "DELETE FROM conversation_change",
        "INSERT INTO enrichment.conversation_label VALUES (2, 1, 'x', now())",
        "CREATE TABLE enrichment.mine (x integer)",
        "CREATE FUNCTION enrichment.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE enrichment.conversation_label DISABLE ROW LEVEL SECURITY",
        "SET ROLE etl_service",
    ] {
        let code = match consumer.execute(refused).await {
            Ok(_) => None,
            Err(error) => error
                .as_database_error()
                .and_then(|error| error.code())
                .map(|code| code.into_owned()),
        };
        ensure!(code.as_deref() == Some("42501"), "{refused}: {code:?}");
    }
    raw_sql("INSERT INTO enrichment.conversation_label VALUES (2, 1, 'theirs', now())")
        .execute(&stage.target)
        .await?;
    raw_sql("SET app.current_tenant_id = '2'")
        .execute(&mut consumer)
        .await?;
    let theirs: i64 =
        sqlx::query_scalar("SELECT count(*) FROM enrichment.conversation_label WHERE tenant_id = 2")
            .fetch_one(&mut consumer)
            .await?;
    let taken = consumer
        .execute("UPDATE enrichment.conversation_label SET label = 'mine' WHERE tenant_id = 2")
        .await?;
    ensure!(
        theirs == 0 && taken.rows_affected() == 0,
        "another tenant's labels"
    );
    // a table without policies beside them is named
    raw_sql("CREATE TABLE enrichment.open (tenant_id integer, note text); GRANT SELECT ON enrichment.open TO authenticated_users")
        .execute(&stage.target)
        .await?;
    let doctor = stage.tidemark(&["doctor", "--json"]).await?;
    ensure!(
        doctor
            .stdout
            .contains("row-level security is off on enrichment.open"),
        "{}",
        doctor.stdout
    );
    Ok(())
}

#[tokio::test]
async fn the_script_labels_with_a_program_and_starts_again_when_its_cursor_is_of_no_use() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 56).await?;
        stage.sync_local(&["--all"]).await?;
        let name = stage.database("labels");
        set_up(&stage, &name).await?;
        let outcome = run_script(&stage, &name).await;
        remove(&stage, &name).await?;
        outcome
    })
    .await;
}

async fn run_script(stage: &Stage, name: &str) -> Result<()> {
    let there: url::Url = url(stage, name)?.parse()?;
    let enrich = async || -> Result<()> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/enrich.sh");
        let labeller = "if grep -qi boleto; then echo billing; else echo other; fi";
        let output = tokio::process::Command::new(script)
            .args(["sh", "-c", labeller])
            .env("PGHOST", there.host_str().unwrap_or_default())
            .env("PGPORT", there.port().unwrap_or(5432).to_string())
            .env("PGUSER", name)
            .env("PGPASSWORD", PASSWORD)
            .env("PGDATABASE", stage.database("target"))
            .output()
            .await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    };
    enrich().await?;
    ensure!(wrong_labels(stage).await? == 0);
    go_on(stage).await?;
    enrich().await?;
    ensure!(wrong_labels(stage).await? == 0);
    // the next changes are pruned before it reads them
    go_on(stage).await?;
    raw_sql(AssertSqlSafe(
        "UPDATE conversation_change SET changed_at = now() - interval '31 days'".to_owned(),
    ))
    .execute(&stage.target)
    .await?;
    let pruned = stage.tidemark(&["prune"]).await?;
    ensure!(pruned.code == 0, "{pruned:?}");
    enrich().await?;
    ensure!(wrong_labels(stage).await? == 0);
    Ok(())
}
