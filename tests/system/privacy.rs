//! Personal data: columns that a policy hashes or leaves out.

mod forgotten;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

use crate::stage::{Answer, Stage, on_stage};
use crate::view::VIEW;

const KEY: (&str, &str) = ("TIDEMARK_PRIVACY_KEY", "0123456789abcdef0123456789abcdef");
const POLICY: &str = "contact_name=hash,contact_email=hash,client_phone=hash,contact_phone=null,\
                      contact_identifier=null,message_text=null,csat_feedback=hash";

async fn sync_with(stage: &Stage, args: &[&str], settings: &[(&str, &str)]) -> Result<Value> {
    let answer = stage
        .tidemark_with(
            &[&["sync", "--local", "--tenant", "1", "--json"], args].concat(),
            settings,
        )
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json())
}

async fn hashes(stage: &Stage) -> Result<Vec<(i64, Vec<u8>)>> {
    Ok(sqlx::query_as(
        "SELECT conversation_id, row_hash FROM conversations_analytics \
         WHERE tenant_id = 1 AND source_deleted_at IS NULL ORDER BY 1",
    )
    .fetch_all(&stage.target)
    .await?)
}

async fn count(stage: &Stage, condition: &str) -> Result<i64> {
    let query = format!("SELECT count(*) FROM conversations_analytics WHERE {condition}");
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&stage.target)
        .await?)
}

async fn set_policy(stage: &Stage) -> Result<Answer> {
    let set = ["tenant", "set", "--tenant", "1", "--privacy", POLICY, "--json"];
    let answer = stage.tidemark(&set).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer)
}

/// Each is true of a row that keeps a value which the policy hashes or leaves out.
const AGAINST_THE_POLICY: [&str; 8] = [
    "contact_name !~ '^[0-9a-f]{32}$'",
    "contact_email !~ '^[0-9a-f]{32}$'",
    "client_phone !~ '^([0-9a-f]{32})?$'",
    "csat_feedback !~ '^([0-9a-f]{32})?$'",
    "contact_phone IS NOT NULL",
    "contact_identifier IS NOT NULL",
    "coalesce(first_message_text, last_message_text) IS NOT NULL",
    "jsonb_path_exists(message_compiled, '$[*].text ? (@ != null)')",
];

async fn assert_policy_holds(stage: &Stage) -> Result<()> {
    for kept in AGAINST_THE_POLICY {
        let rows = count(
            stage,
            &format!("tenant_id = 1 AND source_deleted_at IS NULL AND {kept}"),
        )
        .await?;
        ensure!(rows == 0, "{rows} rows have {kept}");
    }
    // the same contact has the same hash in every row
    let (contacts, hashes): (i64, i64) = sqlx::query_as(
        "SELECT count(DISTINCT contact_id), count(DISTINCT (contact_id, contact_email)) FROM conversations_analytics \
         WHERE tenant_id = 1 AND source_deleted_at IS NULL AND contact_email IS NOT NULL",
    )
    .fetch_one(&stage.target)
    .await?;
    ensure!(
        contacts > 10 && contacts == hashes,
        "{contacts} contacts, {hashes} hashes"
    );
    Ok(())
}

/// Counts and lengths of tenant 1, and a digest of all rows of tenant 2: a policy of tenant 1 changes neither.
async fn not_private(stage: &Stage) -> Result<(Vec<(i64, i32, i32)>, String)> {
    let counts = sqlx::query_as(
        "SELECT conversation_id, t_messages, max_message_length FROM conversations_analytics \
         WHERE tenant_id = 1 AND source_deleted_at IS NULL AND max_message_length IS NOT NULL ORDER BY 1",
    )
    .fetch_all(&stage.target)
    .await?;
    let others = sqlx::query_scalar(
        "SELECT md5(string_agg(a::text, ',' ORDER BY conversation_id)) FROM conversations_analytics a WHERE tenant_id = 2",
    )
    .fetch_one(&stage.target)
    .await?;
    Ok((counts, others))
}

#[tokio::test]
async fn a_policy_rewrites_the_rows_that_are_there_and_is_the_same_in_both_modes() {
    on_stage(|stage| async move {
        stage.sample(200, 2, 61).await?;
        stage.sync_local(&["--all"]).await?;
        let before = not_private(&stage).await?;
        let set = set_policy(&stage).await?;
        ensure!(set.json()["privacy"]["contact_phone"] == "null", "{set:?}");

        // no row of the source has changed: the backfill that the policy requested rewrites them all
        sync_with(&stage, &[], &[KEY]).await?;
        stage.until("SELECT bool_and(status = 'success') FROM etl_control WHERE request #>> '{selection,kind}' = 'policy'").await?;
        assert_policy_holds(&stage).await?;
        ensure!(not_private(&stage).await? == before, "the policy changed more than its columns");
        let verified = stage.tidemark_with(&["verify", "--tenant", "1"], &[KEY]).await?;
        ensure!(verified.code == 0, "{verified:?}");

        // another full sync with the same key writes nothing, and a view gives the same hashes
        let again = sync_with(&stage, &["--full"], &[KEY]).await?;
        ensure!(again["records"]["updated"] == 0 && again["records"]["inserted"] == 0, "{again:#}");
        let from_tables = hashes(&stage).await?;
        let view = [KEY, ("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
        sync_with(&stage, &["--full"], &view).await?;
        ensure!(hashes(&stage).await? == from_tables, "a view gives other rows");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_policy_without_its_key_is_announced_and_writes_no_row() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 62).await?;
        stage.sync_local(&["--all"]).await?;
        let set = set_policy(&stage).await?;
        ensure!(set.stderr.contains("TIDEMARK_PRIVACY_KEY"), "{set:?}");
        let before = hashes(&stage).await?;
        let refused = stage
            .tidemark(&["sync", "--local", "--tenant", "1", "--full", "--json"])
            .await?;
        ensure!(
            refused.code == 1 && refused.stdout.contains("TIDEMARK_PRIVACY_KEY"),
            "{refused:?}"
        );
        ensure!(hashes(&stage).await? == before, "rows were written without a key");
        let verified = stage.tidemark(&["verify", "--tenant", "1"]).await?;
        ensure!(verified.code == 78, "{verified:?}");
        // once the key is there and the failed run's pause has passed, the backfill is repeated
        stage
            .target
            .execute("UPDATE etl_control SET finished_at = now() - interval '1 hour' WHERE status = 'failed'")
            .await?;
        sync_with(&stage, &[], &[KEY]).await?;
        for kept in AGAINST_THE_POLICY {
            ensure!(count(&stage, kept).await? == 0, "rows have {kept}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_policy_cleans_tombstones_at_once_and_takes_no_unknown_column() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 63).await?;
        stage.sync_local(&["--all"]).await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id = (SELECT min(id) FROM conversations)")
            .await?;
        stage.sync_local(&["--all"]).await?;
        let tombstone = "source_deleted_at IS NOT NULL AND message_compiled IS NOT NULL";
        ensure!(count(&stage, tombstone).await? == 1, "there is no tombstone");
        set_policy(&stage).await?;
        let kept = "source_deleted_at IS NOT NULL AND (contact_name IS NOT NULL OR first_message_text IS NOT NULL \
                    OR message_compiled::text LIKE '%\"text\": \"%')";
        ensure!(
            count(&stage, kept).await? == 0,
            "the tombstone keeps what the policy does not"
        );
        let unknown = "UPDATE tenants SET privacy = '{\"status\": \"null\"}'";
        ensure!(
            stage.target.execute(unknown).await.is_err(),
            "an unknown column was taken"
        );
        Ok(())
    })
    .await;
}

/// Trap 23.
#[tokio::test]
async fn a_policy_set_in_the_middle_of_a_first_sync_reaches_the_chunks_that_are_done() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 73).await?;
        let refuse = "ALTER TABLE conversations_analytics ADD CONSTRAINT half CHECK (conversation_id < 201) NOT VALID";
        stage.target.execute(refuse).await?;
        let first = stage
            .tidemark(&["sync", "--local", "--tenant", "1", "--chunk-size", "200", "--json"])
            .await?;
        // the target refuses the second half of the conversations
        ensure!(first.code == 1, "{first:?}");
        let run = first.json()["run_id"].to_string();
        let done = count(&stage, "contact_name IS NOT NULL").await?;
        ensure!(done > 0 && done < 300, "{done} rows of the first sync are done");
        stage
            .target
            .execute("ALTER TABLE conversations_analytics DROP CONSTRAINT half")
            .await?;
        let kept = "contact_name IS NOT NULL OR first_message_text IS NOT NULL \
                    OR jsonb_path_exists(message_compiled, '$[*].text ? (@ != null)')";
        let policy = "contact_name=null,message_text=null";
        let set = stage
            .tidemark(&["tenant", "set", "--tenant", "1", "--privacy", policy])
            .await?;
        ensure!(set.code == 0, "{set:?}");

        // the retried run brings the rest; the policy's backfill is cancelled
        let asked: Option<i64> = sqlx::query_scalar(
            "SELECT max(id) FROM etl_control WHERE request #>> '{selection,kind}' = 'policy'",
        )
        .fetch_one(&stage.target)
        .await?;
        let asked = asked.context("no backfill was asked for")?.to_string();
        let cancelled = stage.tidemark(&["run", "cancel", &asked]).await?;
        ensure!(cancelled.code == 0, "{cancelled:?}");
        let retried = stage.tidemark(&["run", "retry", &run]).await?;
        ensure!(retried.code == 0, "{retried:?}");
        let up = stage.start(&["up"])?;
        let ended = stage.tidemark(&["run", "watch", &run, "--json"]).await?;
        ensure!(ended.code == 0, "{ended:?}");
        ensure!(count(&stage, kept).await? > 0, "the retried run rewrites done chunks: the test shows nothing");
        stage
            .target
            .execute("UPDATE etl_control SET finished_at = now() - interval '1 hour' WHERE status = 'cancelled'")
            .await?;
        stage
            .until("SELECT w.policy_version = t.policy_version FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id")
            .await?;
        ensure!(count(&stage, kept).await? == 0, "rows from before the policy are left");
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'success') = 1 AND count(*) = 2 FROM etl_control \
                    WHERE request #>> '{selection,kind}' = 'policy'")
            .await?;
        up.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}
