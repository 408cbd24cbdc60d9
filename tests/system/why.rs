//! What `tidemark why` says about one conversation, case by case.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

use crate::stage::{Stage, on_stage};

async fn why(stage: &Stage, conversation: i64) -> Result<Value> {
    let id = conversation.to_string();
    let answer = stage.tidemark(&["why", "--tenant", "1", &id, "--json"]).await?;
    ensure!(answer.code == 0, "{answer:?}");
    let json = answer.json();
    let text = stage.tidemark(&["why", "--tenant", "1", &id]).await?;
    ensure!(
        text.code == 0 && text.stdout.contains(&format!("conversation {id} of tenant 1: ")),
        "{text:?}"
    );
    Ok(json)
}

/// Asserts the case, and words of its explanation.
async fn says(stage: &Stage, conversation: i64, case: &str, words: &[&str]) -> Result<Value> {
    let found = why(stage, conversation).await?;
    ensure!(
        found["case"] == case,
        "not {case}: {} {}",
        found["case"],
        found["why"]
    );
    let sentence = found["why"].as_str().unwrap_or_default();
    for word in words {
        ensure!(sentence.contains(word), "`{word}` is not in: {sentence}");
    }
    Ok(found)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

async fn at_source(stage: &Stage, statement: &str) -> Result<()> {
    stage.source.execute(AssertSqlSafe(statement.to_owned())).await?;
    Ok(())
}

fn change_of(conversation: i64) -> String {
    format!(
        "UPDATE conversations SET priority = 3 - coalesce(priority, 0), updated_at = now() AT TIME ZONE 'UTC' \
         WHERE id = {conversation}"
    )
}

async fn done(stage: &Stage, args: &[&str]) -> Result<Value> {
    let answer = stage.tidemark(&[args, &["--json"]].concat()).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json())
}

/// Eight conversations of tenant 1, and one of tenant 2.
async fn conversations(stage: &Stage) -> Result<(Vec<i64>, i64)> {
    let of = async |tenant: i32, count: i64| -> Result<Vec<i64>> {
        let inboxes: Vec<i32> =
            sqlx::query_scalar("SELECT inbox_id FROM inbox_tenant_mapping WHERE tenant_id = $1")
                .bind(tenant)
                .fetch_all(&stage.target)
                .await?;
        Ok(sqlx::query_scalar(
            "SELECT c.id::bigint FROM conversations c WHERE c.inbox_id = ANY($1) \
             AND EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id AND m.created_at < now() - interval '1 day') \
             ORDER BY c.id LIMIT $2",
        )
        .bind(inboxes)
        .bind(count)
        .fetch_all(&stage.source)
        .await?)
    };
    Ok((of(1, 8).await?, of(2, 1).await?[0]))
}

#[tokio::test]
async fn an_equal_conversation_is_told_with_its_run_and_an_open_writer() {
    on_stage(|stage| async move {
        stage.sample(120, 2, 61).await?;
        let (ids, _) = conversations(&stage).await?;
        let one = ids[0];
        says(
            &stage,
            one,
            "next_sync",
            &["no row", "first sync takes it (due in "],
        )
        .await?;
        done(&stage, &["sync", "--tenant", "1", "--local"]).await?;

        let equal = says(&stage, one, "equal", &["equal in every column"]).await?;
        let run = &equal["runs"][0];
        ensure!(
            run["wrote_row"] == true && run["trace_id"].is_string(),
            "{equal:#}"
        );
        ensure!(equal["target"]["etl_run_id"] == run["run_id"], "{equal:#}");
        ensure!(
            equal["columns"]
                .as_array()
                .is_some_and(|columns| columns.len() > 100),
            "{equal:#}"
        );
        ensure!(equal["differing"] == Value::Array(vec![]), "{equal:#}");

        let mut writer = stage.source.begin().await?;
        writer
            .execute(AssertSqlSafe(format!(
                "UPDATE conversations SET priority = 2 WHERE id = {one}"
            )))
            .await?;
        says(&stage, one, "equal_writer_open", &["once it has committed"]).await?;
        writer.rollback().await?;
        says(&stage, one, "equal", &[]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_change_that_no_time_shows_is_told_from_one_that_the_next_sync_takes() {
    on_stage(|stage| async move {
        stage.sample(120, 2, 61).await?;
        let (ids, _) = conversations(&stage).await?;
        let (timed, silent) = (ids[0], ids[1]);
        done(&stage, &["sync", "--tenant", "1", "--local"]).await?;
        at_source(&stage, &change_of(timed)).await?;
        at_source(
            &stage,
            &format!("UPDATE messages SET content = 'silently changed' WHERE conversation_id = {silent}"),
        )
        .await?;

        let found = says(
            &stage,
            timed,
            "next_sync",
            &["priority", "the next sync takes it", "held by: no producer"],
        )
        .await?;
        ensure!(
            names(&found["signals"]) == ["conversations", "digest"],
            "{found:#}"
        );
        ensure!(
            names(&found["differing"]).contains(&"conversation_updated_at"),
            "{found:#}"
        );
        let found = says(
            &stage,
            silent,
            "silent",
            &["verify --tenant 1", &format!("--ids {silent}")],
        )
        .await?;
        ensure!(names(&found["signals"]).is_empty(), "{found:#}");
        ensure!(
            names(&found["differing"]).contains(&"message_compiled"),
            "{found:#}"
        );
        let text = stage
            .tidemark(&["why", "--tenant", "1", &silent.to_string()])
            .await?;
        ensure!(
            text.stdout.contains("≠") && text.stdout.contains("silently changed"),
            "{text:?}"
        );
        ensure!(!text.stderr.contains("silently changed"), "{text:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_conversation_is_followed_from_its_change_to_its_row() {
    on_stage(|stage| async move {
        stage.sample(120, 2, 61).await?;
        let (ids, _) = conversations(&stage).await?;
        let one = ids[0];
        done(&stage, &["sync", "--tenant", "1", "--local"]).await?;
        at_source(&stage, &change_of(one)).await?;
        done(
            &stage,
            &["tenant", "pause", "--tenant", "1", "--reason", "moving house"],
        )
        .await?;
        says(&stage, one, "stopped", &["paused (moving house)"]).await?;
        done(&stage, &["tenant", "resume", "--tenant", "1"]).await?;

        let run = done(&stage, &["sync", "--tenant", "1"]).await?["run_id"].to_string();
        says(
            &stage,
            one,
            "being_planned",
            &[&format!("run {run} (incremental, requested)"), "digest"],
        )
        .await?;
        let producer = stage.start(&["producer"])?;
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE status = 'running'")
            .await?;
        says(
            &stage,
            one,
            "on_its_way",
            &[&format!("chunk {run}/1 (incremental, ")],
        )
        .await?;
        producer.kill().await?;
        done(&stage, &["run", "cancel", &run]).await?;
        says(
            &stage,
            one,
            "chunk_failed",
            &["cancelled", "next sync takes it again"],
        )
        .await?;

        let run = done(&stage, &["sync", "--tenant", "1", "--local"]).await?;
        let taken = says(&stage, one, "equal", &[]).await?;
        ensure!(
            taken["runs"][0]["run_id"] == run["run_id"] && taken["runs"][0]["wrote_row"] == true,
            "{taken:#}"
        );
        ensure!(
            taken["runs"].as_array().is_some_and(|runs| runs.len() == 3),
            "{taken:#}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_is_not_there_or_cannot_be_taken_is_told_with_the_reason() {
    on_stage(|stage| async move {
        stage.sample(120, 2, 62).await?;
        let (ids, foreign) = conversations(&stage).await?;
        done(&stage, &["sync", "--tenant", "1", "--local"]).await?;
        says(&stage, 999_999, "never_existed", &["neither source nor target"]).await?;
        says(&stage, foreign, "not_the_tenants", &["tenant 2's"]).await?;

        at_source(&stage, &format!("DELETE FROM conversations WHERE id = {}", ids[0])).await?;
        let gone = says(&stage, ids[0], "gone", &["not yet marked deleted"]).await?;
        ensure!(names(&gone["signals"]) == ["membership"], "{gone:#}");

        // a message of the first conversation does not advance the second
        let inbox: i32 = sqlx::query_scalar("SELECT inbox_id FROM conversations WHERE id = $1")
            .bind(ids[1])
            .fetch_one(&stage.source)
            .await?;
        let inbox = inbox.to_string();
        done(&stage, &["tenant", "set", "--tenant", "1", "--name", "One"]).await?;
        let unmapped = stage.tidemark(&["inbox", "unmap", "--tenant", "1", "--inbox", &inbox]).await?;
        ensure!(unmapped.code == 0, "{unmapped:?}");
        says(&stage, ids[1], "moved_away", &["unmapped", "not yet marked deleted"]).await?;
        done(&stage, &["sync", "--tenant", "1", "--local"]).await?;
        says(&stage, ids[1], "not_the_tenants", &["unmapped", "marked deleted by run"]).await?;
        says(&stage, ids[0], "tombstone", &["gone from the source", "marked deleted by run"]).await?;
        let mapped = stage.tidemark(&["inbox", "map", "--tenant", "1", "--inbox", &inbox]).await?;
        ensure!(mapped.code == 0, "{mapped:?}");
        says(&stage, ids[1], "backfill_pending", &[&format!("inbox {inbox} was mapped"), "by itself"]).await?;
        done(&stage, &["sync", "--tenant", "1", "--local"]).await?;

        // still in another inbox, or back with the backfill
        let bad = ids[2];
        stage
            .target
            .execute(
                "ALTER TABLE conversations_analytics ADD CONSTRAINT no_urgent CHECK (priority IS DISTINCT FROM 3) NOT VALID",
            )
            .await?;
        at_source(&stage, &format!(
            "UPDATE conversations SET priority = 3, updated_at = now() AT TIME ZONE 'UTC' WHERE id = {bad}"
        )).await?;
        let partial = stage.tidemark(&["sync", "--tenant", "1", "--local", "--json"]).await?;
        ensure!(partial.code == 2, "{partial:?}");
        let rejected = says(&stage, bad, "rejected", &["target", "no_urgent", "every run tries it again"]).await?;
        ensure!(rejected["reject"]["sqlstate"] == "23514" && names(&rejected["signals"]).contains(&"rejects"), "{rejected:#}");

        let nobody = stage.tidemark(&["why", "--tenant", "7", "1"]).await?;
        ensure!(nobody.code == 64 && nobody.stderr.contains("no tenant 7"), "{nobody:?}");
        let no_id = stage.tidemark(&["why", "--tenant", "1", "0"]).await?;
        ensure!(no_id.code == 64, "{no_id:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn why_reads_a_view_too() {
    on_stage(|stage| async move {
        let view = [
            ("TIDEMARK_SOURCE_MODE", "view"),
            ("TIDEMARK_SOURCE_VIEW", "vw_conversations_analytics_final"),
        ];
        stage.sample(60, 1, 63).await?;
        let (ids, id) = (sqlx::query_scalar::<_, i64>("SELECT id::bigint FROM conversations ORDER BY id LIMIT 2")
            .fetch_all(&stage.source)
            .await?, 999_999_i64);
        let synced = stage.tidemark_with(&["sync", "--tenant", "1", "--local"], &view).await?;
        ensure!(synced.code == 0, "{synced:?}");
        at_source(&stage, &format!(
            "UPDATE conversations SET priority = 3 - coalesce(priority, 0), updated_at = now() AT TIME ZONE 'UTC' WHERE id = {}",
            ids[1]
        )).await?;
        for (id, case) in [(ids[0], "equal"), (ids[1], "next_sync"), (id, "never_existed")] {
            let answer = stage
                .tidemark_with(&["why", "--tenant", "1", &id.to_string(), "--json"], &view)
                .await?;
            ensure!(answer.code == 0 && answer.json()["case"] == case, "{case}: {answer:?}");
        }
        Ok(())
    })
    .await;
}
