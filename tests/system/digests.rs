//! Plans that compare digests only now and then. Every sync takes changes that times show. The first sync after
//! `producer.digest_interval` takes the others, and so does the first sync after an earlier comparison has become
//! invalid.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

use crate::stage::{Stage, on_stage};
use crate::view::VIEW;

const HOURLY: (&str, &str) = ("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h");
/// Moves the last comparison back by an hour.
const LATER: &str = "UPDATE etl_watermark SET digests_compared_at = digests_compared_at - interval '1 hour'";
/// The ids of tenant 1's conversations, ascending.
const IDS: &str = "SELECT conversation_id FROM conversations_analytics WHERE tenant_id = 1 ORDER BY 1";

async fn sync(stage: &Stage, settings: &[(&str, &str)]) -> Result<Value> {
    let answer = stage
        .tidemark_with(&["sync", "--local", "--tenant", "1", "--json"], settings)
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json())
}

/// Syncs once more. Returns the updated and deleted rows, and the signals that named them.
async fn taken(stage: &Stage, settings: &[(&str, &str)]) -> Result<(i64, i64, Value)> {
    let run = sync(stage, settings).await?;
    let count = |what: &str| run["records"][what].as_i64().context("a count");
    Ok((count("updated")?, count("deleted")?, run["signals"].clone()))
}

/// Changes one conversation with its time and one without, and deletes one.
async fn change(stage: &Stage, [timed, silent, gone]: [i64; 3]) -> Result<()> {
    for (statement, id) in [
        (
            "UPDATE conversations SET status = 1 - status, updated_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = $1",
            timed,
        ),
        (
            "UPDATE conversations SET status = 1 - status WHERE id = $1",
            silent,
        ),
        ("DELETE FROM conversations WHERE id = $1", gone),
    ] {
        let done = sqlx::query(statement).bind(id).execute(&stage.source).await?;
        ensure!(done.rows_affected() == 1, "{statement}: {id} is not there");
    }
    Ok(())
}

#[tokio::test]
async fn between_comparisons_times_name_changes_and_then_digests_find_the_rest() {
    for view in [false, true] {
        on_stage(|stage| async move {
            let tenants = stage.sample(200, 2, 83).await?;
            let mut settings = vec![HOURLY];
            if view {
                settings.extend([("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)]);
            }
            stage.target.execute("UPDATE tenants SET lookback = '0'").await?;
            for tenant in ["1", "2"] {
                let first = stage
                    .tidemark_with(&["sync", "--local", "--tenant", tenant], &settings)
                    .await?;
                ensure!(first.code == 0, "{first:?}");
            }
            let ids: Vec<i64> = sqlx::query_scalar(IDS).fetch_all(&stage.target).await?;

            change(&stage, [ids[0], ids[1], ids[2]]).await?;
            let (updated, deleted, signals) = taken(&stage, &settings).await?;
            ensure!((updated, deleted) == (1, 0), "{updated} and {deleted}, {signals}");
            ensure!(
                signals["conversations"] == 1 && signals["digest"] == 0,
                "{signals}"
            );
            let why = stage
                .tidemark_with(&["why", "--tenant", "1", &ids[1].to_string()], &settings)
                .await?;
            ensure!(why.stdout.contains("producer.digest_interval"), "{why:?}");

            stage.target.execute(LATER).await?;
            let (updated, deleted, signals) = taken(&stage, &settings).await?;
            ensure!((updated, deleted) == (1, 1), "{updated} and {deleted}, {signals}");
            ensure!(signals["digest"] == 1 && signals["membership"] == 1, "{signals}");
            ensure!(
                taken(&stage, &settings).await?.0 == 0,
                "something was taken twice"
            );
            // without an interval, every sync compares digests
            change(&stage, [ids[3], ids[4], ids[5]]).await?;
            let (updated, deleted, signals) = taken(&stage, &settings[1..]).await?;
            ensure!((updated, deleted) == (2, 1), "{updated} and {deleted}, {signals}");
            let mode = &settings[1..];
            stage.assert_proven(&tenants, mode).await
        })
        .await;
    }
}

/// A view does not show when a name was changed.
#[tokio::test]
async fn through_a_view_a_changed_name_arrives_after_the_next_comparison() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 86).await?;
        let settings = [
            HOURLY,
            ("TIDEMARK_SOURCE_MODE", "view"),
            ("TIDEMARK_SOURCE_VIEW", VIEW),
        ];
        sync(&stage, &settings).await?;
        let backfills = "SELECT count(*) FROM etl_control WHERE type = 'backfill' AND status = 'success'";
        // the first name is compared with the rows, the second with the recorded one
        for (name, expected) in [("Front desk", 1), ("Back office", 2)] {
            let rename = "UPDATE inboxes SET name = $1 WHERE id = (SELECT min(inbox_id) FROM conversations)";
            sqlx::query(rename).bind(name).execute(&stage.source).await?;
            sync(&stage, &settings).await?;
            let before: i64 = sqlx::query_scalar(backfills).fetch_one(&stage.target).await?;
            ensure!(
                before == expected - 1,
                "{before} backfills: names were read between comparisons"
            );
            stage.target.execute(LATER).await?;
            sync(&stage, &settings).await?;
            let after: i64 = sqlx::query_scalar(backfills).fetch_one(&stage.target).await?;
            ensure!(after == expected, "{after} backfills after {name}");
            stage.assert_proven(&[1], &settings[1..]).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn digests_are_compared_at_once_when_an_earlier_comparison_says_nothing_any_more() {
    on_stage(|stage| async move {
        stage.sample(200, 2, 84).await?;
        sync(&stage, &[HOURLY]).await?;
        let ids: Vec<i64> = sqlx::query_scalar(IDS).fetch_all(&stage.target).await?;
        let watermark: String = sqlx::query_scalar(
            "SELECT to_char(watermark AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM etl_watermark WHERE tenant_id = 1",
        )
        .fetch_one(&stage.target)
        .await?;
        let set = ["watermark", "set", "--tenant", "1", "--to", &watermark, "--reason", "a test"];
        let accept = ["source", "accept-restore", "--reason", "a test"];
        let move_source = ["tenant", "set", "--tenant", "1", "--source", "main"];
        for (at, (statement, command)) in [
            ("UPDATE tenants SET mapping_version = mapping_version + 1", None),
            ("SELECT", Some(set.as_slice())),
            ("UPDATE etl_source SET highest_xmax = highest_xmax + 1000000", Some(&accept)),
            ("SELECT", Some(&move_source)),
        ]
        .into_iter()
        .enumerate()
        {
            sqlx::query("UPDATE conversations SET status = 1 - status WHERE id = $1")
                .bind(ids[at])
                .execute(&stage.source)
                .await?;
            let (updated, ..) = taken(&stage, &[HOURLY]).await?;
            ensure!(updated == 0, "{at}: digests are compared too often");
            stage.target.execute(statement).await?;
            if let Some(command) = command {
                let answer = stage.tidemark(command).await?;
                ensure!(answer.code == 0, "{command:?}: {answer:?}");
            }
            let (updated, _, signals) = taken(&stage, &[HOURLY]).await?;
            ensure!(updated == 1, "{updated} after {statement} and {command:?}: {signals}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_comparison_counts_only_when_what_it_found_has_arrived() {
    on_stage(|stage| async move {
        stage.sample(600, 1, 85).await?;
        sync(&stage, &[HOURLY]).await?;
        stage.target.execute(LATER).await?;
        // more than are rejected one by one
        stage.source.execute("UPDATE conversations SET priority = 3 WHERE priority IS DISTINCT FROM 3").await?;
        let refuse = "ALTER TABLE conversations_analytics ADD CONSTRAINT refuse CHECK (etl_run_id = 1) NOT VALID";
        stage.target.execute(refuse).await?;
        let failed = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1", "--json"], &[HOURLY])
            .await?;
        ensure!(failed.json()["status"] == "failed", "{failed:?}");
        stage.target.execute("ALTER TABLE conversations_analytics DROP CONSTRAINT refuse").await?;
        let (updated, _, signals) = taken(&stage, &[HOURLY]).await?;
        ensure!(updated > 300 && signals["digest"].as_i64() > Some(300), "{updated}, {signals}");

        // a scheduler that finds nothing records that it has compared
        stage.target.execute(LATER).await?;
        let producer = stage.start_with(&["producer"], &[HOURLY])?;
        stage
            .target
            .execute("UPDATE etl_watermark SET checked_at = NULL, next_due_at = now()")
            .await?;
        stage
            .until("SELECT checked_at IS NOT NULL AND digests_compared_at > now() - interval '10 minutes' FROM etl_watermark")
            .await?;
        producer.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_time_that_cannot_be_read_is_found_between_comparisons_too() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 86).await?;
        sync(&stage, &[HOURLY]).await?;
        let ids: Vec<i64> = sqlx::query_scalar(IDS).fetch_all(&stage.target).await?;
        let others: String = sqlx::query_scalar(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute \
             WHERE attrelid = 'conversations'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'waiting_since'",
        )
        .fetch_one(&stage.source)
        .await?;
        let poison = format!(
            "ALTER TABLE conversations RENAME TO conversations_table; \
             CREATE VIEW conversations AS SELECT {others}, waiting_since \
                 + CASE WHEN id = {} THEN make_interval(secs => 1 / (id - id)) ELSE interval '0' END AS waiting_since \
             FROM conversations_table; \
             UPDATE conversations_table SET waiting_since = created_at, updated_at = now() AT TIME ZONE 'UTC' WHERE id IN ({}, {})",
            ids[3], ids[3], ids[4]
        );
        stage.source.execute(AssertSqlSafe(poison)).await?;
        let synced = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1", "--json"], &[HOURLY])
            .await?;
        let run = synced.json();
        ensure!(synced.code == 2 && run["signals"]["unreadable"] == 1, "{run:#}");
        ensure!(run["records"]["rejected"] == 1 && run["records"]["updated"] == 1, "{run:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_first_plan_reads_no_digests() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 87).await?;
        // only a digest needs the attributes: another read of them fails here
        let others: String = sqlx::query_scalar(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute \
             WHERE attrelid = 'conversations'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'custom_attributes'",
        )
        .fetch_one(&stage.source)
        .await?;
        let poison = format!(
            "ALTER TABLE conversations RENAME TO conversations_table; \
             CREATE VIEW conversations AS SELECT {others}, (1 / (id - id))::text::jsonb AS custom_attributes FROM conversations_table"
        );
        stage.source.execute(AssertSqlSafe(poison.as_str())).await?;
        let plan = ["plan", "--tenant", "1", "--full", "--json"];
        let first = stage.tidemark(&plan).await?;
        ensure!(first.code == 0 && first.json()["chunks"].as_i64() > Some(0), "{first:?}");

        stage
            .source
            .execute("DROP VIEW conversations; ALTER TABLE conversations_table RENAME TO conversations")
            .await?;
        sync(&stage, &[]).await?;
        stage.source.execute(AssertSqlSafe(poison)).await?;
        let second = stage.tidemark(&plan).await?;
        ensure!(second.code == 1 && second.stderr.contains("more than 100"), "{second:?}");
        Ok(())
    })
    .await;
}

/// A digest writes NULL as a certain value. Where a column has that very value, it must not count as NULL.
#[tokio::test]
async fn a_null_is_told_from_the_value_that_stands_in_for_it() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 269).await?;
        let own = [
            ("custom_attributes", "'null'"),
            ("contact_last_seen_at", "'-infinity'"),
            ("waiting_since", "'-infinity'"),
            ("snoozed_until", "'-infinity'"),
            ("first_reply_created_at", "'-infinity'"),
            ("priority", "-1"),
            ("assignee_id", "-1"),
            ("team_id", "-1"),
            ("campaign_id", "-1"),
        ];
        let set = |value: fn((&str, &str)) -> String| own.map(value).join(", ");
        let nulls = set(|(column, _)| format!("{column} = NULL"));
        let values = set(|(column, value)| format!("{column} = {value}"));
        let related = "UPDATE messages SET content = {text}, sender_id = {number} WHERE id IN \
                       (SELECT min(id) FROM messages WHERE conversation_id <= 9 GROUP BY conversation_id)";
        let fill = |text: &str, number: &str| related.replace("{text}", text).replace("{number}", number);
        stage
            .source
            .execute(AssertSqlSafe(format!(
                "UPDATE conversations SET {nulls} WHERE id <= 9; {}",
                fill("NULL", "NULL")
            )))
            .await?;
        stage.sync_local(&["--tenant", "1"]).await?;

        // each column alone, so that no other one hides it
        for (index, (column, value)) in own.into_iter().enumerate() {
            let change = format!(
                "UPDATE conversations SET {column} = {value} WHERE id = {}",
                index + 1
            );
            stage.source.execute(AssertSqlSafe(change)).await?;
        }
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run["signals"]["digest"] == 9, "{run:#}");
        stage
            .source
            .execute(AssertSqlSafe(format!(
                "UPDATE conversations SET {values} WHERE id <= 9"
            )))
            .await?;
        stage.sync_local(&["--tenant", "1"]).await?;

        // nothing on the conversation shows these changes: only verification finds them
        let text = fill("E'\\x01'", "NULL");
        stage.source.execute(AssertSqlSafe(text)).await?;
        let verified = stage.tidemark(&["verify", "--tenant", "1", "--json"]).await?;
        ensure!(verified.code == 1, "{verified:?}");
        let repaired = stage
            .tidemark(&["verify", "--tenant", "1", "--repair", "--json"])
            .await?;
        ensure!(repaired.code == 0, "{repaired:?}");
        stage.assert_proven(&[1], &[]).await
    })
    .await;
}
