//! A contact moves with each message of theirs. Their other conversations are read again only when their rows were made with other
//! values of the contact.

use anyhow::{Result, ensure};
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

const SETTINGS: [(&str, &str); 1] = [("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")];

/// A stage in step, with a contact who has conversations 7, 8 and 9.
async fn in_step(stage: &Stage, seed: u64) -> Result<()> {
    stage.sample(60, 1, seed).await?;
    stage
        .source
        .execute(
            "INSERT INTO contacts (id, account_id, name, created_at, updated_at) \
             SELECT max(id) + 1, min(account_id), 'Ana', now() - interval '2 days', now() - interval '1 day' FROM contacts; \
             UPDATE conversations SET contact_id = (SELECT max(id) FROM contacts) WHERE id IN (7, 8, 9)",
        )
        .await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    stage
        .target
        .execute("UPDATE tenants SET sync_interval = interval '1 second'; UPDATE etl_watermark SET next_due_at = now()")
        .await?;
    Ok(())
}

/// The contact writes in conversation 7, as Chatwoot records it.
async fn write(stage: &Stage, text: &str) -> Result<()> {
    let statement = "WITH at AS (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now), \
         touched AS (UPDATE contacts k SET last_activity_at = at.now, updated_at = at.now FROM at, conversations c \
                     WHERE c.id = 7 AND k.id = c.contact_id) \
         INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at) \
         SELECT $1, c.account_id, c.inbox_id, c.id, 0, at.now, at.now FROM conversations c, at WHERE c.id = 7";
    sqlx::query(statement).bind(text).execute(&stage.source).await?;
    Ok(())
}

async fn until_shown(stage: &Stage, text: &str) -> Result<()> {
    stage
        .until(&format!(
            "SELECT message_compiled::text LIKE '%{text}%' FROM conversations_analytics WHERE conversation_id = 7"
        ))
        .await
}

/// The conversations that contacts alone have named since this run.
async fn named_by_contacts(stage: &Stage, after: i64) -> Result<i64> {
    let named =
        "SELECT coalesce(sum((signals->>'contacts')::bigint), 0)::bigint FROM etl_control WHERE id > $1";
    Ok(sqlx::query_scalar(named)
        .bind(after)
        .fetch_one(&stage.target)
        .await?)
}

async fn last_run(stage: &Stage) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT max(id) FROM etl_control")
        .fetch_one(&stage.target)
        .await?)
}

#[tokio::test]
async fn changed_contacts_find_their_conversations_by_the_index_and_without_one_too() {
    on_stage(|stage| async move {
        in_step(&stage, 244).await?;
        stage.source.execute("ANALYZE").await?;
        let searches = "SELECT idx_scan FROM pg_stat_all_indexes WHERE indexrelname = 'index_conversations_on_contact_id'";
        let before: i64 = sqlx::query_scalar(searches).fetch_one(&stage.source).await?;
        for name in ["Bea", "Cid"] {
            let rename = "UPDATE contacts SET name = $1, updated_at = clock_timestamp() AT TIME ZONE 'UTC' \
                          WHERE id = (SELECT max(id) FROM contacts)";
            sqlx::query(rename).bind(name).execute(&stage.source).await?;
            stage.sync_local(&["--tenant", "1"]).await?;
            let renamed = "SELECT count(*) FROM conversations_analytics WHERE contact_name = $1";
            let renamed: i64 = sqlx::query_scalar(renamed).bind(name).fetch_one(&stage.target).await?;
            ensure!(renamed == 3, "{renamed} conversations of {name}");
            if name == "Bea" {
                stage.until_source(&format!("SELECT ({searches}) > {before}")).await?;
                stage.source.execute("DROP INDEX index_conversations_on_contact_id").await?;
            }
        }
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_message_of_a_contact_reads_only_its_own_conversation_and_another_name_reads_all() {
    on_stage(|stage| async move {
        in_step(&stage, 241).await?;
        let fleet = stage.fleet_with(&["up"], &SETTINGS)?;
        let before = last_run(&stage).await?;
        write(&stage, "only mine").await?;
        until_shown(&stage, "only mine").await?;
        stage.until_nothing_is_planned(1).await?;
        let named = named_by_contacts(&stage, before).await?;
        ensure!(
            named == 0,
            "the contact is as before, and named {named} conversations"
        );
        stage
            .source
            .execute(
                "UPDATE contacts SET name = 'Bea', updated_at = clock_timestamp() AT TIME ZONE 'UTC' \
                 WHERE id = (SELECT contact_id FROM conversations WHERE id = 7)",
            )
            .await?;
        stage
            .until("SELECT count(*) = 3 FROM conversations_analytics WHERE contact_name = 'Bea'")
            .await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_row_of_a_release_without_these_digests_is_read_again_with_its_contact() {
    on_stage(|stage| async move {
        in_step(&stage, 242).await?;
        // it has written the rows with another name, their hashes, and nothing that it does not know
        stage
            .target
            .execute(
                "UPDATE conversations_analytics SET contact_name = 'Old', row_hash = decode(repeat('ab', 16), 'hex') \
                 WHERE conversation_id = 8; \
                 UPDATE conversations_analytics SET contact_name = 'Older', row_hash = decode(repeat('cd', 16), 'hex'), \
                        contact_digest = NULL WHERE conversation_id = 9",
            )
            .await?;
        let fleet = stage.fleet_with(&["up"], &SETTINGS)?;
        write(&stage, "after the upgrade").await?;
        stage
            .until("SELECT count(*) = 3 FROM conversations_analytics WHERE conversation_id IN (7, 8, 9) AND contact_name = 'Ana'")
            .await?;
        until_shown(&stage, "after the upgrade").await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn while_a_load_is_in_flight_all_conversations_of_a_contact_are_read() {
    on_stage(|stage| async move {
        in_step(&stage, 243).await?;
        // its load may have read the contact as it was in between, and commit later
        let answer = stage
            .tidemark(&["resync", "--tenant", "1", "--ids", "8", "--reason", "try"])
            .await?;
        ensure!(answer.code == 0, "{answer:?}");
        let mut fleet = stage.fleet_with(&["producer", "finalizer"], &SETTINGS)?;
        stage
            .until("SELECT EXISTS (SELECT FROM etl_chunk WHERE status = 'queued')")
            .await?;
        write(&stage, "beside a resync").await?;
        stage
            .until("SELECT EXISTS (SELECT FROM etl_control WHERE type = 'incremental' AND (signals->>'contacts')::integer = 3)")
            .await?;
        fleet.add("worker")?;
        until_shown(&stage, "beside a resync").await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}
