//! Reads that overlap: the result of the newer read stays, even if it wrote nothing, and unchanged rows are not
//! written.

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::stage::{Stage, on_stage};

/// Moves a conversation to an inbox of no tenant.
const MOVE_AWAY: &str = "UPDATE conversations SET inbox_id = inbox_id + 1000000 WHERE id = 9";
const MOVE_BACK: &str = "UPDATE conversations SET inbox_id = inbox_id - 1000000 WHERE id = 9";
const EDIT: &str = "UPDATE messages SET content = content || ' edited', updated_at = now() AT TIME ZONE 'UTC' \
                    WHERE conversation_id = 9";
const UNDO_EDIT: &str = "UPDATE messages SET content = replace(content, ' edited', ''), \
                         updated_at = now() AT TIME ZONE 'UTC' WHERE conversation_id = 9";
const SOMEBODY_WAITS: &str = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                              WHERE NOT l.granted AND a.datname = current_database())";

/// An incremental run reads conversation 9 after `first`, and its load is blocked. Then `second` happens, and a
/// resync of that conversation begins later and ends earlier. Returns both runs, the incremental first. They may be
/// partial.
async fn overtake(stage: &Stage, first: &'static str, second: &'static str) -> Result<(Value, Value)> {
    let changed = stage.source.execute(first).await?.rows_affected();
    ensure!(changed > 0, "{first} changes nothing");
    stage
        .source
        .execute("UPDATE conversations SET priority = (coalesce(priority, 0) + 1) % 4 WHERE id = 2")
        .await?;
    let fleet = stage.fleet(&["producer", "worker --concurrency 2", "finalizer"])?;
    fleet.until_started().await?;
    // the merge takes rows in the order of their ids, so it waits here before it reaches conversation 9
    let mut holder = PgConnection::connect(&stage.owner_url("target")).await?;
    holder
        .execute("BEGIN; SELECT FROM conversations_analytics WHERE conversation_id = 2 FOR UPDATE")
        .await?;
    let slow = stage.tidemark(&["sync", "--tenant", "1", "--json"]).await?;
    ensure!(slow.code == 0, "{slow:?}");
    stage.until(SOMEBODY_WAITS).await?;

    stage.source.execute(second).await?;
    let quick = stage
        .tidemark(&["resync", "--tenant", "1", "--ids", "9", "--wait", "--json"])
        .await?;
    ensure!(quick.code % 2 == 0, "{quick:?}");
    holder.execute("COMMIT").await?;
    holder.close().await?;
    let run = slow.json()["run_id"].to_string();
    let slow = stage.tidemark(&["run", "watch", &run, "--json"]).await?;
    ensure!(slow.code % 2 == 0, "{slow:?}");
    fleet.stop().await?;
    Ok((slow.json(), quick.json()))
}

/// The incremental has read the chunk again, and this is not counted as a failure.
async fn assert_read_again(stage: &Stage) -> Result<()> {
    stage
        .until(
            "SELECT bool_and(c.attempt = 2 AND c.failure_count = 0 AND c.lost_count = 0) \
             FROM etl_chunk c JOIN etl_control r ON r.id = c.run_id \
             WHERE r.id = (SELECT max(id) FROM etl_control WHERE type = 'incremental')",
        )
        .await
}

/// Rows inserted, updated, deleted and dead, counted by PostgreSQL. Each start of a process writes one row to check
/// isolation, and rolls it back: these are left out.
async fn written(stage: &Stage, starts: i64) -> Result<(i64, i64, i64, i64)> {
    // a session reports its counts before it ends
    stage
        .until(
            "SELECT count(*) = 0 FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name LIKE 'tidemark%'",
        )
        .await?;
    Ok(sqlx::query_as(
        "SELECT n_tup_ins - $1, n_tup_upd, n_tup_del, n_dead_tup - $1 FROM pg_stat_user_tables \
         WHERE relname = 'conversations_analytics'",
    )
    .bind(starts)
    .fetch_one(&stage.target)
    .await?)
}

#[tokio::test]
async fn a_change_that_a_newer_read_found_undone_is_not_brought_back_by_an_older_one() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 89).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (slow, quick) = overtake(&stage, EDIT, UNDO_EDIT).await?;
        ensure!(quick["records"]["unchanged"] == 1, "{quick:#}");
        stage.assert_equal(&[1]).await?;
        ensure!(
            slow["records"]["updated"] == 1 && slow["records"]["unchanged"] == 1,
            "{slow:#}"
        );
        assert_read_again(&stage).await
    })
    .await;
}

/// Holds the row of a conversation until the returned connection is closed.
async fn hold(stage: &Stage, conversation: i64) -> Result<PgConnection> {
    let mut holder = PgConnection::connect(&stage.owner_url("target")).await?;
    let lock = format!(
        "BEGIN; SELECT FROM conversations_analytics WHERE conversation_id = {conversation} FOR UPDATE"
    );
    holder.execute(AssertSqlSafe(lock)).await?;
    Ok(holder)
}

/// The newer read does not even stage the conversation, since the target has what it read. Then the older one writes.
#[tokio::test]
async fn a_row_that_a_newer_read_left_out_is_looked_at_again_before_it_ends() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 89).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.source.execute(EDIT).await?;
        let fleet = stage.fleet(&["producer", "worker --concurrency 2", "finalizer"])?;
        fleet.until_started().await?;
        let older = hold(&stage, 9).await?;
        let slow = stage.tidemark(&["sync", "--tenant", "1", "--json"]).await?;
        ensure!(slow.code == 0, "{slow:?}");
        stage.until(SOMEBODY_WAITS).await?;

        stage.source.execute(UNDO_EDIT).await?;
        stage
            .source
            .execute("UPDATE conversations SET priority = (coalesce(priority, 0) + 1) % 4 WHERE id = 2")
            .await?;
        let newer = hold(&stage, 2).await?;
        let quick = stage.start(&["resync", "--tenant", "1", "--ids", "2,9", "--wait"])?;
        let two_wait = SOMEBODY_WAITS.replace("EXISTS (SELECT FROM", "(SELECT count(DISTINCT pid) = 2 FROM");
        stage.until(&two_wait).await?;
        older.close().await?;
        let run = slow.json()["run_id"].to_string();
        let slow = stage.tidemark(&["run", "watch", &run, "--json"]).await?;
        ensure!(
            slow.code == 0 && slow.json()["records"]["updated"] == 1,
            "{slow:?}"
        );
        newer.close().await?;
        quick.finish().await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await?;
        stage
            .until(
                "SELECT bool_and(c.attempt = 2 AND c.failure_count = 0) FROM etl_chunk c \
                 JOIN etl_control r ON r.id = c.run_id WHERE r.type = 'resync'",
            )
            .await
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_a_newer_read_found_present_is_not_marked_deleted_by_an_older_one() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 89).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (slow, quick) = overtake(&stage, MOVE_AWAY, MOVE_BACK).await?;
        ensure!(quick["records"]["unchanged"] == 1, "{quick:#}");
        stage.assert_equal(&[1]).await?;
        ensure!(slow["records"]["deleted"] == 0, "{slow:#}");
        assert_read_again(&stage).await
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_a_newer_read_found_gone_is_not_inserted_by_an_older_one() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 89).await?;
        stage.source.execute(MOVE_AWAY).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (slow, quick) = overtake(&stage, MOVE_BACK, MOVE_AWAY).await?;
        ensure!(
            quick["records"]["extracted"] == 0 && quick["records"]["deleted"] == 0,
            "{quick:#}"
        );
        stage.assert_equal(&[1]).await?;
        ensure!(slow["records"]["inserted"] == 0, "{slow:#}");
        assert_read_again(&stage).await
    })
    .await;
}

#[tokio::test]
async fn a_reject_that_a_newer_read_recorded_is_not_resolved_by_an_older_one() {
    on_stage(|stage| async move {
        const POISON: &str = "UPDATE messages SET private = NULL, updated_at = now() AT TIME ZONE 'UTC' \
                              WHERE conversation_id = 9 AND NOT private";
        const REPAIR: &str = "UPDATE messages SET private = false WHERE private IS NULL";
        stage.sample(20, 1, 89).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage
            .source
            .execute("ALTER TABLE messages ALTER private DROP NOT NULL")
            .await?;
        stage.source.execute(POISON).await?;
        let poisoned = stage
            .tidemark(&["sync", "--local", "--tenant", "1", "--json"])
            .await?;
        ensure!(poisoned.code == 2, "{poisoned:?}");
        let (slow, quick) = overtake(&stage, REPAIR, POISON).await?;
        ensure!(quick["records"]["rejected"] == 1, "{quick:#}");
        ensure!(slow["records"]["rejected"] == 1, "{slow:#}");
        stage
            .until(
                "SELECT count(*) = 1 FROM etl_rejected_row WHERE conversation_id = 9 AND resolved_at IS NULL",
            )
            .await?;
        stage.source.execute(REPAIR).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_resync_of_everything_unchanged_leaves_no_dead_row() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 97).await?;
        // an automatic ANALYZE counts the dead rows, too
        stage
            .target
            .execute("ALTER TABLE conversations_analytics SET (autovacuum_enabled = off)")
            .await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let done = written(&stage, 1).await?;
        ensure!(done == (300, 0, 0, 0), "{done:?}");
        for (starts, args) in [
            (2, ["--tenant", "1", "--full"].as_slice()),
            (3, &["--tenant", "1", "--full", "--chunk-size", "7"]),
        ] {
            let run = stage.sync_local(args).await?;
            ensure!(run["records"]["unchanged"] == 300, "{run:#}");
            let done = written(&stage, starts).await?;
            ensure!(done == (300, 0, 0, 0), "{done:?}");
        }
        Ok(())
    })
    .await;
}
