//! Plans read the lookback before the watermark again. What an earlier run has read since its last change is not read once
//! more, and what it cannot have seen is.

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor, PgConnection};

use crate::stage::{Stage, on_stage};

/// A stage in step whose tenant is planned every second. Its lookback is longer than a test waits.
async fn in_step(stage: &Stage, seed: u64) -> Result<()> {
    stage.sample(100, 1, seed).await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    stage
        .target
        .execute(
            "UPDATE tenants SET sync_interval = interval '1 second', lookback = interval '10 minutes'; \
             UPDATE etl_watermark SET next_due_at = now()",
        )
        .await?;
    Ok(())
}

/// Writes a message with a time so far in the past. Nothing else shows it.
pub async fn write(connection: &mut PgConnection, text: &str, age: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at) \
         SELECT $1, account_id, inbox_id, id, 0, at, at \
         FROM conversations, LATERAL (SELECT (clock_timestamp() - $2::text::interval) AT TIME ZONE 'UTC' AS at) written \
         WHERE id = 7",
    )
    .bind(text)
    .bind(age)
    .execute(connection)
    .await?;
    Ok(())
}

async fn until_shown(stage: &Stage, text: &str) -> Result<()> {
    let shown = format!(
        "SELECT message_compiled::text LIKE '%{text}%' FROM conversations_analytics WHERE conversation_id = 7"
    );
    stage.until(&shown).await
}

/// Waits for several more plans.
async fn until_planned_again(stage: &Stage) -> Result<()> {
    let from: String = sqlx::query_scalar("SELECT (now() + interval '2 seconds')::text")
        .fetch_one(&stage.source)
        .await?;
    stage
        .until(&format!("SELECT watermark > '{from}' FROM etl_watermark"))
        .await
}

#[tokio::test]
async fn what_an_earlier_run_has_read_is_not_read_again_within_the_lookback() {
    on_stage(|stage| async move {
        in_step(&stage, 221).await?;
        // All conversations, messages and contacts. A contact who wrote in a conversation of somebody else is looked up in the
        // target, and that conversation is read again.
        let touch = "UPDATE conversations SET updated_at = clock_timestamp() AT TIME ZONE 'UTC'; \
                     UPDATE messages SET updated_at = clock_timestamp() AT TIME ZONE 'UTC'; \
                     UPDATE contacts SET updated_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id NOT IN ( \
                         SELECT m.sender_id FROM messages m JOIN conversations c ON c.id = m.conversation_id \
                         WHERE m.sender_type = 'Contact' AND m.sender_id IS DISTINCT FROM c.contact_id \
                           AND m.sender_id IS NOT NULL)";
        for digest_interval in ["1h", "0s"] {
            stage.source.execute(touch).await?;
            write(&mut *stage.source.acquire().await?, digest_interval, "0").await?;
            let settings = [("TIDEMARK_PRODUCER_DIGEST_INTERVAL", digest_interval)];
            let fleet = stage.fleet_with(&["up"], &settings)?;
            until_shown(&stage, digest_interval).await?;
            // the plan whose watermark passes the change may name it once more
            stage.until_nothing_is_planned(1).await?;
            fleet.stop().await?;
        }
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_change_with_an_earlier_time_arrives_although_its_conversation_was_read_since() {
    on_stage(|stage| async move {
        in_step(&stage, 222).await?;
        let settings = [("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")];
        let fleet = stage.fleet_with(&["up"], &settings)?;
        let mut writer = PgConnection::connect(&stage.url("source")).await?;
        write(&mut writer, "on time", "0").await?;
        until_shown(&stage, "on time").await?;
        until_planned_again(&stage).await?;
        // the clock of its server is behind
        write(&mut writer, "behind", "50 seconds").await?;
        until_shown(&stage, "behind").await?;

        // open while the conversation is read; the first one's subtransaction has a higher id than its own
        let mut late = PgConnection::connect(&stage.url("source")).await?;
        late.execute("BEGIN; CREATE TEMPORARY TABLE writes_first (id integer); SAVEPOINT inner_one")
            .await?;
        write(&mut late, "in a subtransaction", "50 seconds").await?;
        late.execute("RELEASE SAVEPOINT inner_one").await?;
        write(&mut writer, "meanwhile", "0").await?;
        until_shown(&stage, "meanwhile").await?;
        late.execute("COMMIT").await?;
        until_shown(&stage, "in a subtransaction").await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_row_that_was_changed_in_the_target_is_put_right_within_the_lookback() {
    on_stage(|stage| async move {
        in_step(&stage, 223).await?;
        let fleet = stage.fleet(&["up"])?;
        let touched = "UPDATE conversations SET updated_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = 7";
        stage.source.execute(touched).await?;
        write(&mut *stage.source.acquire().await?, "touched", "0").await?;
        until_shown(&stage, "touched").await?;
        until_planned_again(&stage).await?;
        stage
            .target
            .execute("UPDATE conversations_analytics SET source_digest = source_digest + 1 WHERE conversation_id = 7; \
                      DELETE FROM etl_agreement")
            .await?;
        let digest: i64 = sqlx::query_scalar("SELECT source_digest - 1 FROM conversations_analytics WHERE conversation_id = 7")
            .fetch_one(&stage.target)
            .await?;
        let right = format!("SELECT source_digest = {digest} FROM conversations_analytics WHERE conversation_id = 7");
        stage.until(&right).await?;
        fleet.stop().await
    })
    .await;
}

#[tokio::test]
async fn an_interval_says_what_it_costs() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 224).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let set = ["tenant", "set", "--tenant", "1", "--sync-interval", "1s"];
        let compared = stage.tidemark(&set).await?;
        ensure!(
            compared.code == 0
                && compared.stderr.contains("86,400 plans a day")
                && compared.stderr.contains("60 conversations"),
            "{compared:?}"
        );
        ensure!(
            compared.stderr.contains("of a core of its source"),
            "{compared:?}"
        );
        let hourly = stage
            .tidemark_with(&set, &[("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")])
            .await?;
        ensure!(
            hourly.code == 0 && hourly.stderr.contains("suggested indexes"),
            "{hourly:?}"
        );
        Ok(())
    })
    .await;
}
