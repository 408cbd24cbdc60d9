//! Situations that must come out right. After each, source and target are equal, the counts add up, and the watermark
//! never passes the source's clock.
//!
//! The traps have numbers, and a test of one names its number: 1 many rows at one instant, 2 a late commit, 3 rows
//! that move while chunks are read, 4 a change of a joined row alone, 5 a silent second write, 6 a time that goes
//! back, 7 a time in the future or none, 8 one conversation twice, 12 deletes, moves between tenants and what looks
//! like them, 13 poison, 15 isolation under abuse, 16 clocks, 17 a restored source, 21 a table that is rewritten, 22
//! rows hidden between plan and chunk, 23 a policy changed in the middle of a sync, 24 statements that lock, 25
//! settings at their limits, 26 an agent, a bot or an assistant deleted at the source.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

/// The numbers of the traps that tests in this folder, and in the folders below it, name.
fn named_traps(folder: &Path) -> BTreeSet<u32> {
    let mut named = BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = file.expect("the folder can be read").path();
        if path.is_dir() {
            named.extend(named_traps(&path));
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("the file can be read");
        for numbers in text.lines().filter_map(|line| line.strip_prefix("/// Trap ")) {
            let numbers = numbers.split(['.', ':']).next().unwrap_or_default();
            named.extend(
                numbers
                    .split(", ")
                    .map(|number| number.parse::<u32>().expect("a number")),
            );
        }
    }
    named
}

#[test]
fn every_trap_has_a_test_that_names_its_number() {
    let named = named_traps(&Path::new(env!("CARGO_MANIFEST_DIR")).join("system"));
    let untested: Vec<u32> = (1..=26).filter(|number| !named.contains(number)).collect();
    assert!(untested.is_empty(), "no test of {untested:?}");
}

/// What holds after every run.
pub async fn assert_sound(stage: &Stage, run: &Value) -> Result<()> {
    let count = |field: &str| run["records"][field].as_i64().unwrap_or_default();
    ensure!(
        count("extracted")
            == count("inserted") + count("updated") + count("unchanged") + count("stale") + count("rejected"),
        "{run:#}"
    );
    let ahead: bool = sqlx::query_scalar("SELECT coalesce($1::timestamptz > clock_timestamp(), false)")
        .bind(run["watermark_end"].as_str())
        .fetch_one(&stage.source)
        .await?;
    ensure!(!ahead, "the watermark is ahead of the source's clock: {run:#}");
    // a range is planned by a count, and the source may have changed when the range is read
    let unplanned: bool = sqlx::query_scalar(
        "SELECT count(*) > 0 FROM etl_chunk WHERE run_id = $1 AND spec ? 'ids' AND key_count <> extracted + gone",
    )
    .bind(run["run_id"].as_i64())
    .fetch_one(&stage.target)
    .await?;
    ensure!(!unplanned, "planned is not extracted and gone: {run:#}");
    stage.assert_equal(&[1]).await
}

async fn value(stage: &Stage, column: &str, conversation: i64) -> Result<String> {
    let query = format!("SELECT ({column})::text FROM conversations_analytics WHERE conversation_id = $1");
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(conversation)
        .fetch_one(&stage.target)
        .await?)
}

/// Trap 1.
#[tokio::test]
async fn conversations_at_one_instant_all_arrive_whatever_the_chunk_size() {
    on_stage(|stage| async move {
        stage.sample(250, 1, 41).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        for size in ["100", "1", "249", "250", "251"] {
            stage
                .source
                .execute("UPDATE conversations SET updated_at = date_trunc('second', now() AT TIME ZONE 'UTC'), priority = (coalesce(priority, 0) + 1) % 4")
                .await?;
            let run = stage.sync_local(&["--tenant", "1", "--chunk-size", size]).await?;
            ensure!(run["records"]["updated"] == 250, "chunk size {size}: {run:#}");
            // ten more at the same instant, after the run
            let late = "UPDATE conversations SET priority = (priority + 1) % 4 WHERE id <= 10";
            stage.source.execute(late).await?;
            let run = stage.sync_local(&["--tenant", "1", "--chunk-size", size]).await?;
            ensure!(run["records"]["updated"] == 10, "chunk size {size}: {run:#}");
            assert_sound(&stage, &run).await?;
        }
        Ok(())
    })
    .await;
}

/// Trap 2.
#[tokio::test]
async fn a_prepared_transaction_holds_the_watermark_and_arrives_when_it_is_committed() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 43).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let mut writer = stage.source.acquire().await?;
        writer.execute("BEGIN; UPDATE conversations SET updated_at = now() AT TIME ZONE 'UTC', status = 2 WHERE id = 7").await?;
        let written: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT now()").fetch_one(&mut *writer).await?;
        writer.execute("PREPARE TRANSACTION 'late'").await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        let end: chrono::DateTime<chrono::Utc> = run["watermark_end"].as_str().expect("a watermark").parse()?;
        ensure!(end < written, "the watermark passed a prepared write: {end} {written}");
        writer.execute("COMMIT PREPARED 'late'").await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        let end: chrono::DateTime<chrono::Utc> = run["watermark_end"].as_str().expect("a watermark").parse()?;
        ensure!(end > written, "the fence did not move on: {end} {written}");
        ensure!(value(&stage, "status", 7).await? == "2", "the late commit is not there");
        assert_sound(&stage, &run).await
    })
    .await;
}

/// Trap 4.
#[tokio::test]
async fn a_change_of_a_joined_row_alone_arrives() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 47).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        for change in [
            "UPDATE messages SET content = 'edited', updated_at = now() AT TIME ZONE 'UTC' WHERE id = (SELECT min(id) FROM messages WHERE NOT private)",
            "UPDATE messages SET status = 3, updated_at = now() AT TIME ZONE 'UTC' WHERE id = (SELECT max(id) FROM messages)",
            "UPDATE contacts SET name = 'Somebody Else', updated_at = now() AT TIME ZONE 'UTC' WHERE id = (SELECT min(contact_id) FROM conversations)",
            "INSERT INTO csat_survey_responses (account_id, conversation_id, message_id, rating, contact_id, created_at, updated_at) \
             SELECT account_id, id, 2000000000, 1, coalesce(contact_id, 1), now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC' \
             FROM conversations WHERE id = 3",
        ] {
            stage.source.execute(change).await?;
            let run = stage.sync_local(&["--tenant", "1"]).await?;
            ensure!(run["records"]["updated"].as_i64() >= Some(1), "{change}: {run:#}");
            assert_sound(&stage, &run).await?;
        }
        Ok(())
    })
    .await;
}

/// Trap 5, 6, 7.
#[tokio::test]
async fn silent_writes_and_timestamps_that_go_back_or_lie_ahead_are_taken_as_they_are() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 53).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        for (change, column, expected) in [
            (
                "UPDATE conversations SET waiting_since = NULL WHERE id = 2",
                "is_waiting",
                "false",
            ),
            (
                "UPDATE conversations SET agent_last_seen_at = '2020-01-01' WHERE id = 2",
                "agent_has_seen",
                "true",
            ),
            (
                "UPDATE conversations SET updated_at = '2001-02-03 04:05:06.789012' WHERE id = 2",
                "conversation_updated_at",
                "2001-02-03 04:05:06.789012+00",
            ),
            (
                "UPDATE conversations SET updated_at = '2099-12-31 23:59:59' WHERE id = 2",
                "conversation_updated_at",
                "2099-12-31 23:59:59+00",
            ),
            (
                "UPDATE conversations SET updated_at = 'infinity' WHERE id = 2",
                "conversation_updated_at",
                "infinity",
            ),
            (
                "UPDATE conversations SET first_reply_created_at = NULL, snoozed_until = NULL WHERE id = 2",
                "is_fast_response IS NULL",
                "true",
            ),
        ] {
            stage.source.execute(change).await?;
            let run = stage.sync_local(&["--tenant", "1"]).await?;
            ensure!(
                value(&stage, column, 2).await? == expected,
                "{change}: {}",
                value(&stage, column, 2).await?
            );
            assert_sound(&stage, &run).await?;
        }
        Ok(())
    })
    .await;
}

/// Trap 12.
#[tokio::test]
async fn a_conversation_moved_to_another_tenants_inbox_leaves_one_and_arrives_in_the_other() {
    on_stage(|stage| async move {
        let tenants = stage.sample(200, 2, 59).await?;
        stage.sync_local(&["--all"]).await?;
        stage
            .source
            .execute("UPDATE conversations SET inbox_id = (SELECT min(id) FROM inboxes WHERE account_id = 2) WHERE id = (SELECT min(id) FROM conversations WHERE account_id = 1)")
            .await?;
        let runs = stage.sync_local(&["--all"]).await?;
        ensure!(runs[0]["records"]["deleted"] == 1 && runs[1]["records"]["inserted"] == 1, "{runs:#}");
        let foreign: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM conversations_analytics a JOIN inbox_tenant_mapping m ON m.inbox_id = a.inbox_id \
             WHERE m.tenant_id <> a.tenant_id AND a.source_deleted_at IS NULL",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(foreign == 0, "{foreign} rows carry an inbox of another tenant");
        stage.assert_equal(&tenants).await
    })
    .await;
}

/// Trap 12.
#[tokio::test]
async fn a_right_that_is_lost_deletes_nothing() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 61).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let role = format!("reader_{:08x}", rand::random::<u32>());
        stage
            .source
            .execute(sqlx::AssertSqlSafe(format!(
                "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
            )))
            .await?;
        let mut url = url::Url::parse(&stage.url("source"))?;
        ensure!(url.set_username(&role).is_ok(), "a URL takes a user");
        let reader = [("TIDEMARK_SOURCE_URL", url.as_str())];
        let sync = ["sync", "--local", "--tenant", "1", "--full", "--json"];
        let allowed = stage.tidemark_with(&sync, &reader).await?;
        ensure!(allowed.code == 0, "{allowed:?}");
        stage
            .source
            .execute(sqlx::AssertSqlSafe(format!(
                "REVOKE SELECT ON conversations FROM {role}"
            )))
            .await?;
        let refused = stage.tidemark_with(&sync, &reader).await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains("SELECT conversations"),
            "{refused:?}"
        );
        stage
            .until("SELECT count(source_deleted_at) = 0 FROM conversations_analytics")
            .await?;
        stage
            .source
            .execute(sqlx::AssertSqlSafe(format!(
                "DROP OWNED BY {role}; DROP ROLE {role}"
            )))
            .await?;
        Ok(())
    })
    .await;
}

/// Trap 12: between the plan and the reading.
#[tokio::test]
async fn a_source_that_falls_empty_while_a_run_is_under_way_deletes_nothing() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 137).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let mut fleet = stage.fleet(&["producer"])?;
        let asked = stage
            .tidemark(&["sync", "--tenant", "1", "--full", "--json"])
            .await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE type = 'full' AND status = 'running'")
            .await?;
        stage
            .source
            .execute("CREATE TABLE kept AS SELECT * FROM conversations; DELETE FROM conversations")
            .await?;
        fleet.add("up")?;
        stage
            .until("SELECT count(*) = 1 FROM etl_chunk WHERE failure_count > 0 AND error LIKE '%shows no conversation%'")
            .await?;
        stage
            .source
            .execute("INSERT INTO conversations SELECT * FROM kept")
            .await?;
        stage
            .until("SELECT bool_and(status = 'success') FROM etl_control")
            .await?;
        fleet.stop().await?;
        stage
            .until("SELECT count(source_deleted_at) = 0 FROM conversations_analytics")
            .await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 12: fewer rows than the guard against mass deletions checks.
#[tokio::test]
async fn a_source_that_has_gone_empty_deletes_nothing() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 131).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let shown = "CREATE OR REPLACE VIEW shown AS SELECT * FROM vw_conversations_analytics_final";
        stage.source.execute(shown).await?;
        let view = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", "shown")];
        let full = stage.tidemark_with(&["sync", "--local", "--tenant", "1", "--full"], &view).await?;
        ensure!(full.code == 0, "{full:?}");
        let refused = async |settings: &[(&str, &str)]| -> Result<()> {
            for args in [["sync", "--local", "--tenant", "1", "--json"].as_slice(), &["sync", "--local", "--tenant", "1", "--full", "--json"]] {
                let refused = stage.tidemark_with(args, settings).await?;
                ensure!(refused.code == 1 && refused.json()["status"] == "failed", "{refused:?}");
                let error = refused.json()["error"].to_string();
                ensure!(error.contains("shows no conversation") && error.contains("--allow-mass-delete"), "{error}");
            }
            stage.until("SELECT count(source_deleted_at) = 0 FROM conversations_analytics").await
        };
        stage.source.execute(sqlx::AssertSqlSafe(format!("{shown} WHERE false"))).await?;
        refused(&view).await?;
        stage.source.execute("CREATE TABLE kept AS SELECT * FROM conversations; DELETE FROM conversations").await?;
        refused(&[]).await?;

        // one conversation of any tenant shows that the source can be read
        stage.source.execute("INSERT INTO conversations SELECT * FROM kept WHERE id = 1; UPDATE conversations SET inbox_id = 99").await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run["records"]["deleted"] == 40, "{run:#}");
        assert_sound(&stage, &run).await
    })
    .await;
}

/// Trap 17.
#[tokio::test]
async fn a_restored_source_stops_loudly_until_somebody_accepts_it() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 67).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let nothing = stage.tidemark(&["source", "accept-restore", "--reason", "just so"]).await?;
        ensure!(nothing.code == 64 && nothing.stderr.contains("nothing to accept"), "{nothing:?}");

        // as if the ledger had seen a later state of the source
        stage.target.execute("UPDATE etl_source SET highest_xmax = highest_xmax + 1000000000").await?;
        stage.source.execute("DELETE FROM conversations WHERE id = 4; UPDATE conversations SET priority = 3 WHERE id = 5").await?;
        for args in [["sync", "--local", "--tenant", "1", "--json"].as_slice(), &["sync", "--local", "--tenant", "1", "--full", "--json"]] {
            let refused = stage.tidemark(args).await?;
            ensure!(refused.code == 1 && refused.json()["error"].as_str().unwrap_or_default().contains("went back in time"), "{refused:?}");
        }
        stage.until("SELECT count(source_deleted_at) = 0 FROM conversations_analytics").await?;

        let accepted = stage.tidemark(&["source", "accept-restore", "--reason", "restored on purpose"]).await?;
        ensure!(accepted.code == 0, "{accepted:?}");
        let run = stage.sync_local(&["--tenant", "1", "--full"]).await?;
        ensure!(run["records"]["deleted"] == 1, "{run:#}");
        stage.until("SELECT count(*) = 1 FROM etl_source_audit WHERE reason = 'restored on purpose' AND epoch = 2").await?;
        assert_sound(&stage, &run).await
    })
    .await;
}

#[tokio::test]
async fn unchanged_rows_are_not_written() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 71).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let versions = "SELECT string_agg(conversation_id || ':' || xmin::text || ':' || ctid::text, ',' ORDER BY conversation_id) FROM conversations_analytics";
        let before: String = sqlx::query_scalar(versions).fetch_one(&stage.target).await?;
        let run = stage.sync_local(&["--tenant", "1", "--full"]).await?;
        ensure!(run["records"]["unchanged"] == 200, "{run:#}");
        let after: String = sqlx::query_scalar(versions).fetch_one(&stage.target).await?;
        ensure!(before == after, "unchanged rows were written again");
        assert_sound(&stage, &run).await
    })
    .await;
}

#[tokio::test]
async fn an_older_read_never_overwrites_a_newer_one() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 79).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        // as if the rows came from a later snapshot than all that follow
        stage
            .target
            .execute(
                "UPDATE conversations_analytics SET status = 9, row_hash = decode(repeat('00', 16), 'hex'), \
                 source_xmax = source_xmax + 1000000000 WHERE conversation_id IN (3, 4)",
            )
            .await?;
        stage.source.execute("DELETE FROM conversations WHERE id = 4").await?;
        let run = stage.sync_local(&["--tenant", "1", "--full"]).await?;
        ensure!(run["records"]["stale"] == 1 && run["records"]["deleted"] == 0, "{run:#}");
        stage
            .until("SELECT bool_and(status = 9 AND source_deleted_at IS NULL) FROM conversations_analytics WHERE conversation_id IN (3, 4)")
            .await?;
        // a new epoch is newer than every snapshot of the old one
        stage.target.execute("UPDATE etl_source SET epoch = epoch + 1").await?;
        let run = stage.sync_local(&["--tenant", "1", "--full"]).await?;
        ensure!(run["records"]["deleted"] == 1 && run["records"]["stale"] == 0, "{run:#}");
        assert_sound(&stage, &run).await
    })
    .await;
}

#[tokio::test]
async fn a_conversation_of_thirty_thousand_messages_arrives_whole() {
    on_stage(|stage| async move {
        stage.sample(100, 1, 83).await?;
        stage
            .source
            .execute(
                "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at, \
                                       private, status, content_type, sender_type, sender_id) \
                 SELECT CASE WHEN n = 7 THEN repeat('ação ✅!!', 18750) ELSE 'message ' || n END, c.account_id, c.inbox_id, c.id, \
                        n % 2, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', false, 0, 0, 'User', 1 \
                 FROM conversations c, generate_series(1, 30000) n WHERE c.id = 9",
            )
            .await?;
        // in a debug build, transforming such a conversation may take longer than the usual lease of the tests
        let patient = [("TIDEMARK_WORKER_LEASE", "60s")];
        let synced = stage.tidemark_with(&["sync", "--local", "--tenant", "1", "--json"], &patient).await?;
        ensure!(synced.code == 0, "{synced:?}");
        let run = synced.json();
        ensure!(value(&stage, "t_messages >= 30000 AND jsonb_array_length(message_compiled) = t_messages", 9).await? == "true", "{run:#}");
        ensure!(value(&stage, "max_message_length", 9).await? == "150000", "the long message was cut");
        assert_sound(&stage, &run).await
    })
    .await;
}
