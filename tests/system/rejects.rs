//! Rows that cannot be read, decoded, transformed or stored are rejected alone.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

use crate::stage::{Stage, on_stage};

/// Conversations of tenant 1, with ids from 1 on and two messages each: one minute of data, not a sample's weeks.
async fn conversations(stage: &Stage, count: i32) -> Result<()> {
    stage
        .source
        .execute(
            "INSERT INTO accounts (id, name, created_at, updated_at) VALUES (1, 'One', '2024-01-01', '2024-01-01'); \
             INSERT INTO inboxes (id, channel_id, account_id, name, created_at, updated_at) \
             VALUES (1, 1, 1, 'Website', '2024-01-01', '2024-01-01')",
        )
        .await?;
    for statement in [
        "INSERT INTO contacts (id, account_id, name, created_at, updated_at) \
         SELECT id, 1, 'Contact', '2024-01-01', '2024-01-01' FROM generate_series(1, $1) AS id",
        "INSERT INTO conversations (id, display_id, account_id, inbox_id, contact_id, created_at, updated_at, \
                                    last_activity_at) \
         SELECT id, id, 1, 1, id, '2024-02-01', '2024-02-01', '2024-02-01' FROM generate_series(1, $1) AS id",
        "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at, \
                               sender_type, sender_id) \
         SELECT 'hello', 1, 1, id, kind, '2024-02-01', '2024-02-01', 'Contact', id \
         FROM generate_series(1, $1) AS id, generate_series(0, 1) AS kind",
    ] {
        sqlx::query(statement).bind(count).execute(&stage.source).await?;
    }
    // this source allows values that Chatwoot's own tables do not
    stage
        .source
        .execute(
            "DROP VIEW vw_tidemark, vw_message_compiled CASCADE; \
             ALTER TABLE messages ALTER sentiment DROP DEFAULT, ALTER sentiment TYPE json, ALTER private DROP NOT NULL",
        )
        .await?;
    stage.tenant(1, "UTC", &[1]).await
}

/// Replaces a table by a view over it. Reading `column` divides by zero in rows where it is 'poison'.
async fn poisonous(stage: &Stage, table: &str, column: &str) -> Result<()> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT CASE WHEN attname = $2 THEN format('CASE WHEN %1$I = ''poison'' THEN (1 / (id - id))::text ELSE %1$I END AS %1$I', attname) \
                     ELSE quote_ident(attname) END \
         FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .bind(table)
    .bind(column)
    .fetch_all(&stage.source)
    .await?;
    let columns = columns.join(", ");
    let statements = format!(
        "ALTER TABLE {table} RENAME TO {table}_table; CREATE VIEW {table} AS SELECT {columns} FROM {table}_table"
    );
    stage.source.execute(AssertSqlSafe(statements)).await?;
    Ok(())
}

/// Syncs tenant 1. Asserts the exit code, and that the counts add up.
async fn sync(stage: &Stage, code: i32, args: &[&str]) -> Result<Value> {
    let answer = stage
        .tidemark(&[&["sync", "--local", "--json", "--tenant", "1"], args].concat())
        .await?;
    ensure!(answer.code == code, "{answer:?}");
    let run = answer.json();
    let count = |field: &str| run["records"][field].as_i64().expect("the field is a number");
    let accounted = ["inserted", "updated", "unchanged", "stale", "rejected"].map(count);
    ensure!(
        count("extracted") == accounted.iter().sum::<i64>(),
        "the counts do not add up: {run:#}"
    );
    Ok(run)
}

/// Open rejects: conversation, side, SQLSTATE and error.
async fn rejected(stage: &Stage, args: &[&str]) -> Result<Vec<(i64, String, String, String)>> {
    let answer = stage
        .tidemark(&[&["rejected", "list", "--json"], args].concat())
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    Ok(answer
        .json()
        .as_array()
        .expect("an array is printed")
        .iter()
        .map(|reject| {
            (
                reject["conversation_id"].as_i64().expect("the field is a number"),
                text(&reject["side"]),
                text(&reject["sqlstate"]),
                text(&reject["error"]),
            )
        })
        .collect())
}

async fn live(stage: &Stage) -> Result<i64> {
    Ok(
        sqlx::query_scalar("SELECT count(*) FROM conversations_analytics WHERE source_deleted_at IS NULL")
            .fetch_one(&stage.target)
            .await?,
    )
}

async fn watermark(stage: &Stage) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
    Ok(
        sqlx::query_scalar("SELECT watermark FROM etl_watermark WHERE tenant_id = 1")
            .fetch_one(&stage.target)
            .await?,
    )
}

/// Five rows that fail at the source, in decoding and at constraints of the target.
async fn five_poison_rows(stage: &Stage) -> Result<()> {
    stage
        .source
        .execute(
            "UPDATE messages SET content = 'poison' WHERE conversation_id = 111 AND message_type = 1; \
             UPDATE messages SET private = NULL WHERE conversation_id = 222 AND message_type = 1; \
             UPDATE messages SET sentiment = '{\"secret\": \"\\u0000\"}' WHERE conversation_id = 333; \
             UPDATE conversations SET priority = 77 WHERE id = 444; \
             UPDATE conversations SET display_id = 1000000 WHERE id = 555",
        )
        .await?;
    poisonous(stage, "messages", "content").await?;
    stage
        .target
        .execute(
            "ALTER TABLE conversations_analytics ADD CONSTRAINT plausible_display_id CHECK (display_id < 1000000), \
                 ADD CONSTRAINT plausible_priority CHECK (priority < 10)",
        )
        .await?;
    Ok(())
}

/// Trap 13.
#[tokio::test]
async fn five_poison_rows_among_ten_thousand_are_rejected_with_their_reasons() {
    on_stage(|stage| async move {
        conversations(&stage, 10_000).await?;
        five_poison_rows(&stage).await?;

        let run = sync(&stage, 2, &[]).await?;
        ensure!(
            run["status"] == "partial" && run["records"]["extracted"] == 10_000,
            "{run:#}"
        );
        ensure!(
            run["records"]["inserted"] == 9_995 && live(&stage).await? == 9_995,
            "{run:#}"
        );
        ensure!(watermark(&stage).await?.is_some(), "the watermark did not move");
        let found = rejected(&stage, &["--tenant", "1"]).await?;
        let expected = [
            (111, "source", "22012", "read messages"),
            (222, "source", "-", "read messages"),
            (333, "source", "22P05", "read messages"),
            (444, "target", "23514", "constraint plausible_priority"),
            (555, "target", "23514", "constraint plausible_display_id"),
        ];
        ensure!(found.len() == expected.len(), "{found:?}");
        for ((id, side, sqlstate, error), wanted) in found.iter().zip(expected) {
            ensure!(
                (*id, side.as_str(), sqlstate.as_str()) == (wanted.0, wanted.1, wanted.2),
                "{found:?}"
            );
            ensure!(error.contains(wanted.3) && !error.contains("secret"), "{found:?}");
        }
        Ok(())
    })
    .await;
}

/// Trap 13.
#[tokio::test]
async fn rejected_rows_come_back_as_they_are_repaired() {
    on_stage(|stage| async move {
        conversations(&stage, 1_000).await?;
        five_poison_rows(&stage).await?;
        sync(&stage, 2, &[]).await?;
        let reached = watermark(&stage).await?;

        stage
            .source
            .execute("UPDATE messages_table SET sentiment = NULL WHERE conversation_id = 333")
            .await?;
        let second = sync(&stage, 2, &[]).await?;
        ensure!(
            second["signals"]["rejects"] == 5
                && second["records"]["inserted"] == 1
                && second["records"]["rejected"] == 4,
            "{second:#}"
        );
        ensure!(
            watermark(&stage).await? > reached,
            "the watermark did not move on"
        );
        let left: Vec<i64> = rejected(&stage, &[])
            .await?
            .into_iter()
            .map(|reject| reject.0)
            .collect();
        ensure!(left == [111, 222, 444, 555], "{left:?}");
        ensure!(
            rejected(&stage, &["--all"]).await?.len() == 5,
            "--all lists a resolved reject"
        );

        stage
            .source
            .execute(
                "UPDATE messages_table SET content = 'hello' WHERE conversation_id = 111; \
                 UPDATE messages_table SET private = false WHERE conversation_id = 222; \
                 UPDATE conversations SET display_id = id, priority = NULL",
            )
            .await?;
        sync(&stage, 0, &[]).await?;
        ensure!(
            rejected(&stage, &[]).await?.is_empty(),
            "not all rejects are resolved"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Rows that the source (1), a column (350) and a trigger (700) refuse in an update of 700 that are in the target.
async fn refused_updates(stage: &Stage) -> Result<()> {
    conversations(stage, 1_200).await?;
    sync(stage, 0, &[]).await?;
    poisonous(stage, "contacts", "name").await?;
    stage
        .target
        .execute(
            "ALTER TABLE conversations_analytics ALTER contact_name SET NOT NULL; \
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.contact_email = 'a secret' THEN \
                     RAISE EXCEPTION 'refused: %', NEW.contact_email USING ERRCODE = 'data_exception'; \
                 END IF; \
                 RETURN NEW; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON conversations_analytics \
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await?;
    stage
        .source
        .execute(
            "UPDATE contacts_table SET updated_at = now(), email = id || '@example.com' WHERE id <= 700; \
             UPDATE contacts_table SET name = 'poison' WHERE id = 1; \
             UPDATE contacts_table SET name = NULL WHERE id = 350; \
             UPDATE contacts_table SET email = 'a secret' WHERE id = 700",
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_only_the_merge_refuses_is_named_by_its_column_and_the_older_row_stays() {
    on_stage(|stage| async move {
        refused_updates(&stage).await?;
        let run = sync(&stage, 2, &[]).await?;
        ensure!(
            run["records"]["updated"] == 697 && run["records"]["rejected"] == 3,
            "{run:#}"
        );
        ensure!(
            run["records"]["deleted"] == 0 && live(&stage).await? == 1_200,
            "{run:#}"
        );
        let found = rejected(&stage, &[]).await?;
        let merge = "merge rows into the target: SQLSTATE";
        ensure!(found.len() == 3, "{found:?}");
        ensure!(
            found[0].2 == "22012" && found[0].3.contains("read conversations"),
            "{found:?}"
        );
        ensure!(
            found[1].3 == format!("{merge} 23502, column contact_name of conversations_analytics"),
            "{found:?}"
        );
        ensure!(found[2].3 == format!("{merge} 22000"), "{found:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_retry_of_rejected_rows_takes_the_repaired_and_the_vanished() {
    on_stage(|stage| async move {
        refused_updates(&stage).await?;
        sync(&stage, 2, &[]).await?;

        // one is repaired, one vanishes, one is no longer refused
        stage
            .source
            .execute(
                "UPDATE contacts_table SET name = 'Contact' WHERE id = 1; DELETE FROM conversations WHERE id = 350",
            )
            .await?;
        stage.target.execute("DROP TRIGGER refuse ON conversations_analytics").await?;
        let retried = stage.tidemark(&["rejected", "retry", "--tenant", "1", "--json"]).await?;
        ensure!(retried.code == 0 && retried.json()["type"] == "incremental", "{retried:?}");
        let run = sync(&stage, 0, &[]).await?;
        ensure!(run["run_id"] == retried.json()["run_id"], "another run than the one asked for");
        ensure!(run["records"]["updated"] == 2 && run["records"]["deleted"] == 1, "{run:#}");
        ensure!(rejected(&stage, &[]).await?.is_empty(), "not all rejects are resolved");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_rejected_conversation_that_vanishes_is_resolved_by_a_full_run_too() {
    on_stage(|stage| async move {
        conversations(&stage, 60).await?;
        stage
            .source
            .execute("UPDATE messages SET sentiment = '{\"x\": \"\\u0000\"}' WHERE conversation_id = 42")
            .await?;
        sync(&stage, 2, &["--chunk-size", "7"]).await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id = 42")
            .await?;
        sync(&stage, 0, &["--full", "--chunk-size", "7"]).await?;
        ensure!(
            rejected(&stage, &[]).await?.is_empty(),
            "the reject is still open"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 13.
#[tokio::test]
async fn two_hundred_poison_rows_in_one_chunk_kill_it_and_fail_the_run() {
    on_stage(|stage| async move {
        conversations(&stage, 3_000).await?;
        stage
            .target
            .execute("ALTER TABLE conversations_analytics ADD CONSTRAINT early CHECK (conversation_id NOT BETWEEN 1201 AND 1400)")
            .await?;
        let run = sync(&stage, 1, &["--chunk-size", "1000"]).await?;
        ensure!(run["status"] == "failed" && run["chunks"]["dead"] == 1, "{run:#}");
        ensure!(run["error"].as_str().unwrap().contains("101 of 1000 rows"), "{run:#}");
        ensure!(live(&stage).await? == 2_000, "rows of the dead chunk landed");
        ensure!(rejected(&stage, &[]).await?.is_empty(), "rejects of the dead chunk landed");
        ensure!(watermark(&stage).await?.is_none(), "the watermark moved");

        stage.target.execute("ALTER TABLE conversations_analytics DROP CONSTRAINT early").await?;
        sync(&stage, 0, &[]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn two_hundred_poison_rows_over_many_chunks_fail_the_run_until_they_are_repaired() {
    on_stage(|stage| async move {
        conversations(&stage, 4_000).await?;
        stage
            .source
            .execute("UPDATE messages SET sentiment = '{\"x\": \"\\u0000\"}' WHERE conversation_id % 20 = 0")
            .await?;
        // the first run leaves the rejects of its good chunks, which must not let the next run pass
        for _ in 0..2 {
            let run = sync(&stage, 1, &["--chunk-size", "400"]).await?;
            ensure!(run["status"] == "failed" && run["chunks"]["dead"] == 0, "{run:#}");
            ensure!(
                run["error"].as_str().unwrap().contains("200 of 4000 rows"),
                "{run:#}"
            );
            ensure!(watermark(&stage).await?.is_none(), "the watermark moved");
        }
        stage
            .source
            .execute("UPDATE messages SET sentiment = NULL")
            .await?;
        sync(&stage, 0, &[]).await?;
        ensure!(
            rejected(&stage, &[]).await?.is_empty(),
            "not all rejects are resolved"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn accepted_rejects_do_not_add_up_to_a_failure() {
    on_stage(|stage| async move {
        conversations(&stage, 1_000).await?;
        stage.source.execute("UPDATE messages SET sentiment = '{\"x\": \"\\u0000\"}' WHERE conversation_id <= 90").await?;
        sync(&stage, 2, &[]).await?;
        stage
            .source
            .execute("UPDATE messages SET sentiment = '{\"x\": \"\\u0000\"}', updated_at = now() WHERE conversation_id BETWEEN 91 AND 180")
            .await?;
        let run = sync(&stage, 2, &[]).await?;
        ensure!(run["records"]["rejected"] == 180, "{run:#}");
        stage
            .source
            .execute("UPDATE messages SET sentiment = '{\"x\": \"\\u0000\"}', updated_at = now() WHERE conversation_id BETWEEN 181 AND 290")
            .await?;
        let reached = watermark(&stage).await?;
        sync(&stage, 1, &[]).await?;
        ensure!(watermark(&stage).await? == reached, "the watermark moved");
        Ok(())
    })
    .await;
}

/// Conversation 900 cannot be read from the first sync on. Conversation 7 cannot be read after it, 8 changes, 9 is deleted.
async fn unreadable_conversations(stage: &Stage) -> Result<Value> {
    conversations(stage, 1_200).await?;
    poisonous(stage, "conversations", "cached_label_list").await?;
    stage
        .source
        .execute("UPDATE conversations_table SET cached_label_list = 'poison' WHERE id = 900")
        .await?;
    let first = sync(stage, 2, &[]).await?;
    stage
        .source
        .execute(
            "UPDATE conversations_table SET cached_label_list = 'poison', updated_at = now() WHERE id = 7; \
             UPDATE conversations_table SET priority = 3 WHERE id = 8; DELETE FROM conversations_table WHERE id = 9",
        )
        .await?;
    Ok(first)
}

#[tokio::test]
async fn a_conversation_whose_own_row_cannot_be_read_is_rejected_alone() {
    on_stage(|stage| async move {
        let first = unreadable_conversations(&stage).await?;
        ensure!(
            first["records"]["inserted"] == 1_199 && first["records"]["rejected"] == 1,
            "{first:#}"
        );
        let reached = watermark(&stage).await?;
        ensure!(reached.is_some(), "the watermark did not move");

        let second = sync(&stage, 2, &[]).await?;
        let records = &second["records"];
        ensure!(
            second["signals"]["unreadable"] == 2
                && records["updated"] == 1
                && records["deleted"] == 1
                && records["rejected"] == 2,
            "{second:#}"
        );
        ensure!(
            watermark(&stage).await? > reached,
            "the watermark did not move on"
        );
        let found = rejected(&stage, &[]).await?;
        let places: Vec<_> = found
            .iter()
            .map(|(id, side, sqlstate, _)| (*id, side.as_str(), sqlstate.as_str()))
            .collect();
        ensure!(
            places == [(7, "source", "22012"), (900, "source", "22012")],
            "{found:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_row_of_a_conversation_that_cannot_be_read_stays_until_it_can() {
    on_stage(|stage| async move {
        unreadable_conversations(&stage).await?;
        for args in [[].as_slice(), &["--full"]] {
            let run = sync(&stage, 2, args).await?;
            ensure!(run["records"]["rejected"] == 2, "{run:#}");
            ensure!(live(&stage).await? == 1_198, "rows were lost: {run:#}");
        }
        stage
            .source
            .execute("UPDATE conversations_table SET cached_label_list = 'good' WHERE cached_label_list = 'poison'")
            .await?;
        let repaired = sync(&stage, 0, &[]).await?;
        ensure!(repaired["records"]["inserted"] == 1 && repaired["records"]["updated"] == 1, "{repaired:#}");
        ensure!(rejected(&stage, &[]).await?.is_empty(), "not all rejects are resolved");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn many_conversations_that_cannot_be_read_stop_the_plan() {
    on_stage(|stage| async move {
        conversations(&stage, 300).await?;
        sync(&stage, 0, &[]).await?;
        let reached = watermark(&stage).await?;
        poisonous(&stage, "conversations", "cached_label_list").await?;
        stage
            .source
            .execute("UPDATE conversations_table SET cached_label_list = 'poison' WHERE id <= 101")
            .await?;
        let run = sync(&stage, 1, &[]).await?;
        ensure!(
            run["error"]
                .as_str()
                .unwrap_or_default()
                .contains("more than 100"),
            "{run:#}"
        );
        ensure!(live(&stage).await? == 300, "rows were marked deleted: {run:#}");
        ensure!(watermark(&stage).await? == reached, "the watermark moved");
        Ok(())
    })
    .await;
}

/// Trap 23.
#[tokio::test]
async fn a_row_that_cannot_be_read_any_more_loses_what_a_new_policy_does_not_keep() {
    on_stage(|stage| async move {
        conversations(&stage, 50).await?;
        poisonous(&stage, "messages", "content").await?;
        sync(&stage, 0, &[]).await?;
        let poison = "UPDATE messages_table SET content = 'poison', updated_at = now() AT TIME ZONE 'UTC' \
                      WHERE conversation_id = ";
        stage
            .source
            .execute(AssertSqlSafe(format!("{poison} 7")))
            .await?;
        sync(&stage, 2, &[]).await?;
        ensure!(rejected(&stage, &[]).await?.len() == 1, "one reject is open");
        let kept = "SELECT array_agg(conversation_id ORDER BY conversation_id) FROM conversations_analytics \
                    WHERE contact_name IS NOT NULL OR message_compiled::text LIKE '%hello%'";
        let set = stage
            .tidemark(&["tenant", "set", "--tenant", "1", "--privacy", "contact_name=null,message_text=null"])
            .await?;
        ensure!(set.code == 0, "{set:?}");
        let rows: Vec<i64> = sqlx::query_scalar(kept).fetch_one(&stage.target).await?;
        ensure!(rows.len() == 49 && !rows.contains(&7), "{rows:?} keep personal data");
        // another one, refused before its row was rewritten
        stage
            .source
            .execute(AssertSqlSafe(format!("{poison} 9")))
            .await?;
        let synced = stage.tidemark(&["sync", "--local", "--tenant", "1"]).await?;
        ensure!(synced.code == 2, "{synced:?}");
        stage
            .until("SELECT w.policy_version = t.policy_version FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id")
            .await?;
        let rows: Option<Vec<i64>> = sqlx::query_scalar(kept).fetch_one(&stage.target).await?;
        ensure!(rows.is_none(), "{rows:?} keep personal data");
        // the row is complete again as soon as it can be read
        stage
            .source
            .execute("UPDATE messages_table SET content = 'hello' WHERE content = 'poison'")
            .await?;
        sync(&stage, 0, &[]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}
