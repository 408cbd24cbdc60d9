//! Attachments are counted by the index on their message, and also where the source has none.

use anyhow::{Result, ensure};
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

/// Searches of the source's attachments so far: by an index, and of all of them.
async fn searches(stage: &Stage) -> Result<(i64, i64)> {
    Ok(
        sqlx::query_as("SELECT coalesce(idx_scan, 0), seq_scan FROM pg_stat_all_tables WHERE relid = 'attachments'::regclass")
            .fetch_one(&stage.source)
            .await?,
    )
}

/// The counts of a full sync, as the target has them.
async fn counts(stage: &Stage) -> Result<Vec<(i64, i32)>> {
    stage.sync_local(&["--tenant", "1", "--full"]).await?;
    Ok(
        sqlx::query_as("SELECT conversation_id, attachments_count FROM conversations_analytics WHERE attachments_count > 0 ORDER BY 1")
            .fetch_all(&stage.target)
            .await?,
    )
}

#[tokio::test]
async fn a_chunk_searches_the_index_of_the_attachments_and_counts_them_without_one_too() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 311).await?;
        stage.source.execute("ANALYZE").await?;
        let before = searches(&stage).await?;
        let by_index = counts(&stage).await?;
        ensure!(by_index.len() > 20, "{by_index:?}");
        stage
            .until_source(
                "SELECT idx_scan > 1000 FROM pg_stat_all_tables WHERE relid = 'attachments'::regclass",
            )
            .await?;
        let after = searches(&stage).await?;
        ensure!(
            after.1 == before.1,
            "all attachments were read: {before:?}, {after:?}"
        );
        stage
            .source
            .execute("DROP INDEX index_attachments_on_message_id")
            .await?;
        stage
            .target
            .execute("DELETE FROM conversations_analytics")
            .await?;
        let by_join = counts(&stage).await?;
        ensure!(by_index == by_join, "{by_index:?}\n{by_join:?}");
        stage.assert_equal(&[1]).await
    })
    .await;
}
