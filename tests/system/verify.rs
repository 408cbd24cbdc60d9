//! Comparisons: every kind of fault is found and named, a repair fixes all of them, and pending changes are no
//! faults.

mod corruption;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};
use tidemark_runtime::config::Settings;
use tidemark_shared::ids::TenantId;
use tidemark_source::Sources;
use tidemark_worker::compare::Verifier;
use tidemark_worker::load::row_digest::Hashing;

use self::corruption::{Corrupter, Faults};
use crate::proxy::Proxy;
use crate::stage::{Answer, Stage, on_stage};
use crate::view::VIEW;

/// The number of conversations, and the number of corruptions among them.
#[expect(clippy::disallowed_methods, reason = "a size for a longer run")]
fn size() -> (u64, usize) {
    let rows = std::env::var("TIDEMARK_TEST_VERIFY_ROWS").ok();
    (rows.and_then(|rows| rows.parse().ok()).unwrap_or(1_500), 200)
}

async fn verify(stage: &Stage, args: &[&str]) -> Result<Answer> {
    stage
        .tidemark(&[&["verify", "--tenant", "1", "--json"], args].concat())
        .await
}

fn faults(answer: &Answer) -> Faults {
    let found = answer.json();
    let faults = found["faults"].as_array().expect("an array");
    let fault = |fault: &Value| {
        (
            fault["conversation_id"].as_i64().expect("an id"),
            fault["kind"].as_str().expect("a name").to_owned(),
        )
    };
    faults.iter().map(fault).collect()
}

#[tokio::test]
async fn random_corruptions_are_found_named_and_repaired() {
    on_stage(|stage| async move {
        let (rows, corruptions) = size();
        stage.sample(rows, 1, 90).await?;
        stage.sync_local(&["--all"]).await?;
        stage.assert_proven(&[1], &[]).await?;

        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut corrupter = Corrupter::new(&stage, seed, rows).await?;
        for _ in 0..corruptions {
            corrupter.corrupt().await?;
        }
        let expected = corrupter.expected;

        for args in [&[][..], &["--deep"]] {
            let found = verify(&stage, args).await?;
            ensure!(found.code == 1, "{found:?}");
            let found_faults = faults(&found);
            let differences: BTreeSet<_> = expected
                .iter()
                .filter(|(id, kind)| found_faults.get(id) != Some(kind))
                .map(|(id, kind)| (*id, kind.as_str(), found_faults.get(id)))
                .collect();
            ensure!(differences.is_empty(), "{args:?}: {differences:?} of {found:#?}");
            ensure!(
                found_faults.len() == expected.len(),
                "{args:?}: more than was done: {found:#?}"
            );
            for kind in ["missing", "extra", "stale", "different"] {
                let count = expected.values().filter(|name| *name == kind).count();
                ensure!(found.json()[kind] == count, "{kind}: {count} of {found:#?}");
            }
        }

        let repaired = verify(&stage, &["--repair"]).await?;
        ensure!(
            repaired.code == 0 && repaired.json()["verdict"] == "equal",
            "{repaired:?}"
        );
        stage.assert_proven(&[1], &[]).await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn proving_a_tenant_equal_moves_less_than_a_hundredth_of_what_a_sync_moves() {
    on_stage(|stage| async move {
        let rows = size().0.max(5_000);
        stage.sample(rows, 1, 94).await?;
        let (source, target) = (stage.url("source"), stage.url("target"));
        let (to_source, to_target) = (Proxy::before(&source).await?, Proxy::before(&target).await?);
        let urls = (to_source.url(&source)?, to_target.url(&target)?);
        let settings = [
            ("TIDEMARK_SOURCE_URL", urls.0.as_str()),
            ("TIDEMARK_DATABASE_URL", urls.1.as_str()),
        ];
        let carried = || (to_source.carried(), to_target.carried());
        let synced = stage
            .tidemark_with(&["sync", "--all", "--local"], &settings)
            .await?;
        ensure!(synced.code == 0, "{synced:?}");
        let sync = carried();
        stage.assert_proven(&[1], &settings).await?;
        let both = carried();
        let verify = (both.0 - sync.0, both.1 - sync.1);
        eprintln!(
            "{rows} conversations: a sync moved {sync:?} bytes at source and target, a comparison {verify:?}"
        );
        ensure!(
            100 * (verify.0 + verify.1) < sync.0 + sync.1,
            "{verify:?} of {sync:?}"
        );
        Ok(())
    })
    .await;
}

fn verifier(stage: &Stage, rows_per_range: i32, at_once: u16) -> Result<Verifier> {
    let source = stage.url("source");
    let settings = Settings::load_with(None, |name| {
        (name == "TIDEMARK_SOURCE_URL").then(|| source.clone())
    })?;
    Ok(Verifier {
        db: stage.db(),
        sources: Arc::new(Sources::new(&settings, "test")?),
        privacy_key: None,
        deep: false,
        rows_per_range,
        at_once,
    })
}

#[tokio::test]
async fn ranges_that_are_compared_side_by_side_find_what_one_range_finds() {
    on_stage(|stage| async move {
        stage.sample(600, 1, 95).await?;
        stage.sync_local(&["--all"]).await?;
        stage
            .target
            .execute(
                "UPDATE conversations_analytics SET team_name = 'nobody' WHERE conversation_id % 50 = 0; \
                 DELETE FROM conversations_analytics WHERE conversation_id % 50 = 1",
            )
            .await?;
        let whole = verifier(&stage, 20_000, 1)?.verify(TenantId(1)).await?;
        ensure!(whole.faults.len() > 10, "{whole:?}");
        let parts = verifier(&stage, 50, 3)?;

        // each comparison waits for the target with a snapshot of the source open
        let mut lock = stage.target.begin().await?;
        lock.execute("LOCK TABLE conversations_analytics IN ACCESS EXCLUSIVE MODE")
            .await?;
        let release = async {
            stage
                .until_source(
                    "SELECT count(*) = 3 FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name = 'tidemark verify tenant 1'",
                )
                .await?;
            lock.rollback().await?;
            Ok(())
        };
        let (parts, ()) = tokio::try_join!(
            async { Ok::<_, anyhow::Error>(parts.verify(TenantId(1)).await?) },
            release
        )?;
        ensure!(parts == whole, "by parts {parts:#?}, as a whole {whole:#?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_a_sync_would_take_is_no_fault_and_what_it_would_miss_is_one() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 91).await?;
        stage.sync_local(&["--all"]).await?;
        let clock = "(clock_timestamp() AT TIME ZONE 'UTC')";
        for changed in [
            "UPDATE conversations SET status = 3 - status, updated_at = {clock} WHERE id = 7",
            "UPDATE conversations SET status = 3 - status, updated_at = '2020-01-01' WHERE id = 8",
            "UPDATE conversations SET status = 3 - status, updated_at = '2999-01-01' WHERE id = 9",
        ] {
            stage
                .source
                .execute(AssertSqlSafe(changed.replace("{clock}", clock)))
                .await?;
        }
        let found = verify(&stage, &[]).await?;
        ensure!(found.code == 1 && found.json()["pending"] == 1, "{found:?}");
        let stale = |id| (id, "stale".to_owned());
        ensure!(faults(&found) == Faults::from([stale(8), stale(9)]), "{found:?}");
        stage.sync_local(&["--all"]).await?;
        stage.assert_proven(&[1], &[]).await?;

        // rows of a release without digests are compared column by column until they are rewritten
        stage
            .target
            .execute("UPDATE conversations_analytics SET row_digest = NULL, related_digest = NULL")
            .await?;
        stage
            .target
            .execute("UPDATE conversations_analytics SET csat_rating = 9 WHERE conversation_id = 11")
            .await?;
        let found = verify(&stage, &[]).await?;
        ensure!(found.code == 1 && found.json()["different"] == 1, "{found:?}");
        ensure!(found.json()["unproven"] == 299, "{found:?}");
        let repaired = verify(&stage, &["--repair"]).await?;
        ensure!(repaired.code == 0, "{repaired:?}");
        stage.assert_proven(&[1], &[]).await
    })
    .await;
}

/// Trap 28: before version 14 rows were hashed as texts, and a dump brings those digests to a newer server.
#[tokio::test]
async fn digests_of_an_older_server_are_accepted_and_a_row_changed_by_hand_is_found_all_the_same() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 95).await?;
        stage.sync_local(&["--all"]).await?;
        let mut target = stage.target.acquire().await?;
        for setting in ["SET TimeZone = 'UTC'", "SET DateStyle = 'ISO, MDY'"] {
            target.execute(setting).await?;
        }
        let as_before_14 = format!(
            "UPDATE conversations_analytics t SET row_digest = {}",
            Hashing::Texts.digest_of_stored_row("t")
        );
        let written = target.execute(AssertSqlSafe(as_before_14)).await?.rows_affected();
        ensure!(written == 120, "{written} rows");
        drop(target);
        stage.assert_proven(&[1], &[]).await?;

        stage
            .target
            .execute("UPDATE conversations_analytics SET csat_rating = 9 WHERE conversation_id = 11")
            .await?;
        let found = verify(&stage, &[]).await?;
        ensure!(
            faults(&found) == Faults::from([(11, "different".to_owned())]),
            "{found:?}"
        );
        // a row whose version was raised by hand is repaired, too
        stage
            .target
            .execute("UPDATE conversations_analytics SET source_epoch = 9 WHERE conversation_id = 12")
            .await?;
        let repaired = verify(&stage, &["--repair"]).await?;
        ensure!(repaired.code == 0, "{repaired:?}");
        stage.assert_proven(&[1], &[]).await
    })
    .await;
}

#[tokio::test]
async fn through_a_view_messages_names_and_rows_are_compared_too() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 92).await?;
        let settings = [("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
        let sync = ["sync", "--local", "--all"];
        let synced = stage.tidemark_with(&sync, &settings).await?;
        ensure!(synced.code == 0, "{synced:?}");
        stage.assert_proven(&[1], &settings).await?;
        stage
            .source
            .execute(
                "UPDATE messages SET content = 'edited' WHERE id = (SELECT max(id) FROM messages WHERE conversation_id = 5)",
            )
            .await?;
        stage
            .target
            .execute("UPDATE conversations_analytics SET avg_message_length = 1 WHERE conversation_id = 6")
            .await?;
        stage
            .target
            .execute("DELETE FROM conversations_analytics WHERE conversation_id = 7")
            .await?;
        let verify = ["verify", "--tenant", "1", "--json"];
        let found = stage.tidemark_with(&verify, &settings).await?;
        let expected = [(5, "stale"), (6, "different"), (7, "missing")];
        let expected: Faults = expected.map(|(id, kind)| (id, kind.to_owned())).into();
        ensure!(found.code == 1 && faults(&found) == expected, "{found:?}");
        let repair = [&verify[..], &["--repair"]].concat();
        let repaired = stage.tidemark_with(&repair, &settings).await?;
        ensure!(repaired.code == 0, "{repaired:?}");
        stage.assert_proven(&[1], &settings).await
    })
    .await;
}

async fn set_interval(stage: &Stage, option: &str, interval: &str) -> Result<()> {
    let set = ["tenant", "set", "--tenant", "1", option, interval];
    let answer = stage.tidemark(&set).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn the_fleet_compares_on_schedule_without_false_alarm() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 93).await?;
        let up = stage.start(&["up"])?;
        let synced = stage.tidemark(&["sync", "--all", "--wait"]).await?;
        ensure!(synced.code == 0, "{synced:?}");
        // no timestamp shows this change: the comparison finds it before the next sync, and waits for that sync
        stage
            .source
            .execute("UPDATE conversations SET priority = 3 - coalesce(priority, 0) WHERE id = 5")
            .await?;
        set_interval(&stage, "--verify-interval", "1h").await?;
        stage
            .until("SELECT count(*) = 1 FROM etl_verification_part WHERE NOT is_settled AND stale = 1")
            .await?;
        set_interval(&stage, "--sync-interval", "1s").await?;
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE type = 'verify' AND status = 'success'")
            .await?;
        stage
            .until("SELECT missing + extra + stale + different + pending = 0 AND source_rows > 300 FROM etl_verification")
            .await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn the_fleet_compares_on_request_and_repairs_without_moving_the_watermark() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 94).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        set_interval(&stage, "--sync-interval", "1h").await?;
        let up = stage.start(&["up"])?;
        stage
            .target
            .execute("UPDATE conversations_analytics SET team_name = 'nobody' WHERE conversation_id = 6")
            .await?;
        let found = verify(&stage, &["--wait"]).await?;
        ensure!(
            found.code == 1 && faults(&found) == Faults::from([(6, "different".to_owned())]),
            "{found:?}"
        );
        ensure!(
            found.json()["faults"][0]["columns"][0] == "team_name",
            "{found:?}"
        );
        let runs = stage
            .tidemark(&["run", "list", "--tenant", "1", "--limit", "1"])
            .await?;
        ensure!(runs.stdout.contains("success, 1 at fault"), "{runs:?}");
        let status = stage.tidemark(&["status", "--json"]).await?;
        let last = &status.json()["tenants"][0]["last_verification"];
        ensure!(
            last["verdict"] == "different" && last["different"] == 1,
            "{status:?}"
        );

        let repaired = verify(&stage, &["--wait", "--repair", "--deep"]).await?;
        ensure!(
            repaired.code == 0 && repaired.json()["verdict"] == "equal",
            "{repaired:?}"
        );
        // the schedule may still have moved it
        let moves: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM etl_watermark_audit a JOIN etl_control r ON r.id = a.run_id \
             WHERE r.type IN ('verify', 'repair')",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(moves == 0, "comparing moved the watermark");
        up.stop().await
    })
    .await;
}
