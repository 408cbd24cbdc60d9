//! Backfills that start by themselves: newly mapped inboxes, inboxes that change tenant, changed names, deleted
//! senders.

use anyhow::{Result, ensure};
use sqlx::Executor;

use crate::columns::{assert_same, reference, target};
use crate::stage::{Stage, on_stage};

/// The tenant's inbox with the most conversations, and their number.
async fn largest_inbox(stage: &Stage, tenant: i32) -> Result<(i32, i64)> {
    Ok(sqlx::query_as(
        "SELECT inbox_id, count(*) FROM conversations WHERE account_id = $1 GROUP BY 1 ORDER BY 2 DESC LIMIT 1",
    )
    .bind(tenant)
    .fetch_one(&stage.source)
    .await?)
}

async fn map(stage: &Stage, tenant: i32, inbox: i32) -> Result<()> {
    let mapped = stage
        .tidemark(&[
            "inbox",
            "map",
            "--tenant",
            &tenant.to_string(),
            "--inbox",
            &inbox.to_string(),
            // needed where tenant 1 has it
            "--from-tenant",
            "1",
        ])
        .await?;
    ensure!(mapped.code == 0, "{mapped:?}");
    Ok(())
}

async fn sync(stage: &Stage, tenant: i32) -> Result<()> {
    let synced = stage
        .tidemark(&["sync", "--tenant", &tenant.to_string(), "--wait", "--json"])
        .await?;
    ensure!(synced.code == 0, "{synced:?}");
    Ok(())
}

/// A tenant in step without its largest inbox. Returns that inbox and its number of conversations.
async fn without_largest_inbox(stage: &Stage) -> Result<(i32, i64)> {
    stage.sample(2_100, 1, 51).await?;
    let (inbox, conversations) = largest_inbox(stage, 1).await?;
    sqlx::query("DELETE FROM inbox_tenant_mapping WHERE inbox_id = $1")
        .bind(inbox)
        .execute(&stage.target)
        .await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    ensure!(
        conversations >= 500,
        "the inbox has {conversations} conversations"
    );
    Ok((inbox, conversations))
}

/// Trap 12.
#[tokio::test]
async fn a_newly_mapped_inbox_is_fetched_by_itself_in_the_bulk_lane() {
    on_stage(|stage| async move {
        let (inbox, conversations) = without_largest_inbox(&stage).await?;
        map(&stage, 1, inbox).await?;
        // changes in the inbox are synced live at once, its history is not
        sqlx::query("UPDATE conversations SET updated_at = now() AT TIME ZONE 'UTC' WHERE id = (SELECT min(id) FROM conversations WHERE inbox_id = $1)")
            .bind(inbox)
            .execute(&stage.source)
            .await?;
        let up = stage.start(&["up"])?;
        sync(&stage, 1).await?;
        stage.until("SELECT bool_and(backfilled_at IS NOT NULL) FROM inbox_tenant_mapping").await?;
        stage.assert_equal(&[1]).await?;
        let live: i64 = sqlx::query_scalar("SELECT coalesce(sum(key_count), 0)::bigint FROM etl_chunk WHERE lane = 'live'")
            .fetch_one(&stage.target)
            .await?;
        ensure!(live == 1, "{live} keys went through the live lane");
        let (runs, rows): (i64, i64) = sqlx::query_as(
            "SELECT count(*), sum(records_extracted)::bigint FROM etl_control \
             WHERE type = 'backfill' AND triggered_by = 'scheduler' AND watermark_end IS NULL",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(runs == 1 && rows == conversations, "{runs} backfills of {rows} rows");
        // from now on the inbox is compared like every other one
        sqlx::query("DELETE FROM conversations WHERE id = (SELECT min(id) FROM conversations WHERE inbox_id = $1)")
            .bind(inbox)
            .execute(&stage.source)
            .await?;
        sync(&stage, 1).await?;
        stage.assert_equal(&[1]).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_local_sync_fetches_a_newly_mapped_inbox_too() {
    on_stage(|stage| async move {
        let (inbox, _) = without_largest_inbox(&stage).await?;
        map(&stage, 1, inbox).await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            run["type"] == "incremental" && run["records"]["extracted"] == 0,
            "{run:#}"
        );
        stage
            .until("SELECT bool_and(backfilled_at IS NOT NULL) FROM inbox_tenant_mapping")
            .await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_backfill_that_fails_leaves_its_inboxes_to_be_fetched_and_is_not_repeated_at_once() {
    on_stage(|stage| async move {
        let (inbox, _) = without_largest_inbox(&stage).await?;
        map(&stage, 1, inbox).await?;
        stage.source.execute("ALTER TABLE messages RENAME COLUMN content_type TO kind").await?;
        let up = stage.start(&["up"])?;
        stage.until("SELECT count(*) = 1 FROM etl_control WHERE type = 'backfill' AND status = 'failed'").await?;
        stage.source.execute("ALTER TABLE messages RENAME COLUMN kind TO content_type").await?;
        sync(&stage, 1).await?;
        stage
            .until("SELECT count(*) FILTER (WHERE type = 'backfill') = 1 AND (SELECT count(*) = 1 FROM inbox_tenant_mapping \
                    WHERE backfilled_at IS NULL) FROM etl_control")
            .await?;
        stage
            .target
            .execute("UPDATE etl_control SET finished_at = now() - interval '10 minutes' WHERE status = 'failed'")
            .await?;
        stage.until("SELECT bool_and(backfilled_at IS NOT NULL) FROM inbox_tenant_mapping").await?;
        up.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 12.
#[tokio::test]
async fn an_inbox_given_to_another_tenant_leaves_the_old_one_and_arrives_in_the_new_one() {
    on_stage(|stage| async move {
        let tenants = stage.sample(800, 2, 53).await?;
        stage.sync_local(&["--all"]).await?;
        let (inbox, conversations) = largest_inbox(&stage, 1).await?;
        ensure!(conversations > 50, "too few for the guard");
        map(&stage, 2, inbox).await?;
        let up = stage.start(&["up"])?;
        sync(&stage, 1).await?;
        stage.until("SELECT bool_and(backfilled_at IS NOT NULL) FROM inbox_tenant_mapping").await?;
        stage.assert_equal(&tenants).await?;
        // the guard still checks conversations that vanish from the other inboxes
        stage
            .source
            .execute("DELETE FROM conversations WHERE id IN (SELECT id FROM conversations WHERE account_id = 2 ORDER BY id LIMIT 90)")
            .await?;
        let refused = stage.tidemark(&["sync", "--tenant", "2", "--wait", "--json"]).await?;
        ensure!(refused.code == 1 && refused.stdout.contains("--allow-mass-delete"), "{refused:?}");
        up.stop().await
    })
    .await;
}

/// Trap 12.
#[tokio::test]
async fn a_chunk_in_flight_does_not_bring_back_an_inbox_that_went_to_another_tenant() {
    on_stage(|stage| async move {
        let tenants = stage.sample(400, 2, 57).await?;
        stage.sync_local(&["--all"]).await?;
        let (inbox, _) = largest_inbox(&stage, 1).await?;
        let up = stage.start(&["up"])?;
        // the chunk reads under the old mapping, and its load waits for this transaction
        let mut remap = stage.target.begin().await?;
        sqlx::query("UPDATE inbox_tenant_mapping SET tenant_id = 2, backfilled_at = NULL, updated_at = now() WHERE inbox_id = $1")
            .bind(inbox)
            .execute(&mut *remap)
            .await?;
        let asked = stage.tidemark(&["resync", "--tenant", "1", "--inbox", &inbox.to_string(), "--json"]).await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() \
                    AND wait_event_type = 'Lock' AND query LIKE 'SELECT mapping_version%'")
            .await?;
        remap.commit().await?;
        let ended = stage.tidemark(&["run", "watch", &asked.json()["run_id"].to_string(), "--json"]).await?;
        ensure!(ended.code == 0 && ended.json()["records"]["extracted"] == 0, "{ended:?}");
        sync(&stage, 1).await?;
        stage.until("SELECT bool_and(backfilled_at IS NOT NULL) FROM inbox_tenant_mapping").await?;
        up.stop().await?;
        stage
            .until("SELECT bool_and(a.tenant_id = m.tenant_id) FROM conversations_analytics a \
                    JOIN inbox_tenant_mapping m USING (inbox_id) WHERE a.source_deleted_at IS NULL")
            .await?;
        stage.assert_equal(&tenants).await
    })
    .await;
}

/// Trap 4: an inbox rename does not flood the live lane.
#[tokio::test]
async fn changed_names_arrive_by_one_bulk_run_and_no_live_chunk() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 59).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let up = stage.start(&["up"])?;
        for (change, bulk_runs) in [
            (
                "UPDATE inboxes SET name = 'Front desk', updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT min(inbox_id) FROM conversations)",
                1,
            ),
            // a login updates the user and changes no name
            ("UPDATE users SET updated_at = now() AT TIME ZONE 'UTC'", 1),
            (
                "UPDATE users SET name = name || ' Silva', updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT min(assignee_id) FROM conversations); \
                 UPDATE teams SET name = 'Night shift', updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT min(team_id) FROM conversations); \
                 UPDATE accounts SET name = repeat('Long ', 60), updated_at = now() AT TIME ZONE 'UTC'",
                2,
            ),
            // changed back within the lookback
            (
                "UPDATE inboxes SET name = 'Back office', updated_at = now() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT min(inbox_id) FROM conversations)",
                3,
            ),
        ] {
            stage.source.execute(change).await?;
            // every plan within the lookback sees the change, and only one requests a backfill
            for _ in 0..2 {
                sync(&stage, 1).await?;
            }
            stage
                .until("SELECT bool_and(status = 'success') FROM etl_control")
                .await?;
            let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE type = 'backfill'")
                .fetch_one(&stage.target)
                .await?;
            ensure!(runs == bulk_runs, "{runs} backfills after {change}");
            stage.assert_equal(&[1]).await?;
        }
        let live: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_chunk WHERE lane = 'live'")
            .fetch_one(&stage.target)
            .await?;
        ensure!(live == 0, "{live} live chunks");
        let secrets: i64 =
            sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE request::text LIKE '%Front%'")
                .fetch_one(&stage.target)
                .await?;
        ensure!(secrets == 0, "a name is in the ledger");
        up.stop().await
    })
    .await;
}

/// Deletes an agent, a bot or an assistant as Chatwoot does: its messages lose their sender, and no time changes.
async fn delete_sender(stage: &Stage, sender_type: &str, sender: i64) -> Result<()> {
    let mut tx = stage.source.begin().await?;
    let messages = sqlx::query(
        "UPDATE messages SET sender_type = NULL, sender_id = NULL WHERE sender_type = $1 AND sender_id = $2",
    )
    .bind(sender_type)
    .bind(sender)
    .execute(&mut *tx)
    .await?;
    ensure!(
        messages.rows_affected() > 0,
        "{sender_type} {sender} has written nothing"
    );
    if sender_type == "User" {
        sqlx::query("UPDATE conversations SET assignee_id = NULL WHERE assignee_id = $1")
            .bind(sender)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(sender)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

async fn backfills(stage: &Stage) -> Result<i64> {
    Ok(
        sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE type = 'backfill'")
            .fetch_one(&stage.target)
            .await?,
    )
}

/// Trap 26.
#[tokio::test]
async fn what_a_deleted_agent_bot_or_assistant_wrote_is_brought_by_one_backfill() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 61).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let agent: i64 = sqlx::query_scalar(
            "SELECT sender_id FROM messages WHERE sender_type = 'User' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
        )
        .fetch_one(&stage.source)
        .await?;
        let mut expected = 0;
        for (sender_type, sender) in [("User", agent), ("AgentBot", 1), ("Captain::Assistant", 1)] {
            delete_sender(&stage, sender_type, sender).await?;
            // one backfill, and no other when the next syncs see the change again
            expected += 1;
            for _ in 0..3 {
                stage.sync_local(&["--tenant", "1"]).await?;
                stage.until("SELECT bool_and(status = 'success') FROM etl_control").await?;
            }
            let asked = backfills(&stage).await?;
            ensure!(asked == expected, "{asked} backfills after {sender_type} {sender}");
            let left: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM conversations_analytics \
                 WHERE message_compiled @> jsonb_build_array(jsonb_build_object('sender', $1::text, 'sender_id', $2::bigint))",
            )
            .bind(sender_type)
            .bind(sender)
            .fetch_one(&stage.target)
            .await?;
            ensure!(left == 0, "{left} rows still show {sender_type} {sender}");
            stage.assert_equal(&[1]).await?;
            let sample = tidemark_sample::describe(&stage.url("source")).await?.remove(0);
            let expected = reference(&stage, 1, &sample.timezone, &sample.inbox_ids).await?;
            assert_same(&expected, &target(&stage, 1).await?)?;
        }
        Ok(())
    })
    .await;
}

/// Messages that the source only hides do not show that their sender was deleted.
#[tokio::test]
async fn hidden_messages_and_users_are_no_deleted_senders() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 67).await?;
        let reader = stage.reader_url().await?;
        let as_reader = [("TIDEMARK_SOURCE_URL", reader.as_str())];
        let sync = ["sync", "--local", "--json", "--tenant", "1"];
        let first = stage.tidemark_with(&sync, &as_reader).await?;
        ensure!(first.code == 0, "{first:?}");
        stage
            .source
            .execute(
                "ALTER TABLE messages ENABLE ROW LEVEL SECURITY; CREATE POLICY nobody ON messages USING (false); \
                 ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY nobody ON users USING (false)",
            )
            .await?;
        for _ in 0..2 {
            let hidden = stage.tidemark_with(&sync, &as_reader).await?;
            ensure!(hidden.code == 0, "{hidden:?}");
        }
        let asked = backfills(&stage).await?;
        ensure!(asked == 0, "{asked} backfills while messages are hidden");
        let empty: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics WHERE t_messages = 0")
            .fetch_one(&stage.target)
            .await?;
        stage
            .source
            .execute("ALTER TABLE messages DISABLE ROW LEVEL SECURITY; ALTER TABLE users DISABLE ROW LEVEL SECURITY")
            .await?;
        let shown = stage.tidemark_with(&sync, &as_reader).await?;
        ensure!(shown.code == 0 && backfills(&stage).await? == 0, "{shown:?}");
        ensure!(empty < 100, "{empty} rows have lost their messages");
        stage.assert_equal(&[1]).await
    })
    .await;
}
