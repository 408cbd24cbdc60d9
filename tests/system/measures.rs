//! Chatwoot's own measures: the views over messages and events, and the queries of docs/data.md.

use anyhow::{Context, Result, ensure};
use tidemark_sample::CreateOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::stage::{Stage, on_stage};

/// The SQL blocks of "Queries" in docs/data.md, each with its first line.
fn documented_queries() -> Vec<(String, String)> {
    let page = include_str!("../../docs/data.md");
    let (_, section) = page.split_once("\n## Queries\n").expect("the page has the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    section
        .split("```sql\n")
        .skip(1)
        .filter_map(|block| block.split_once("```"))
        .map(|(query, _)| {
            let title = query.lines().next().unwrap_or_default().to_owned();
            (title, query.trim_end().trim_end_matches(';').to_owned())
        })
        .collect()
}

async fn dashboard(stage: &Stage, tenant: i32) -> Result<PgConnection> {
    let mut connection = PgConnection::connect(&stage.owner_url("target")).await?;
    connection
        .execute(AssertSqlSafe(format!(
            "SET ROLE authenticated_users; SET app.current_tenant_id = '{tenant}'"
        )))
        .await?;
    Ok(connection)
}

#[tokio::test]
async fn every_documented_query_returns_rows_to_a_dashboard() {
    on_stage(|stage| async move {
        let options = CreateOptions {
            conversations: 600,
            // queries over the last days find something
            reference_time: None,
            ..CreateOptions::tiny()
        };
        let tenants = stage.sample_with(options).await?;
        stage.sync_local(&["--all"]).await?;
        let mut connection = dashboard(&stage, tenants[0]).await?;
        let queries = documented_queries();
        ensure!(queries.len() >= 10, "{} queries", queries.len());
        for (title, query) in queries {
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM ({query}) q")))
                .fetch_one(&mut connection)
                .await
                .with_context(|| title.clone())?;
            ensure!(rows > 0, "no row: {title}");
        }
        Ok(())
    })
    .await;
}

/// What Chatwoot's report builders compute for each account: count and mean of the events by day, agent and name, and the
/// distinct conversations that were resolved.
#[tokio::test]
async fn reports_over_events_are_those_of_chatwoot() {
    on_stage(|stage| async move {
        let tenants = stage.sample(1_500, 3, 31).await?;
        stage.sync_local(&["--all"]).await?;
        let report = |day: &str, table: &str, condition: &str| {
            format!(
                "SELECT {day}::text, user_id::bigint, name, count(*), round(avg(value::numeric), 6)::text, \
                        round(avg(value_in_business_hours::numeric), 6)::text, \
                        count(DISTINCT conversation_id) FILTER (WHERE name = 'conversation_resolved') \
                 FROM {table} WHERE {condition} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            )
        };
        type Row = (String, Option<i64>, String, i64, Option<String>, Option<String>, i64);
        for tenant in tenants {
            let theirs: Vec<Row> = sqlx::query_as(AssertSqlSafe(report(
                "created_at::date",
                "reporting_events",
                &format!("account_id = {tenant}"),
            )))
            .fetch_all(&stage.source)
            .await?;
            ensure!(!theirs.is_empty(), "the sample has no events");
            let mut connection = dashboard(&stage, tenant).await?;
            let ours: Vec<Row> = sqlx::query_as(AssertSqlSafe(report(
                "(created_at AT TIME ZONE 'UTC')::date",
                "reporting_events_live",
                "true",
            )))
            .fetch_all(&mut connection)
            .await?;
            ensure!(theirs == ours, "tenant {tenant}:\n{theirs:?}\n{ours:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn messages_have_one_row_each_and_a_tenant_sees_its_own() {
    on_stage(|stage| async move {
        let tenants = stage.sample(300, 2, 37).await?;
        stage.sync_local(&["--all"]).await?;
        for tenant in tenants {
            let count = "SELECT count(*), count(DISTINCT message_id), sum(length(text)) FROM messages_live";
            let mut connection = dashboard(&stage, tenant).await?;
            let seen: (i64, i64, Option<i64>) = sqlx::query_as(count).fetch_one(&mut connection).await?;
            let sent: (i64, i64, Option<i64>) = sqlx::query_as(
                "SELECT count(*), count(*), sum(length(m.content)) FROM messages m \
                 JOIN conversations c ON c.id = m.conversation_id WHERE c.account_id = $1",
            )
            .bind(tenant)
            .fetch_one(&stage.source)
            .await?;
            ensure!(seen == sent && seen.0 > 0, "tenant {tenant}: {seen:?}, not {sent:?}");
        }
        Ok(())
    })
    .await;
}
