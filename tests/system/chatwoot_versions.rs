//! Every version of Chatwoot: what it lacks is empty, and an upgrade under a running fleet loses nothing.

use anyhow::{Context, Result, ensure};
use sqlx::Executor;
use tidemark_sample::{CreateOptions, TrafficOptions, traffic, upgrade};
use tidemark_shared::chatwoot::Version;
use tokio_util::sync::CancellationToken;

use crate::columns::assert_reference;
use crate::stage::{Stage, on_stage};
use crate::view::{VIEW, assert_same_through};

async fn sample(stage: &Stage, chatwoot: Version, tenants: u16) -> Result<Vec<i32>> {
    let options = CreateOptions {
        chatwoot,
        tenants,
        seed: 181,
        ..CreateOptions::tiny()
    };
    stage.sample_with(options).await
}

/// Tables, view and changes of rows of one version against the reference.
async fn check(stage: &Stage, version: Version) -> Result<()> {
    let tenants = sample(stage, version, 2).await?;
    stage.sync_local(&["--all"]).await?;
    assert_reference(stage).await.context("by its tables")?;
    assert_same_through(stage, VIEW).await?;

    let burst = TrafficOptions {
        rate_per_second: 0.0,
        count: Some(60),
        ..TrafficOptions::default()
    };
    traffic(&stage.url("source"), &burst, CancellationToken::new()).await?;
    stage.sync_local(&["--all"]).await?;
    assert_reference(stage).await.context("after changes")?;
    stage.assert_proven(&tenants, &[]).await
}

async fn check_all(versions: &[&str]) {
    for text in versions {
        on_stage(|stage| async move {
            let version = text.parse()?;
            check(&stage, version)
                .await
                .with_context(|| format!("Chatwoot {text}"))
        })
        .await;
    }
}

#[tokio::test]
async fn every_column_of_chatwoot_2_equals_the_reference() {
    check_all(&["2.0.0", "2.5.0", "2.10.0", "2.14.0", "2.17.0"]).await;
}

#[tokio::test]
async fn every_column_of_chatwoot_3_equals_the_reference() {
    check_all(&["3.0.0", "3.3.0", "3.5.0", "3.9.0"]).await;
}

#[tokio::test]
async fn every_column_of_chatwoot_4_equals_the_reference() {
    check_all(&["4.0.0", "4.5.0", "4.10.0", "4.15.1"]).await;
}

/// Waits until a run of each tenant has succeeded that began after this call.
async fn until_synced(stage: &Stage, tenants: &[i32]) -> Result<()> {
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM etl_control")
        .fetch_one(&stage.target)
        .await?;
    stage
        .until(&format!(
            "SELECT count(DISTINCT tenant_id) = {} FROM etl_control WHERE id > {last} AND status = 'success'",
            tenants.len()
        ))
        .await
}

/// Steps of one version and of many, each followed by a run.
async fn upgrade_and_sync(stage: &Stage, tenants: &[i32]) -> Result<()> {
    until_synced(stage, tenants).await?;
    for version in ["2.5.0", "2.17.0", "3.0.0", "3.3.0", "3.5.0", "4.0.0", "4.15.1"] {
        upgrade(&stage.url("source"), version.parse()?)
            .await
            .with_context(|| format!("to {version}"))?;
        until_synced(stage, tenants)
            .await
            .with_context(|| format!("after the upgrade to {version}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn an_upgrade_through_many_versions_under_a_running_fleet_loses_nothing() {
    on_stage(|stage| async move {
        let tenants = sample(&stage, "2.0.0".parse()?, 2).await?;
        stage
            .target
            .execute("UPDATE tenants SET sync_interval = interval '1 second', chunk_size = 50")
            .await?;
        stage
            .target
            .execute("UPDATE etl_watermark SET next_due_at = now()")
            .await?;
        let fleet = stage.fleet(&[
            "producer",
            "worker --concurrency 2",
            "worker --concurrency 2",
            "finalizer",
        ])?;
        let options = TrafficOptions {
            rate_per_second: 30.0,
            ..TrafficOptions::default()
        };
        let (url, stop) = (stage.url("source"), CancellationToken::new());
        let changes = traffic(&url, &options, stop.clone());
        let upgrades = async {
            upgrade_and_sync(&stage, &tenants).await?;
            stop.cancel();
            Ok(())
        };
        let (changes, ()) = tokio::try_join!(changes, upgrades)?;
        ensure!(changes.total() > 0, "nothing changed meanwhile");

        // what was deleted while an inbox waited for its backfill is found by the first plan after it
        stage
            .until("SELECT NOT EXISTS (SELECT FROM inbox_tenant_mapping WHERE backfilled_at IS NULL)")
            .await?;
        let last = stage.tidemark(&["sync", "--all", "--wait", "--json"]).await?;
        ensure!(last.code == 0, "{last:?}");
        assert_reference(&stage).await?;
        stage.assert_proven(&tenants, &[]).await?;
        let failed: Vec<String> = sqlx::query_scalar(
            "SELECT concat_ws(' ', id, status, error_message) FROM etl_control \
             WHERE finished_at IS NOT NULL AND status <> 'success'",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(failed.is_empty(), "{failed:#?}");
        fleet.stop().await
    })
    .await;
}

#[tokio::test]
async fn the_commands_make_and_upgrade_a_sample_of_a_version_and_say_which_they_know() {
    on_stage(|stage| async move {
        stage
            .source
            .execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            .await?;
        let create = [
            "sample",
            "create",
            "--conversations",
            "20",
            "--json",
            "--chatwoot",
        ];
        for unknown in ["1.22.0", "99.0", "newest"] {
            let refused = stage.tidemark(&[&create[..], &[unknown]].concat()).await?;
            let says = if unknown == "newest" {
                "write it as 4.8.0"
            } else {
                "from 2.0.0 to 4.15.1"
            };
            ensure!(refused.code == 64 && refused.stderr.contains(says), "{refused:?}");
        }
        let made = stage.tidemark(&[&create[..], &["2.10"]].concat()).await?;
        ensure!(made.code == 0 && made.json()["chatwoot"] == "2.10.0", "{made:?}");

        let upgrade = ["sample", "upgrade", "--json", "--chatwoot"];
        let upgraded = stage.tidemark(&[&upgrade[..], &["3.0"]].concat()).await?;
        ensure!(upgraded.code == 0, "{upgraded:?}");
        let report = upgraded.json();
        let is_right =
            report["from"] == "2.10.0" && report["to"] == "3.0.0" && report["steps"][0] == "2.12.1";
        ensure!(is_right, "{report:#}");
        let back = stage.tidemark(&[&upgrade[..], &["2.10"]].concat()).await?;
        ensure!(
            back.code == 1 && back.stderr.contains("has Chatwoot 3.0.0"),
            "{back:?}"
        );
        let changed = stage
            .tidemark(&["sample", "traffic", "--rate", "0", "--count", "30", "--json"])
            .await?;
        ensure!(changed.code == 0, "{changed:?}");
        Ok(())
    })
    .await;
}
