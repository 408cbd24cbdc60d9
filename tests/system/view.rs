//! Sources read through a published view: the rows are the same as from the tables.

mod unreadable;

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Executor};
use tidemark_worker::row::columns::COLUMNS;

use crate::stage::{Answer, Stage, on_stage};

pub const VIEW: &str = "vw_tidemark";

async fn sync(stage: &Stage, view: &str, args: &[&str]) -> Result<Answer> {
    stage
        .tidemark_with(
            &[&["sync", "--local", "--json"], args].concat(),
            &[("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", view)],
        )
        .await
}

/// Syncs all tenants through a view, which must succeed.
async fn sync_view(stage: &Stage, view: &str, args: &[&str]) -> Result<Vec<serde_json::Value>> {
    let answer = sync(stage, view, &[&["--all"], args].concat()).await?;
    ensure!(answer.code == 0, "{answer:?}");
    match answer.json() {
        serde_json::Value::Array(runs) => Ok(runs),
        run => Ok(vec![run]),
    }
}

async fn assert_verified(stage: &Stage, view: &str, tenants: &[i32]) -> Result<()> {
    for tenant in tenants {
        let answer = stage
            .tidemark_with(
                &["verify", "--deep", "--tenant", &tenant.to_string(), "--json"],
                &[("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", view)],
            )
            .await?;
        ensure!(answer.code == 0, "tenant {tenant} differs: {answer:?}");
    }
    let settings = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", view)];
    stage.assert_proven(tenants, &settings).await
}

/// Puts the rows aside and syncs them again through a view: they must be the same.
pub async fn assert_same_through(stage: &Stage, view: &str) -> Result<()> {
    stage
        .target
        .execute(
            "CREATE TABLE from_tables AS SELECT * FROM conversations_analytics WHERE source_deleted_at IS NULL; \
             TRUNCATE conversations_analytics",
        )
        .await?;
    sync_view(stage, view, &["--full", "--chunk-size", "70"]).await?;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM from_tables")
        .fetch_one(&stage.target)
        .await?;
    ensure!(rows > 0, "nothing to compare");
    let columns = COLUMNS.iter().map(|column| column.name).chain(["row_hash"]);
    let mut differences = Vec::new();
    for column in columns {
        let query = format!(
            "SELECT format('%s/%s.{column}: %s from the tables, %s from the view', tenant_id, conversation_id, \
                           left(t.{column}::text, 200), left(v.{column}::text, 200)) \
             FROM from_tables t FULL JOIN conversations_analytics v USING (tenant_id, conversation_id) \
             WHERE t.row_hash IS NULL OR v.row_hash IS NULL OR t.{column} IS DISTINCT FROM v.{column} LIMIT 5"
        );
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_all(&stage.target)
            .await?;
        differences.extend(found);
    }
    ensure!(differences.is_empty(), "{differences:#?}");
    stage.target.execute("DROP TABLE from_tables").await?;
    Ok(())
}

/// Creates the sample's view with other expressions for some columns. An empty expression leaves the column out.
async fn create_view(stage: &Stage, name: &str, columns: &[(&str, &str)]) -> Result<()> {
    let shown: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum",
    )
    .bind(VIEW)
    .fetch_all(&stage.source)
    .await?;
    let list: Vec<String> = shown
        .iter()
        .filter_map(|column| match columns.iter().find(|(name, _)| name == column) {
            None => Some(format!("o.{column}")),
            Some((_, "")) => None,
            Some((name, expression)) => Some(format!("{expression} AS {name}")),
        })
        .collect();
    let create = format!("CREATE VIEW {name} AS SELECT {} FROM {VIEW} o", list.join(", "));
    stage.source.execute(AssertSqlSafe(create)).await?;
    Ok(())
}

#[tokio::test]
async fn both_modes_give_the_same_rows_in_every_column() {
    for seed in [1, 29, 4711] {
        on_stage(|stage| async move {
            let tenants = stage.sample(300, 2, seed).await?;
            stage.sync_local(&["--all"]).await?;
            assert_same_through(&stage, VIEW).await?;
            assert_verified(&stage, VIEW, &tenants).await?;
            // and back: each row has a digest of the other mode, so each is read once more
            for found_by_digest in [true, false] {
                let runs = stage.sync_local(&["--all"]).await?;
                for run in runs.as_array().unwrap() {
                    let hits = run["signals"]["digest"].as_i64().unwrap();
                    ensure!((hits > 0) == found_by_digest, "{run:#}");
                }
            }
            stage.assert_equal(&tenants).await
        })
        .await;
    }
}

#[tokio::test]
async fn keys_that_no_message_of_a_view_has_are_warned_of_once() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 9).await?;
        let stripped = "(SELECT jsonb_agg(e - '{content_type,status,sentiment,source_id}'::text[]) \
                        FROM jsonb_array_elements(o.message_compiled) AS m (e))";
        create_view(&stage, "old_messages", &[("message_compiled", stripped)]).await?;
        let said = "view \"old_messages\": its messages have no content_type, status, sentiment, source_id (none of ";
        let runs: [(&str, &[&str]); 4] = [
            ("old_messages", &["sync", "--local", "--all"]),
            ("old_messages", &["sync", "--local", "--all", "--full"]),
            ("old_messages", &["sync", "--local", "--tenant", "1"]),
            (VIEW, &["sync", "--local", "--all", "--full"]),
        ];
        for (view, args) in runs {
            stage
                .source
                .execute("UPDATE conversations SET status = 3 - status, updated_at = now() AT TIME ZONE 'UTC' WHERE id = 3")
                .await?;
            let settings = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", view)];
            let answer = stage.tidemark_with(args, &settings).await?;
            ensure!(answer.code == 0, "{answer:?}");
            let warnings: Vec<String> = sqlx::query_scalar(
                "SELECT jsonb_array_elements_text(warnings) FROM etl_control \
                 WHERE id = (SELECT max(id) FROM etl_control)",
            )
            .fetch_all(&stage.target)
            .await?;
            let expected = usize::from(view != VIEW);
            ensure!(
                warnings.len() == expected && warnings.iter().all(|warning| warning.starts_with(said)),
                "{args:?}: {warnings:?}"
            );
            let checked = stage.tidemark_with(&["doctor", "--json"], &settings).await?;
            let times = checked.stdout.matches("its messages have no ").count();
            ensure!(times == expected, "{checked:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_fixtures_are_the_same_in_both_modes() {
    on_stage(|stage| async move {
        sqlx::raw_sql(include_str!("../reference/fixtures.sql"))
            .execute(&stage.source)
            .await?;
        stage.tenant(1, "UTC", &[11, 12, 13, 14, 15]).await?;
        stage.tenant(2, "America/Sao_Paulo", &[21]).await?;
        stage.tenant(3, "Europe/Lisbon", &[31]).await?;
        stage.tenant(4, "Asia/Kathmandu", &[41]).await?;
        stage.sync_local(&["--all"]).await?;
        assert_same_through(&stage, VIEW).await
    })
    .await;
}

#[tokio::test]
async fn views_with_other_types_give_the_same_rows() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 8).await?;
        stage.sync_local(&["--all"]).await?;
        stage
            .source
            .execute("CREATE DOMAIN label AS varchar(255); CREATE DOMAIN key AS bigint")
            .await?;
        let reversed = "(SELECT {agg}(e ORDER BY n DESC) FROM jsonb_array_elements(o.message_compiled) \
                        WITH ORDINALITY AS m (e, n))";
        for (name, messages) in [
            ("as_json", "o.message_compiled::json".to_owned()),
            ("as_json_array", reversed.replace("{agg}(e", "array_agg(e::json")),
            ("as_jsonb_array", reversed.replace("{agg}", "array_agg")),
        ] {
            let columns = [
                ("conversation_id", "o.conversation_id::key"),
                ("inbox_id", "o.inbox_id::bigint"),
                ("status", "o.status::smallint"),
                ("conversation_uuid", "o.conversation_uuid::text"),
                ("assignee_name", "o.assignee_name::label"),
                (
                    "conversation_created_at",
                    "o.conversation_created_at AT TIME ZONE 'UTC'",
                ),
                (
                    "conversation_custom_attributes",
                    "o.conversation_custom_attributes::json",
                ),
                ("message_compiled", messages.as_str()),
            ];
            create_view(&stage, name, &columns).await?;
            assert_same_through(&stage, name).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_incremental_sync_finds_what_the_view_shows_as_changed() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 6).await?;
        sync_view(&stage, VIEW, &[]).await?;
        let quiet = sync_view(&stage, VIEW, &[]).await?;
        ensure!(quiet[0]["records"]["updated"] == 0, "{quiet:#?}");

        for change in [
            "UPDATE conversations SET agent_last_seen_at = now() AT TIME ZONE 'UTC' WHERE id = 11",
            "UPDATE conversations SET priority = coalesce(priority, 0) + 1 WHERE id = 12",
            "UPDATE contacts SET name = 'Outro nome' WHERE id = (SELECT contact_id FROM conversations WHERE id = 13)",
            "INSERT INTO messages (account_id, inbox_id, conversation_id, message_type, content, created_at, updated_at) \
             SELECT account_id, inbox_id, id, 0, 'novo', now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC' \
             FROM conversations WHERE id = 14; \
             UPDATE conversations SET last_activity_at = now() AT TIME ZONE 'UTC' WHERE id = 14",
            "INSERT INTO csat_survey_responses \
                 (account_id, conversation_id, message_id, rating, contact_id, created_at, updated_at) \
             SELECT account_id, id, 0, 5, coalesce(contact_id, 1), now() AT TIME ZONE 'UTC' - interval '1 day', now() \
             FROM conversations WHERE id = 15",
            "DELETE FROM conversations WHERE id = 16",
        ] {
            stage.source.execute(change).await?;
        }
        let runs = sync_view(&stage, VIEW, &[]).await?;
        let records = &runs[0]["records"];
        ensure!(records["updated"].as_i64() >= Some(4) && records["deleted"] == 1, "{runs:#?}");
        assert_verified(&stage, VIEW, &[1]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn changed_names_arrive_by_one_bulk_run_and_no_live_chunk() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 59).await?;
        sync_view(&stage, VIEW, &[]).await?;
        // a name without an earlier name is compared with the rows, and later with the ledger
        for (change, backfills) in [
            ("UPDATE inboxes SET name = 'Front desk' WHERE id = (SELECT min(inbox_id) FROM conversations)", 1),
            (
                "UPDATE users SET name = name || ' Silva' WHERE id = (SELECT min(assignee_id) FROM conversations); \
                 UPDATE teams SET name = 'Night shift' WHERE id = (SELECT min(team_id) FROM conversations); \
                 UPDATE accounts SET name = repeat('Long ', 60)",
                2,
            ),
            ("UPDATE inboxes SET name = 'Back office' WHERE id = (SELECT min(inbox_id) FROM conversations)", 3),
        ] {
            stage.source.execute(change).await?;
            for _ in 0..2 {
                sync_view(&stage, VIEW, &[]).await?;
            }
            let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE type = 'backfill' AND status = 'success'")
                .fetch_one(&stage.target)
                .await?;
            ensure!(runs == backfills, "{runs} backfills after {change}");
            assert_verified(&stage, VIEW, &[1]).await?;
        }
        let live: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_chunk WHERE lane = 'live'")
            .fetch_one(&stage.target)
            .await?;
        ensure!(live == 0, "{live} live chunks");
        // the other mode knows the same names
        stage.sync_local(&["--all"]).await?;
        stage.until("SELECT count(*) = 3 FROM etl_control WHERE type = 'backfill'").await
    })
    .await;
}

/// The view of the first user is ordered, so conditions on other relations do not reach its tables.
#[tokio::test]
async fn a_plan_reads_the_conversations_of_an_ordered_view_twice_at_most() {
    on_stage(|stage| async move {
        stage.sample(600, 1, 62).await?;
        stage
            .source
            .execute(AssertSqlSafe(format!(
                "CREATE VIEW ordered AS SELECT * FROM {VIEW} ORDER BY conversation_created_at DESC"
            )))
            .await?;
        sync_view(&stage, "ordered", &[]).await?;
        sync_view(&stage, "ordered", &[]).await?;
        // a session's counts are there when it has ended
        let no_session = "SELECT count(*) = 0 FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name LIKE 'tidemark%'";
        let reads = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'conversations'";
        stage.until_source(no_session).await?;
        let before: i64 = sqlx::query_scalar(reads).fetch_one(&stage.source).await?;
        sync_view(&stage, "ordered", &[]).await?;
        stage.until_source(no_session).await?;
        stage
            .until_source(&format!("SELECT ({reads}) >= {before} + 600"))
            .await?;
        let read = sqlx::query_scalar::<_, i64>(reads).fetch_one(&stage.source).await? - before;
        // the inboxes of the account, the conversations, and one conversation for each name
        ensure!(read < 3 * 600, "{read} rows of conversations were read for a plan of 600");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_name_is_looked_for_as_far_as_the_view_shows_it() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 61).await?;
        create_view(&stage, "few", &[("team_id", ""), ("assignee_name", ""), ("assignee_email", ""), ("inbox_timezone", "")]).await?;
        sync_view(&stage, "few", &[]).await?;
        stage
            .source
            .execute("UPDATE inboxes SET name = 'Elsewhere'; UPDATE users SET name = 'Unseen'; UPDATE teams SET name = 'Unseen ' || id")
            .await?;
        sync_view(&stage, "few", &[]).await?;
        stage.until("SELECT count(*) = 1 FROM etl_control WHERE type = 'backfill' AND status = 'success'").await?;
        assert_verified(&stage, "few", &[1]).await
    })
    .await;
}

#[tokio::test]
async fn the_newest_of_several_answers_counts_whichever_way_the_rows_come() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 5).await?;
        stage
            .source
            .execute(
                "DELETE FROM csat_survey_responses; \
                 INSERT INTO csat_survey_responses \
                     (id, account_id, conversation_id, message_id, rating, contact_id, created_at, updated_at) \
                 SELECT n, 1, c.id, n, 1 + n % 5, 1, '2024-03-06'::timestamp + (n % 3) * interval '1 day', '2024-03-06' \
                 FROM conversations c CROSS JOIN generate_series(c.id * 10, c.id * 10 + 5) AS n",
            )
            .await?;
        stage.sync_local(&["--all"]).await?;
        assert_same_through(&stage, VIEW).await
    })
    .await;
}

#[tokio::test]
async fn the_right_to_read_the_view_is_enough() {
    on_stage(|stage| async move {
        stage.sample(80, 1, 5).await?;
        let role = format!("{}_guest", stage.url("source").rsplit('/').next().unwrap_or_default());
        let outcome = async {
            stage
                .source
                .execute(AssertSqlSafe(format!(
                    "CREATE ROLE {role} LOGIN; CREATE SCHEMA shared; GRANT USAGE ON SCHEMA shared TO {role}; \
                     CREATE VIEW shared.\"Conversations \"\"of\"\" all.\" AS SELECT *, 1 AS \"evil\"\"; DROP TABLE x\" \
                     FROM {VIEW}; GRANT SELECT ON ALL TABLES IN SCHEMA shared TO {role}"
                )))
                .await?;
            let mut url = url::Url::parse(&stage.url("source"))?;
            ensure!(url.set_username(&role).is_ok(), "{url} takes a user");
            let settings = [
                ("TIDEMARK_SOURCE_URL", url.as_str()),
                ("TIDEMARK_SOURCE_MODE", "view"),
                ("TIDEMARK_SOURCE_VIEW", r#"shared."Conversations ""of"" all.""#),
            ];
            for args in [
                ["sync", "--local", "--tenant", "1"].as_slice(),
                &["verify", "--tenant", "1"],
                &["sync", "--local", "--tenant", "1"],
                &["inbox", "map", "--tenant", "1", "--inbox", "1"],
            ] {
                let answer = stage.tidemark_with(args, &settings).await?;
                ensure!(answer.code == 0, "{answer:?}");
                ensure!(!answer.stderr.contains("without their names"), "{answer:?}");
            }
            stage.assert_equal(&[1]).await?;
            // tables that the role may not read are named, and no row counts as deleted
            let revoke = format!("REVOKE SELECT ON ALL TABLES IN SCHEMA shared FROM {role}");
            stage.source.execute(AssertSqlSafe(revoke)).await?;
            let refused = stage.tidemark_with(&["sync", "--local", "--tenant", "1"], &settings).await?;
            ensure!(
                refused.code == 78 && refused.stderr.contains("the right to SELECT column conversation_id"),
                "{refused:?}"
            );
            stage.assert_equal(&[1]).await
        }
        .await;
        let dropped = format!("DROP OWNED BY {role}; DROP ROLE {role}");
        stage.source.execute(AssertSqlSafe(dropped)).await?;
        outcome
    })
    .await;
}

#[tokio::test]
async fn a_resync_selects_by_what_the_view_shows() {
    on_stage(|stage| async move {
        let view = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
        stage.sample(200, 1, 29).await?;
        let first = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1", "--json"], &view)
            .await?;
        ensure!(first.code == 0, "{first:?}");
        let up = stage.start_with(&["up"], &view)?;
        let inbox: i32 = sqlx::query_scalar("SELECT min(id) FROM inboxes")
            .fetch_one(&stage.source)
            .await?;
        let of_inbox: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations WHERE inbox_id = $1")
            .bind(inbox)
            .fetch_one(&stage.source)
            .await?;
        let inbox = inbox.to_string();
        for (selector, expected) in [
            (["--inbox", &inbox].as_slice(), of_inbox),
            (&["--ids", "3,5"], 2),
            (
                &["--from", "1970-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"],
                200,
            ),
        ] {
            let resync = stage
                .tidemark(&[&["resync", "--tenant", "1", "--wait", "--json"], selector].concat())
                .await?;
            ensure!(resync.code == 0, "{selector:?}: {resync:?}");
            ensure!(
                resync.json()["records"]["extracted"] == expected,
                "{selector:?}: {resync:?}"
            );
            ensure!(
                resync.json()["records"]["unchanged"] == expected,
                "{selector:?}: {resync:?}"
            );
        }
        up.stop().await
    })
    .await;
}
