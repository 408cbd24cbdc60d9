//! Forms of webhooks, dead messages and sources that were made from an older state: nothing is done, and words say so.

use anyhow::{Context, Result, ensure};
use sqlx::Executor;

use super::client::{Answer, Client, encode, serve};
use crate::stage::{Stage, on_stage};

const STALE: &str = "Somebody changed this in the meantime. Look again, and repeat.";

/// What the form was made from.
fn seen(page: &Answer) -> Result<String> {
    let (_, rest) = page
        .body
        .split_once(r#"name="seen" value=""#)
        .with_context(|| format!("the form says what it was made from: {page:?}"))?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}

async fn audited(stage: &Stage, action: &str) -> Result<i64> {
    let count =
        sqlx::query_scalar("SELECT count(*) FROM etl_action_audit WHERE action = $1 AND result = 'done'")
            .bind(action)
            .fetch_one(&stage.target)
            .await?;
    Ok(count)
}

#[tokio::test]
async fn a_stale_form_of_a_webhook_does_nothing() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let hook = ["webhook", "add", "--url", "https://hooks.example/x", "--event", "run.failed", "--format", "slack"];
        let added = stage.tidemark(&hook).await?;
        ensure!(added.code == 0, "{added:?}");
        let give_up = "INSERT INTO etl_webhook_delivery (webhook_id, event, tenant_id, body, dead_at) VALUES (1, 'run.failed', 1, '{}', now())";
        stage.target.execute(give_up).await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let (page, dialog) = (client.get("/webhooks/1").await?, client.get("/webhooks/1/do/remove").await?);
        // one more is given up after the pages were made
        stage.target.execute(give_up).await?;
        let confirm = encode("https://hooks.example");
        let retry = format!("seen={}", seen(&page)?);
        let remove = format!("seen={}&confirm={confirm}", seen(&dialog)?);
        for (path, form) in [("/webhooks/1/do/retry", &retry), ("/webhooks/1/do/remove", &remove)] {
            let refused = client.post(path, form).await?;
            ensure!(refused.status == 412 && refused.body.contains(STALE), "{path}: {refused:?}");
        }
        ensure!(audited(&stage, "webhook.retry").await? + audited(&stage, "webhook.remove").await? == 0, "nothing is done");
        // pages that were made now act
        let page = client.get("/webhooks/1").await?;
        let retried = client.post("/webhooks/1/do/retry", &format!("seen={}", seen(&page)?)).await?;
        ensure!(retried.status == 303, "{retried:?}");
        let dialog = client.get("/webhooks/1/do/remove").await?;
        let removed = client
            .post("/webhooks/1/do/remove", &format!("seen={}&confirm={confirm}", seen(&dialog)?))
            .await?;
        ensure!(removed.status == 303, "{removed:?}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_stale_form_of_dead_messages_does_nothing() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "up", &[]).await?;
        let client = Client::new(&served.address);
        // then the exchanges are there
        stage.until_consumed("events", 1).await?;
        stage.publish("dead", "live", b"not a job").await?;
        stage.until_waiting("dead", 1).await?;
        let dialog = client.get("/dead/do/purge").await?;
        ensure!(
            dialog.body.contains(">1<"),
            "it says how many are removed: {dialog:?}"
        );
        stage.publish("dead", "live", b"another one").await?;
        stage.until_waiting("dead", 2).await?;
        let stale = seen(&dialog)?;
        for (path, form) in [
            ("/dead/do/purge", format!("seen={stale}&confirm=purge")),
            ("/dead/do/redrive", format!("seen={stale}")),
        ] {
            let refused = client.post(path, &form).await?;
            ensure!(
                refused.status == 412 && refused.body.contains(STALE),
                "{path}: {refused:?}"
            );
        }
        stage.until_waiting("dead", 2).await?;
        let dialog = client.get("/dead/do/purge").await?;
        let purged = client
            .post(
                "/dead/do/purge",
                &format!("seen={}&confirm=purge", seen(&dialog)?),
            )
            .await?;
        ensure!(purged.status == 303, "{purged:?}");
        stage.until_waiting("dead", 0).await?;
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_source_is_accepted_once_by_one_of_two_people() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        // the source was further once
        let further = "UPDATE etl_source SET highest_xmax = highest_xmax + 1000000";
        stage.target.execute(further).await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let dialog = client.get("/sources/main/do/accept").await?;
        let form = format!("seen={}&confirm=main&reason=restored", seen(&dialog)?);
        let first = client.post("/sources/main/do/accept", &form).await?;
        ensure!(first.status == 303, "{first:?}");
        // it goes back once more, which the second person has not seen
        stage.target.execute(further).await?;
        let second = client.post("/sources/main/do/accept", &form).await?;
        ensure!(second.status == 412 && second.body.contains(STALE), "{second:?}");
        ensure!(audited(&stage, "source.accept").await? == 1, "accepted once");
        served.process.stop().await
    })
    .await;
}
