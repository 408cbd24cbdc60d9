//! What operators do to tenants, inboxes and watermarks.

use anyhow::ensure;

use super::{count, done, refused, run_id};
use crate::http::until_refused;
use crate::stage::on_stage;

#[tokio::test]
async fn a_paused_tenant_does_nothing_more_and_goes_on_where_it_stood() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 75).await?;
        let producer = stage.start(&["producer"])?;
        let run = run_id(&done(&stage, &["sync", "--tenant", "1", "--chunk-size", "10"]).await?);
        stage
            .until("SELECT count(*) = 8 FROM etl_chunk WHERE published_at IS NOT NULL")
            .await?;
        refused(&stage, &["tenant", "pause", "--tenant", "1"], "--reason").await?;
        let paused = done(
            &stage,
            &[
                "tenant",
                "pause",
                "--tenant",
                "1",
                "--reason",
                "it costs too much",
            ],
        )
        .await?;
        ensure!(paused["pause_reason"] == "it costs too much", "{paused:#}");
        ensure!(count(&stage, "SELECT count(*) FROM etl_chunk WHERE status <> 'pending'").await? == 0);
        // the messages that are in the queue are refused, and no others are sent
        let worker = stage.start(&["worker", "--concurrency", "2"])?;
        until_refused(&stage, 8).await?;
        worker.stop().await?;
        stage.until_waiting("chunks.bulk", 0).await?;
        ensure!(count(&stage, "SELECT count(*) FROM etl_chunk WHERE attempt > 0").await? == 0);
        let answer = stage.tidemark(&["sync", "--tenant", "1"]).await?;
        ensure!(
            answer.code == 78 && answer.stderr.contains("it costs too much"),
            "{answer:?}"
        );

        let resumed = done(&stage, &["tenant", "resume", "--tenant", "1"]).await?;
        ensure!(resumed["paused_at"].is_null(), "{resumed:#}");
        producer.stop().await?;
        let up = stage.start(&["up"])?;
        let ended = done(&stage, &["run", "watch", &run]).await?;
        ensure!(ended["records"]["inserted"] == 200, "{ended:#}");
        stage.assert_equal(&[1]).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_removed_tenant_is_out_of_everything_and_its_rows_stay() {
    on_stage(|stage| async move {
        stage.sample(120, 2, 76).await?;
        stage.sync_local(&["--all"]).await?;
        let rows = count(
            &stage,
            "SELECT count(*) FROM conversations_analytics WHERE tenant_id = 1",
        )
        .await?;
        done(&stage, &["sync", "--tenant", "1"]).await?;
        refused(
            &stage,
            &["tenant", "remove", "--tenant", "1"],
            "tenant remove --tenant 1 --yes",
        )
        .await?;
        let removed = done(&stage, &["tenant", "remove", "--tenant", "1", "--yes"]).await?;
        ensure!(
            removed["cancelled_runs"].as_array().unwrap().len() == 1,
            "{removed:#}"
        );
        ensure!(
            count(
                &stage,
                "SELECT count(*) FROM etl_control WHERE finished_at IS NULL"
            )
            .await?
                == 0
        );
        ensure!(
            count(
                &stage,
                "SELECT count(*) FROM conversations_analytics WHERE tenant_id = 1"
            )
            .await?
                == rows
                && rows > 0
        );
        let tenants = done(&stage, &["tenant", "list"]).await?;
        ensure!(tenants.as_array().unwrap().len() == 1, "{tenants:#}");
        refused(&stage, &["sync", "--tenant", "1"], "there is no tenant 1").await?;
        refused(
            &stage,
            &["tenant", "remove", "--tenant", "1", "--yes"],
            "there is no tenant 1",
        )
        .await?;
        refused(
            &stage,
            &["tenant", "add", "--id", "1", "--name", "Again"],
            "choose another",
        )
        .await?;
        let run = count(&stage, "SELECT max(id) FROM etl_control")
            .await?
            .to_string();
        refused(&stage, &["run", "retry", &run], "there is no run").await?;

        // another tenant can take its inboxes
        let inbox: i32 =
            sqlx::query_scalar("SELECT min(inbox_id) FROM inbox_tenant_mapping WHERE tenant_id = 1")
                .fetch_one(&stage.target)
                .await?;
        let mapped = stage
            .tidemark(&["inbox", "map", "--tenant", "2", "--inbox", &inbox.to_string()])
            .await?;
        ensure!(
            mapped.code == 0 && mapped.stderr.contains("1 of 1 inboxes"),
            "{mapped:?}"
        );
        stage.sync_local(&["--tenant", "2"]).await?;
        stage.assert_equal(&[2]).await
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_changed_in_what_is_named_alone() {
    on_stage(|stage| async move {
        stage.sample(50, 2, 77).await?;
        let before = done(&stage, &["tenant", "show", "--tenant", "1"]).await?;
        let after = done(
            &stage,
            &[
                "tenant",
                "set",
                "--tenant",
                "1",
                "--sync-interval",
                "30s",
                "--max-in-flight",
                "3",
                "--source",
                "second",
            ],
        )
        .await?;
        ensure!(
            after["sync_interval"] == "30s" && after["max_in_flight"] == 3 && after["source"] == "second",
            "{after:#}"
        );
        for same in ["name", "slug", "timezone", "chunk_size", "account_id"] {
            ensure!(before[same] == after[same], "{same}: {before:#} {after:#}");
        }
        // the shorter interval counts from now
        ensure!(
            count(
                &stage,
                "SELECT count(*) FROM etl_watermark WHERE next_due_at < now() + interval '31 seconds'"
            )
            .await?
                == 1
        );
        done(&stage, &["tenant", "set", "--tenant", "1", "--source", "main"]).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        for (args, word) in [
            (["--source", "second"].as_slice(), "synced from source `main`"),
            (&["--timezone", "Mars/Base"], "IANA"),
            (&["--slug", "tenant-2"], "slug `tenant-2` is taken"),
            (&["--name", " "], "needs a name"),
            (&["--sync-interval", "0s"], "from 1s to"),
            (&[], "--chunk-size"),
        ] {
            refused(
                &stage,
                &[&["tenant", "set", "--tenant", "1"], args].concat(),
                word,
            )
            .await?;
        }
        refused(
            &stage,
            &["tenant", "set", "--tenant", "9", "--name", "Nobody"],
            "there is no tenant 9",
        )
        .await
    })
    .await;
}

#[tokio::test]
async fn an_unmapped_inbox_takes_its_rows_with_it() {
    on_stage(|stage| async move {
        stage.sample(120, 2, 78).await?;
        let inbox: i32 =
            sqlx::query_scalar("SELECT min(inbox_id) FROM inbox_tenant_mapping WHERE tenant_id = 2")
                .fetch_one(&stage.target)
                .await?;
        let text = inbox.to_string();
        let mapped = stage
            .tidemark(&[
                "inbox",
                "map",
                "--tenant",
                "1",
                "--inbox",
                &text,
                "--from-tenant",
                "2",
            ])
            .await?;
        ensure!(mapped.code == 0, "{mapped:?}");
        stage.sync_local(&["--tenant", "1"]).await?;
        let unmap = ["inbox", "unmap", "--tenant", "1", "--inbox", &text];
        let unmapped = done(&stage, &unmap).await?;
        ensure!(unmapped["unmapped"] == serde_json::json!([inbox]), "{unmapped:#}");
        let again = done(&stage, &unmap).await?;
        ensure!(again["unmapped"] == serde_json::json!([]), "{again:#}");
        stage.sync_local(&["--tenant", "1"]).await?;
        let (left, gone): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE source_deleted_at IS NULL), count(source_deleted_at) \
             FROM conversations_analytics WHERE inbox_id = $1",
        )
        .bind(inbox)
        .fetch_one(&stage.target)
        .await?;
        ensure!(
            left == 0 && gone > 0,
            "{left} rows of the inbox are left, {gone} are gone"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_watermark_is_set_by_hand_with_a_reason_and_never_into_the_future() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 79).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let set = [
            "watermark",
            "set",
            "--tenant",
            "1",
            "--reason",
            "a lost week",
            "--to",
        ];
        refused(
            &stage,
            &[&set[..], &["2099-01-01T00:00:00Z"]].concat(),
            "in the future",
        )
        .await?;
        refused(
            &stage,
            &[
                "watermark",
                "set",
                "--tenant",
                "1",
                "--to",
                "2026-01-01T00:00:00Z",
            ],
            "--reason",
        )
        .await?;
        refused(&stage, &[&set[..], &["yesterday"]].concat(), "write it as").await?;

        let back = [&set[..], &["2026-01-01T00:00:00Z"]].concat();
        let shown = done(&stage, &back).await?;
        ensure!(shown["watermark"] == "2026-01-01T00:00:00Z", "{shown:#}");
        ensure!(shown["moves"][0]["reason"] == "a lost week", "{shown:#}");
        ensure!(
            shown["moves"][0]["actor"].as_str().unwrap().starts_with("cli:"),
            "{shown:#}"
        );
        let open = run_id(&done(&stage, &["sync", "--tenant", "1"]).await?);
        refused(&stage, &back, &format!("run {open} open")).await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(run["watermark_start"] == "2026-01-01T00:00:00Z", "{run:#}");
        let all = done(&stage, &["watermark", "show"]).await?;
        ensure!(
            all[0]["watermark"] == run["watermark_end"] && all[0]["moves"].is_null(),
            "{all:#}"
        );
        stage.assert_equal(&[1]).await
    })
    .await;
}
