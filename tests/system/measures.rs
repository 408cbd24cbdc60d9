//! Chatwoot's own measures: the views over messages and events, and the queries of docs/data.md.

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};
use tidemark_sample::CreateOptions;

use crate::columns::assert_reference;
use crate::stage::{Stage, on_stage};

/// The SQL blocks of "Queries" in docs/data.md, each with its first line.
fn documented_queries() -> Vec<(String, String)> {
    let page = include_str!("../../docs/data.md");
    let (_, section) = page
        .split_once("\n## Queries\n")
        .expect("the page has the section");
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
        type Row = (
            String,
            Option<i64>,
            String,
            i64,
            Option<String>,
            Option<String>,
            i64,
        );
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
            ensure!(
                seen == sent && seen.0 > 0,
                "tenant {tenant}: {seen:?}, not {sent:?}"
            );
        }
        Ok(())
    })
    .await;
}

/// Rows beside three conversations that no timestamp of the conversation or of a message shows, each with its signal.
const RELATED_CHANGES: [(&str, &str); 3] = [
    (
        "events",
        "INSERT INTO reporting_events (name, value, conversation_id, account_id, inbox_id, created_at, updated_at) \
         SELECT 'reply_time', 7, id, account_id, inbox_id, now() AT TIME ZONE 'UTC', now() FROM conversations WHERE id = 3",
    ),
    (
        "slas",
        "INSERT INTO applied_slas (account_id, sla_policy_id, conversation_id, sla_status, created_at, updated_at) \
         SELECT account_id, 1, id, 2, now(), now() AT TIME ZONE 'UTC' FROM conversations WHERE id = 4",
    ),
    (
        "participants",
        "INSERT INTO conversation_participants (account_id, user_id, conversation_id, created_at, updated_at) \
         SELECT account_id, 99, id, now(), now() AT TIME ZONE 'UTC' FROM conversations WHERE id = 5",
    ),
];

#[tokio::test]
async fn a_sync_takes_what_was_added_beside_a_conversation() {
    on_stage(|stage| async move {
        let tenants = stage.sample(60, 1, 41).await?;
        stage.sync_local(&["--all"]).await?;
        for (signal, change) in RELATED_CHANGES {
            stage.source.execute(change).await?;
            let run = stage.sync_local(&["--tenant", "1"]).await?;
            ensure!(run["signals"][signal] == 1, "{signal}: {run:#}");
        }
        assert_reference(&stage).await?;
        stage.assert_proven(&tenants, &[]).await
    })
    .await;
}

/// Deletions and changes that no signal shows.
const SILENT_CHANGES: [&str; 9] = [
    "DELETE FROM conversation_participants WHERE conversation_id = \
         (SELECT min(conversation_id) FROM conversation_participants)",
    "DELETE FROM reporting_events WHERE id = (SELECT max(id) FROM reporting_events)",
    "INSERT INTO attachments (message_id, account_id, created_at, updated_at) \
         SELECT min(id), 1, now(), now() FROM messages WHERE conversation_id = 2",
    "UPDATE conversations SET additional_attributes = '{\"referer\": \"here\"}', sla_policy_id = 999 WHERE id = 3",
    "UPDATE contacts SET blocked = true, custom_attributes = '{\"plan\": \"gold\"}' \
         WHERE id = (SELECT contact_id FROM conversations WHERE id = 4)",
    "UPDATE sla_policies SET name = name || ' renamed'",
    "UPDATE messages SET content_attributes = '{\"deleted\": true}' WHERE id = (SELECT max(id) FROM messages)",
    "UPDATE users SET display_name = 'shown' WHERE id = (SELECT min(assignee_id) FROM conversations)",
    "UPDATE working_hours SET closed_all_day = NOT closed_all_day",
];

#[tokio::test]
async fn a_verification_finds_each_change_that_no_time_shows() {
    on_stage(|stage| async move {
        let tenants = stage.sample(120, 1, 43).await?;
        stage.sync_local(&["--all"]).await?;
        for change in SILENT_CHANGES {
            let changed = stage.source.execute(change).await?.rows_affected();
            ensure!(changed > 0, "{change} changes nothing");
            let found = stage.tidemark(&["verify", "--tenant", "1", "--json"]).await?;
            ensure!(found.code == 1, "{change}: {found:?}");
            let repaired = stage
                .tidemark(&["verify", "--tenant", "1", "--repair", "--json"])
                .await?;
            ensure!(repaired.code == 0, "{change}: {repaired:?}");
        }
        assert_reference(&stage).await?;
        stage.assert_proven(&tenants, &[]).await
    })
    .await;
}

const TABLES_OF_EARLIER_RELEASES: &str =
    "conversations, messages, contacts, inboxes, accounts, users, teams, csat_survey_responses";

#[tokio::test]
async fn rights_of_an_earlier_release_are_enough_and_more_bring_the_rest() {
    on_stage(|stage| async move {
        let tenants = stage.sample(60, 1, 47).await?;
        let reader = stage.reader_url().await?;
        let grant = format!(
            "REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM {login}; \
             GRANT SELECT ON {TABLES_OF_EARLIER_RELEASES} TO {login}",
            login = stage.login()
        );
        raw_sql(AssertSqlSafe(grant)).execute(&stage.source).await?;
        let settings = [("TIDEMARK_SOURCE_URL", reader.as_str())];
        let sync = ["sync", "--local", "--tenant", "1", "--json"];
        let first = stage.tidemark_with(&sync, &settings).await?;
        ensure!(first.code == 0, "{first:?}");
        let warnings = first.json()["warnings"].to_string();
        let said = "the login may not read reporting_events, campaigns, sla_policies, applied_slas, agent_bots, attachments, \
                    conversation_participants, working_hours";
        ensure!(warnings.contains(said), "{warnings}");
        let doctor = stage.tidemark_with(&["doctor", "--json"], &settings).await?;
        ensure!(doctor.stdout.contains(said), "{doctor:?}");

        stage.reader_url().await?;
        let second = stage.tidemark_with(&sync, &settings).await?;
        ensure!(second.code == 0, "{second:?}");
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE type = 'backfill' AND status = 'success'")
            .await?;
        assert_reference(&stage).await?;
        stage.assert_proven(&tenants, &[]).await
    })
    .await;
}

/// The last migration of the release before these columns.
const BEFORE: &str = "20261129163200";

#[tokio::test]
async fn an_upgraded_ledger_fills_the_columns_in_the_bulk_lane_by_itself() {
    on_stage(|stage| async move {
        let tenants = stage.sample(120, 2, 53).await?;
        stage.sync_local(&["--all"]).await?;
        let down = stage.tidemark(&["migrate", "--down-to", BEFORE]).await?;
        ensure!(down.code == 0, "{down:?}");
        let hides = "UPDATE tenants SET privacy = '{\"contact_email\": \"null\"}' WHERE id = 2";
        stage.target.execute(hides).await?;
        let up = stage.tidemark(&["migrate"]).await?;
        ensure!(up.code == 0, "{up:?}");
        let unfilled = "SELECT count(*) = 120 FROM conversations_analytics WHERE handled_by IS NULL";
        let is_unfilled: bool = sqlx::query_scalar(unfilled).fetch_one(&stage.target).await?;
        ensure!(is_unfilled, "the migration filled columns");
        let policy: String = sqlx::query_scalar("SELECT privacy->>'contact_attributes' FROM tenants WHERE id = 2")
            .fetch_one(&stage.target)
            .await?;
        ensure!(policy == "null", "{policy}");
        stage
            .target
            .execute("UPDATE tenants SET privacy = '{}' WHERE id = 2; UPDATE etl_watermark SET next_due_at = now()")
            .await?;

        let fleet = stage.fleet(&["producer", "worker", "finalizer"])?;
        stage
            .until(
                "SELECT count(DISTINCT r.tenant_id) = 2 FROM etl_control r JOIN etl_chunk c ON c.run_id = r.id \
                 WHERE r.type = 'backfill' AND r.status = 'success' AND c.lane = 'bulk'",
            )
            .await?;
        fleet.stop().await?;
        assert_reference(&stage).await?;
        stage.assert_proven(&tenants, &[]).await
    })
    .await;
}
