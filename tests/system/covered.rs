//! Plans pass over rows that their tenant's runs have covered. A row that is not covered is found, whatever changed meanwhile.

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor, PgConnection};

use crate::lookback::write;
use crate::stage::{Fleet, Stage, on_stage};

/// A stage in step whose tenant is planned every second, by what signals name alone. Its lookback is longer than a test waits.
async fn in_step(stage: &Stage, seed: u64) -> Result<Fleet<'_>> {
    stage.sample(60, 1, seed).await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    stage
        .target
        .execute(
            "UPDATE tenants SET sync_interval = interval '1 second', lookback = interval '10 minutes'; UPDATE etl_watermark SET next_due_at = now()",
        )
        .await?;
    stage.fleet_with(&["up"], &[("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")])
}

async fn until_shown(stage: &Stage, text: &str) -> Result<()> {
    let shown = format!(
        "SELECT EXISTS (SELECT FROM conversations_analytics WHERE conversation_id = 7 AND message_compiled::text LIKE '%{text}%')"
    );
    stage.until(&shown).await
}

/// Waits for plans that began after this moment, and for the end of their runs.
async fn until_planned_again(stage: &Stage) -> Result<()> {
    let from: String = sqlx::query_scalar("SELECT (now() + interval '2 seconds')::text")
        .fetch_one(&stage.target)
        .await?;
    stage
        .until(&format!(
            "SELECT checked_at > '{from}' AND covered_xmin IS NOT NULL AND covered_watermark = watermark FROM etl_watermark"
        ))
        .await
}

#[tokio::test]
async fn what_is_covered_is_not_planned_again_even_by_contacts_in_the_conversations_of_others() {
    on_stage(|stage| async move {
        let fleet = in_step(&stage, 231).await?;
        // a contact who wrote in a conversation of somebody else
        stage
            .source
            .execute(
                "UPDATE messages SET sender_type = 'Contact', sender_id = (SELECT contact_id FROM conversations WHERE id = 9) \
                     WHERE id = (SELECT min(id) FROM messages WHERE conversation_id = 7 AND message_type = 0); \
                 UPDATE messages SET updated_at = clock_timestamp() AT TIME ZONE 'UTC'; \
                 UPDATE conversations SET updated_at = clock_timestamp() AT TIME ZONE 'UTC'; \
                 UPDATE contacts SET updated_at = clock_timestamp() AT TIME ZONE 'UTC'",
            )
            .await?;
        write(&mut *stage.source.acquire().await?, "touched", "0").await?;
        until_shown(&stage, "touched").await?;
        stage.until_nothing_is_planned(1).await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_longer_lookback_finds_what_no_plan_has_searched() {
    on_stage(|stage| async move {
        let fleet = in_step(&stage, 232).await?;
        write(&mut *stage.source.acquire().await?, "an hour late", "1 hour").await?;
        until_planned_again(&stage).await?;
        until_planned_again(&stage).await?;
        stage
            .target
            .execute("UPDATE tenants SET lookback = interval '2 hours'")
            .await?;
        until_shown(&stage, "an hour late").await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_watermark_that_is_set_reads_the_lookback_again() {
    on_stage(|stage| async move {
        let fleet = in_step(&stage, 233).await?;
        write(&mut *stage.source.acquire().await?, "read once", "0").await?;
        until_shown(&stage, "read once").await?;
        until_planned_again(&stage).await?;
        fleet.stop().await?;
        // somebody has removed the row, and has it read again
        stage
            .target
            .execute("DELETE FROM conversations_analytics WHERE conversation_id = 7")
            .await?;
        let to: String = sqlx::query_scalar(
            "SELECT to_char(watermark AT TIME ZONE 'UTC' - interval '30 seconds', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM etl_watermark",
        )
        .fetch_one(&stage.target)
        .await?;
        let set = ["watermark", "set", "--tenant", "1", "--to", &to, "--reason", "read again"];
        let answer = stage.tidemark(&set).await?;
        ensure!(answer.code == 0, "{answer:?}");
        stage.target.execute("UPDATE etl_watermark SET next_due_at = now()").await?;
        let fleet = stage.fleet_with(&["up"], &[("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")])?;
        until_shown(&stage, "read once").await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_run_that_did_not_end_well_covers_nothing() {
    on_stage(|stage| async move {
        let settings = [("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")];
        let fleet = in_step(&stage, 234).await?;
        // the watermark stays where it is, so it does not tell whether a run has ended well
        let mut open = PgConnection::connect(&stage.url("source")).await?;
        open.execute(
            "BEGIN; UPDATE conversations SET priority = 3, updated_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = 8",
        )
        .await?;
        until_planned_again(&stage).await?;
        fleet.stop().await?;
        write(&mut *stage.source.acquire().await?, "cancelled first", "0").await?;
        let mut fleet = stage.fleet_with(&["producer", "finalizer"], &settings)?;
        stage
            .until("SELECT EXISTS (SELECT FROM etl_control WHERE finished_at IS NULL AND status = 'running')")
            .await?;
        let open_run: i64 = sqlx::query_scalar("SELECT id FROM etl_control WHERE finished_at IS NULL")
            .fetch_one(&stage.target)
            .await?;
        let answer = stage
            .tidemark(&["run", "cancel", &open_run.to_string(), "--reason", "try"])
            .await?;
        ensure!(answer.code == 0, "{answer:?}");
        fleet.add("worker")?;
        until_shown(&stage, "cancelled first").await?;
        open.execute("COMMIT").await?;
        stage
            .until("SELECT priority = 3 FROM conversations_analytics WHERE conversation_id = 8")
            .await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_release_that_knows_no_coverage_ends_it_by_moving_the_watermark() {
    on_stage(|stage| async move {
        let fleet = in_step(&stage, 235).await?;
        until_planned_again(&stage).await?;
        fleet.stop().await?;
        // as the release before writes it, beside values that would cover everything
        write(&mut *stage.source.acquire().await?, "not read", "10 seconds").await?;
        stage
            .target
            .execute(
                "UPDATE etl_watermark SET watermark = watermark + interval '1 millisecond', next_due_at = now(), \
                        covered_xmin = 1 << 60, covered_clock = now() + interval '1 day'",
            )
            .await?;
        let fleet = stage.fleet_with(&["up"], &[("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h")])?;
        until_shown(&stage, "not read").await?;
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}
