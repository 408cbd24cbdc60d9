//! `conversation_daily`: sums by day that are those of the rows.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};
use tidemark_sample::CreateOptions;

use crate::stage::{Stage, on_stage};

/// Rows of one side that the other lacks: the sums, and what they should be.
const DIFFERENCES: &str = include_str!("daily/differences.sql");

async fn assert_sums(stage: &Stage) -> Result<()> {
    let (different, days): (i64, i64) = sqlx::query_as(DIFFERENCES).fetch_one(&stage.target).await?;
    ensure!(different == 0 && days > 10, "{different} of {days} rows differ");
    Ok(())
}

#[tokio::test]
async fn sums_by_day_are_those_of_the_rows_after_every_kind_of_change() {
    on_stage(|stage| async move {
        stage.sample(300, 2, 61).await?;
        stage.sync_local(&["--all"]).await?;
        assert_sums(&stage).await?;
        stage
            .source
            .execute(
                "UPDATE conversations SET status = 1 - least(status, 1), assignee_id = CASE WHEN id % 2 = 0 THEN NULL ELSE assignee_id END, \
                        updated_at = now() AT TIME ZONE 'UTC' WHERE id % 5 = 0; \
                 UPDATE conversations SET created_at = created_at - interval '40 days', updated_at = now() AT TIME ZONE 'UTC' WHERE id % 7 = 0; \
                 DELETE FROM messages WHERE conversation_id % 50 = 3; DELETE FROM csat_survey_responses WHERE conversation_id % 50 = 3; \
                 DELETE FROM conversations WHERE id % 50 = 3",
            )
            .await?;
        stage.sync_local(&["--all"]).await?;
        assert_sums(&stage).await?;
        // another zone has other days
        let zone = stage.tidemark(&["tenant", "set", "--tenant", "1", "--timezone", "Pacific/Kiritimati"]).await?;
        ensure!(zone.code == 0, "{zone:?}");
        stage.sync_local(&["--tenant", "1", "--full"]).await?;
        assert_sums(&stage).await?;
        let contact: i64 = sqlx::query_scalar("SELECT min(contact_id) FROM conversations_analytics WHERE tenant_id = 2")
            .fetch_one(&stage.target)
            .await?;
        let forgotten = stage
            .tidemark(&["tenant", "forget", "--tenant", "2", "--contact", &contact.to_string(), "--yes", "--reason", "asked"])
            .await?;
        ensure!(forgotten.code == 0, "{forgotten:?}");
        // a finalizer does it beside the runs
        let finalizer = stage.start(&["finalizer"])?;
        stage.until(&format!("SELECT different = 0 FROM ({DIFFERENCES}) d")).await?;
        finalizer.stop().await
    })
    .await;
}

/// The queries of the dashboard, with its variables and macros as Grafana fills them in.
fn dashboard_queries() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(include_str!("../../deploy/grafana/tenant.json"))?;
    let mut queries = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().context("a list")? {
        if variable["type"] == "query" {
            queries.push((
                "variable".to_owned(),
                variable["query"].as_str().context("a query")?.to_owned(),
            ));
        }
    }
    for panel in dashboard["panels"].as_array().context("a list")? {
        for target in panel["targets"].as_array().context("a list")? {
            let sql = target["rawSql"].as_str().context("a query")?;
            let sql = sql
                .replace(
                    "$__timeFilter(conversation_date)",
                    "conversation_date BETWEEN '1970-01-01T00:00:00Z' AND '2100-01-01T00:00:00.123Z'",
                )
                .replace("${inbox:csv}", "SELECT DISTINCT inbox_id FROM conversation_daily");
            ensure!(!sql.contains('$'), "{sql}");
            queries.push((panel["title"].as_str().unwrap_or_default().to_owned(), sql));
        }
    }
    Ok(queries)
}

#[tokio::test]
async fn every_query_of_the_tenants_dashboard_has_rows_for_a_bound_login() {
    on_stage(|stage| async move {
        let options = CreateOptions {
            conversations: 300,
            tenants: 2,
            seed: 62,
            // queries over the last days find something
            reference_time: None,
            ..CreateOptions::tiny()
        };
        stage.sample_with(options).await?;
        stage.sync_local(&["--all"]).await?;
        let (owner, name) = (stage.owner_url("target"), stage.database("grafana"));
        let args = ["--database-url", &owner, "tenant", "login", "add", "--tenant", "2", "--name", &name, "--password-file", "-"];
        let added = stage.tidemark_with_input(&args, "correct horse battery staple").await?;
        ensure!(added.code == 0, "{added:?}");
        let mut url: url::Url = owner.parse()?;
        let named = url.set_username(&name).and_then(|()| url.set_password(Some("correct horse battery staple")));
        ensure!(named.is_ok(), "a URL takes a user");
        let asked = async {
            let mut grafana = PgConnection::connect(url.as_str()).await?;
            let mut queries = dashboard_queries()?;
            let document = include_str!("../../docs/data.md");
            let documented = document
                .split_once("\n## Sums by day\n")
                .and_then(|(_, section)| section.split_once("```sql\n")?.1.split_once("```"))
                .context("the section has a query")?;
            queries.push(("docs/data.md".to_owned(), documented.0.to_owned()));
            ensure!(queries.len() > 10, "{} queries", queries.len());
            for (title, sql) in queries {
                let rows = grafana
                    .fetch_all(raw_sql(AssertSqlSafe(sql.clone())))
                    .await
                    .with_context(|| format!("{title}: {sql}"))?;
                ensure!(!rows.is_empty(), "{title} has no row");
            }
            let (shown, there): (i64, i64) = sqlx::query_as(
                "SELECT sum(conversation_count), (SELECT count(*) FROM conversations_analytics_live) FROM conversation_daily",
            )
            .fetch_one(&mut grafana)
            .await?;
            let tenant: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics WHERE tenant_id = 2 AND source_deleted_at IS NULL")
                .fetch_one(&stage.target)
                .await?;
            ensure!(shown == tenant && there == tenant, "{shown}, {there} and {tenant}");
            Ok(())
        }
        .await;
        let removed = stage
            .tidemark(&["--database-url", &owner, "tenant", "login", "remove", "--name", &name])
            .await?;
        ensure!(removed.code == 0, "{removed:?}");
        asked
    })
    .await;
}

#[tokio::test]
async fn a_day_begins_at_midnight_of_the_tenant() {
    on_stage(|stage| async move {
        // São Paulo has no summer time since 2019; in Lisbon the clocks of 2026 change on 29 March and on 25 October
        let inboxes: Vec<i32> = vec![1];
        stage
            .source
            .execute(
                "INSERT INTO accounts (id, name, created_at, updated_at) VALUES (1, 'One', now(), now()), (2, 'Two', now(), now()); \
                 INSERT INTO inboxes (id, channel_id, account_id, name, created_at, updated_at, channel_type) \
                 VALUES (1, 1, 1, 'First', now(), now(), 'Channel::Api'), (2, 2, 2, 'Second', now(), now(), 'Channel::Api')",
            )
            .await?;
        let cases = [
            (1, "2026-03-10 02:59:59.999999", "2026-03-09"),
            (1, "2026-03-10 03:00:00", "2026-03-10"),
            (2, "2026-03-28 23:59:59.999999", "2026-03-28"),
            (2, "2026-03-29 00:00:00", "2026-03-29"),
            (2, "2026-03-29 22:59:59.999999", "2026-03-29"),
            (2, "2026-03-29 23:00:00", "2026-03-30"),
            (2, "2026-10-24 23:00:00", "2026-10-25"),
            (2, "2026-10-25 23:59:59", "2026-10-25"),
            (2, "2026-10-26 00:00:00", "2026-10-26"),
        ];
        for (number, (account, at, _)) in cases.iter().enumerate() {
            stage
                .source
                .execute(AssertSqlSafe(format!(
                    "INSERT INTO conversations (id, account_id, inbox_id, status, display_id, created_at, updated_at, last_activity_at, uuid) \
                     VALUES ({0}, {account}, {account}, 0, {0}, '{at}', '{at}', '{at}', gen_random_uuid())",
                    number + 1
                )))
                .await?;
        }
        stage.tenant(1, "America/Sao_Paulo", &inboxes).await?;
        stage.tenant(2, "Europe/Lisbon", &[2]).await?;
        stage.sync_local(&["--all"]).await?;
        let days: Vec<(i32, String, i32)> = sqlx::query_as(
            "SELECT tenant_id, conversation_date::text, conversation_count FROM conversation_daily ORDER BY 1, 2",
        )
        .fetch_all(&stage.target)
        .await?;
        let mut expected: std::collections::BTreeMap<(i32, String), i32> = std::collections::BTreeMap::new();
        for (account, _, day) in cases {
            *expected.entry((account, day.to_owned())).or_default() += 1;
        }
        let expected: Vec<(i32, String, i32)> = expected.into_iter().map(|((tenant, day), count)| (tenant, day, count)).collect();
        ensure!(days == expected, "{days:?}");
        Ok(())
    })
    .await;
}
