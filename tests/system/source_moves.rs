//! Trap 23: a tenant whose source changes, by `tenant move` and by hand.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tidemark_sample::{CreateOptions, create};

use crate::servers::Server;
use crate::stage::{Answer, Stage, on_stage};

/// A second source: `second` beside the stage's `main`, on a server of its own with lower transaction ids.
struct Second {
    server: Server,
    inboxes: Vec<i32>,
    config: PathBuf,
}

impl Second {
    /// Its conversations up to the id `without` are deleted.
    async fn of(stage: &Stage, conversations: u64, without: u64) -> Result<Self> {
        // each loop takes a transaction id, so that reads of `main` look later than those of `second`
        stage
            .source
            .execute("DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$")
            .await?;
        let server = Server::postgres().await?;
        let mut url = url::Url::parse(&server.url()?)?;
        url.set_path("/second");
        let options = CreateOptions {
            conversations,
            tenants: 1,
            seed: 4_002,
            ..CreateOptions::tiny()
        };
        let report = create(url.as_str(), &options).await?;
        let config = std::env::temp_dir().join(format!("{}.toml", stage.database("second")));
        std::fs::write(&config, format!("[sources.second]\nurl = \"{url}\"\n"))?;
        let second = Self {
            server,
            inboxes: report.tenants[0].inbox_ids.clone(),
            config,
        };
        // each of the two sources has ids that the other does not have
        for statement in [
            "DELETE FROM messages WHERE conversation_id <= $1",
            "DELETE FROM csat_survey_responses WHERE conversation_id <= $1",
            "DELETE FROM conversations WHERE id <= $1",
        ] {
            let without = i64::try_from(without)?;
            sqlx::query(statement)
                .bind(without)
                .execute(&mut second.connect().await?)
                .await?;
        }
        Ok(second)
    }

    async fn connect(&self) -> Result<PgConnection> {
        let mut url = url::Url::parse(&self.server.url()?)?;
        url.set_path("/second");
        Ok(PgConnection::connect(url.as_str()).await?)
    }

    async fn tidemark(&self, stage: &Stage, args: &[&str]) -> Result<Answer> {
        let config = self.config.to_str().unwrap_or_default();
        let key = [("TIDEMARK_PRIVACY_KEY", "the key of the tests, long enough")];
        stage
            .tidemark_with(&[&["--config", config], args].concat(), &key)
            .await
    }

    async fn done(&self, stage: &Stage, args: &[&str]) -> Result<Value> {
        let answer = self.tidemark(stage, &[args, &["--json"]].concat()).await?;
        ensure!(answer.code == 0, "{args:?}: {answer:?}");
        Ok(answer.json())
    }

    /// Runs a command that must be refused as a usage error with this text.
    async fn refused(&self, stage: &Stage, args: &[&str], word: &str) -> Result<()> {
        let answer = self.tidemark(stage, args).await?;
        ensure!(
            answer.code == 64 && answer.stderr.contains(word) && answer.stdout.is_empty(),
            "{args:?}: {answer:?}"
        );
        Ok(())
    }

    /// Maps the second source's inboxes to tenant 1.
    async fn map(&self, stage: &Stage) -> Result<()> {
        let inboxes: Vec<String> = self.inboxes.iter().map(ToString::to_string).collect();
        let map = ["inbox", "map", "--tenant", "1", "--inbox", &inboxes.join(",")];
        let mapped = self.tidemark(stage, &map).await?;
        ensure!(mapped.code == 0, "{mapped:?}");
        Ok(())
    }

    /// Asserts that the tenant's live rows are those of the second source, and proven so.
    async fn assert_equal(&self, stage: &Stage) -> Result<()> {
        for args in [
            ["verify", "--tenant", "1"].as_slice(),
            &["verify", "--tenant", "1", "--deep"],
        ] {
            let found = self.done(stage, args).await?;
            ensure!(
                found["verdict"] == "equal" && found["pending"] == 0 && found["unproven"] == 0,
                "{found:#}"
            );
        }
        let there: Vec<i64> =
            sqlx::query_scalar("SELECT id::bigint FROM conversations WHERE inbox_id = ANY($1) ORDER BY 1")
                .bind(&self.inboxes)
                .fetch_all(&mut self.connect().await?)
                .await?;
        let here: Vec<i64> = sqlx::query_scalar(
            "SELECT conversation_id FROM conversations_analytics WHERE source_deleted_at IS NULL ORDER BY 1",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(there == here, "{there:?} {here:?}");
        Ok(())
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.config));
    }
}

async fn count(stage: &Stage, query: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&stage.target)
        .await?)
}

/// Plans a full run of tenant 1 from its first source, lets some chunks complete, and cancels the rest. Returns the
/// run.
async fn cancel_half_way(stage: &Stage, second: &Second, chunk_size: &str) -> Result<String> {
    let producer = stage.start(&["producer"])?;
    let run = stage.ask_full(chunk_size).await?;
    stage
        .until("SELECT count(*) >= 4 FROM etl_chunk WHERE published_at IS NOT NULL")
        .await?;
    // the worker that claims the fourth chunk waits for this lock
    let mut lock = stage.target.begin().await?;
    lock.execute("SELECT FROM etl_chunk WHERE seq = 4 FOR UPDATE")
        .await?;
    let worker = stage.start(&["worker", "--concurrency", "1"])?;
    stage
        .until("SELECT count(*) >= 3 FROM etl_chunk WHERE status = 'done'")
        .await?;
    worker.kill().await?;
    lock.rollback().await?;
    producer.kill().await?;
    second.done(stage, &["run", "cancel", &run]).await?;
    ensure!(
        count(stage, "SELECT count(*) FROM etl_chunk WHERE status = 'cancelled'").await? > 0,
        "nothing is left of the run"
    );
    Ok(run)
}

fn move_to<'a>(source: &'a str, reason: &'a str) -> [&'a str; 8] {
    [
        "tenant", "move", "--tenant", "1", "--reason", reason, "--source", source,
    ]
}

/// After the move, the tenant has no live row, watermark, reject or name of its first source.
async fn assert_nothing_is_left(stage: &Stage, second: &Second) -> Result<()> {
    let shown = second.done(stage, &["tenant", "show", "--tenant", "1"]).await?;
    ensure!(
        shown["source"] == "second" && shown["watermark"].is_null() && shown["account_id"].is_null(),
        "{shown:#}"
    );
    for nothing in [
        "SELECT count(*) FROM conversations_analytics WHERE source_deleted_at IS NULL OR source_epoch <> 0",
        "SELECT count(*) FROM conversations_analytics WHERE contact_email IS NOT NULL",
        "SELECT count(*) FROM etl_rejected_row WHERE resolved_at IS NULL",
        "SELECT count(*) FROM etl_name",
        "SELECT count(*) FROM etl_chunk WHERE source_epoch IS NOT NULL",
        "SELECT count(*) FROM etl_watermark WHERE watermark IS NOT NULL OR digests_compared_at IS NOT NULL",
    ] {
        ensure!(count(stage, nothing).await? == 0, "{nothing}");
    }
    let moves = second
        .done(stage, &["watermark", "show", "--tenant", "1"])
        .await?;
    let newest = &moves["moves"][0];
    let reason = newest["reason"].as_str().unwrap_or_default();
    ensure!(
        newest["new"].is_null() && reason.ends_with("new server"),
        "{moves:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_tenant_that_is_moved_has_the_rows_of_its_new_source_and_no_other() {
    on_stage(|stage| async move {
        stage.sample(150, 1, 4_001).await?;
        let second = Second::of(&stage, 110, 20).await?;
        let policy = [
            "tenant",
            "set",
            "--tenant",
            "1",
            "--privacy",
            "contact_email=hash",
        ];
        second.done(&stage, &policy).await?;
        second.done(&stage, &["sync", "--local", "--tenant", "1"]).await?;
        let full = second.done(&stage, &["sync", "--tenant", "1", "--full"]).await?;
        stage
            .target
            .execute(
                "INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, error) \
                 VALUES (1, 5, 1, 1, 'source', 'a test') \
                 ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET resolved_at = NULL",
            )
            .await?;

        let moved = second.done(&stage, &move_to("second", "new server")).await?;
        ensure!(
            moved["tenant_id"] == 1
                && moved["from"] == "main"
                && moved["to"] == "second"
                && moved["cancelled_runs"] == serde_json::json!([full["run_id"]])
                && moved["rows_marked_deleted"] == 150
                && moved["unmapped_inboxes"]
                    .as_array()
                    .is_some_and(|inboxes| !inboxes.is_empty()),
            "{moved:#}"
        );
        assert_nothing_is_left(&stage, &second).await?;

        second.map(&stage).await?;
        let synced = second.done(&stage, &["sync", "--local", "--tenant", "1"]).await?;
        ensure!(
            synced["type"] == "full" && synced["records"]["stale"] == 0 && synced["records"]["deleted"] == 0,
            "{synced:#}"
        );
        second.assert_equal(&stage).await?;
        // rows that only the old source has stay as tombstones, without the columns that the policy leaves out
        ensure!(
            count(
                &stage,
                "SELECT count(*) FROM conversations_analytics WHERE conversation_id <= 20 \
                               AND source_deleted_at IS NOT NULL AND contact_email IS NULL"
            )
            .await?
                == 20
        );

        second
            .connect()
            .await?
            .execute("UPDATE conversations SET priority = 3, updated_at = now() WHERE id = 30")
            .await?;
        second.done(&stage, &["sync", "--local", "--tenant", "1"]).await?;
        second.assert_equal(&stage).await
    })
    .await;
}

#[tokio::test]
async fn a_run_of_the_source_that_a_tenant_had_before_is_not_tried_again() {
    on_stage(|stage| async move {
        stage.sample(150, 1, 4_003).await?;
        let second = Second::of(&stage, 110, 20).await?;
        let run = cancel_half_way(&stage, &second, "10").await?;
        let to_second = move_to("second", "wrong one");
        second.done(&stage, &to_second).await?;
        second
            .refused(&stage, &["run", "retry", &run], "planned from another source")
            .await?;
        second.map(&stage).await?;
        second.done(&stage, &["sync", "--local", "--tenant", "1"]).await?;
        second.assert_equal(&stage).await
    })
    .await;
}

#[tokio::test]
async fn a_tenant_with_forgotten_contacts_or_to_a_wrong_source_is_not_moved() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 4_004).await?;
        let second = Second::of(&stage, 40, 0).await?;
        second.done(&stage, &["sync", "--local", "--tenant", "1"]).await?;
        second
            .done(
                &stage,
                &["tenant", "forget", "--tenant", "1", "--contact", "1", "--yes"],
            )
            .await?;
        let to_second = move_to("second", "new server");
        second.refused(&stage, &to_second, "tidemark tenant add").await?;
        let set = ["tenant", "set", "--tenant", "1", "--source", "second"];
        second.refused(&stage, &set, "tidemark tenant move").await?;
        second
            .refused(&stage, &move_to("main", "none"), "source `main` already")
            .await?;
        let unknown = second.tidemark(&stage, &move_to("third", "none")).await?;
        ensure!(
            unknown.code == 78 && unknown.stderr.contains("third"),
            "{unknown:?}"
        );
        ensure!(count(&stage, "SELECT count(*) FROM tenants WHERE source = 'main'").await? == 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn rows_that_the_source_cannot_have_given_are_named_and_repaired() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 4_005).await?;
        // more rows of the first source than a run may mark deleted at once, in inboxes with the same ids
        let second = Second::of(&stage, 220, 70).await?;
        cancel_half_way(&stage, &second, "40").await?;
        // an older release let this happen
        stage
            .target
            .execute("UPDATE tenants SET source = 'second'; UPDATE inbox_tenant_mapping SET is_active = false")
            .await?;
        second.map(&stage).await?;
        second.done(&stage, &["sync", "--local", "--tenant", "1", "--allow-mass-delete"]).await?;
        let of_first = "SELECT array_agg(conversation_id ORDER BY conversation_id) FROM conversations_analytics \
                        WHERE source_deleted_at IS NULL AND source_xmax > (SELECT highest_xmax FROM etl_source WHERE name = 'second')";
        let of_first: Vec<i64> = sqlx::query_scalar(of_first).fetch_one(&stage.target).await?;
        ensure!(of_first.len() >= 120, "{of_first:?}");

        for args in [
            ["verify", "--tenant", "1", "--json"].as_slice(),
            &["verify", "--tenant", "1", "--json", "--deep"],
        ] {
            let found = second.tidemark(&stage, args).await?;
            let json = found.json();
            let named: Vec<i64> = json["faults"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|fault| fault["kind"] == "impossible")
                .filter_map(|fault| fault["conversation_id"].as_i64())
                .collect();
            ensure!(
                found.code == 1 && named == of_first && json["pending"] == 0,
                "{args:?}: {named:?}, not {of_first:?}: {}",
                found.stderr
            );
        }
        let repaired = second.tidemark(&stage, &["verify", "--tenant", "1", "--repair", "--json"]).await?;
        ensure!(repaired.code == 0, "{repaired:?}");
        second.assert_equal(&stage).await?;
        // later changes arrive, too
        second.connect().await?.execute("UPDATE conversations SET priority = 3, updated_at = now() WHERE id BETWEEN 71 AND 90").await?;
        second.done(&stage, &["sync", "--local", "--tenant", "1"]).await?;
        second.assert_equal(&stage).await
    })
    .await;
}
