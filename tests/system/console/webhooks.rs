//! Webhooks in the console and its API: the secret is shown once, dead messages are sent again, and scopes hold.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::client::{Answer, Client, add_token, encode, serve};
use crate::stage::on_stage;
use crate::webhooks::{Receiver, SETTINGS};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The secret on the page after a webhook was added.
fn secret(page: &Answer) -> Result<String> {
    let (_, rest) = page.body.split_once("<code>whsec_").context("a secret")?;
    let (secret, _) = rest.split_once('<').context("its end")?;
    Ok(format!("whsec_{secret}"))
}

#[tokio::test]
async fn a_webhook_is_added_tried_and_its_dead_messages_are_sent_again() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let receiver = Receiver::start().await?;
        let settings = [&SETTINGS[..], &[("TIDEMARK_CONSOLE_AUTH", "off")]].concat();
        let served = serve(&stage, "console", &settings).await?;
        let finalizer = stage.start_with(&["finalizer"], &SETTINGS)?;
        let client = Client::new(&served.address);
        let url = encode(&receiver.url);
        for wrong in [
            format!("url={url}&format=json"),
            "url=http%3A%2F%2F169.254.169.254%2F&event=run.failed".to_owned(),
            format!("url={url}&event=run.failed&tenant=x"),
        ] {
            let refused = client.post("/webhooks/do/add", &wrong).await?;
            ensure!(refused.status == 422, "{wrong}: {refused:?}");
        }
        let form = format!("url={url}&event=run.cancelled&event=tenant.late&format=json&tenant=1");
        let added = client.post("/webhooks/do/add", &form).await?;
        ensure!(added.status == 200, "{added:?}");
        let secret = secret(&added)?;
        let page = client.get("/webhooks/1").await?;
        ensure!(page.body.contains("a run was cancelled") && !page.body.contains(&secret), "{page:?}");
        ensure!(!page.body.contains("secret-path"), "the path may be a secret: {page:?}");

        let tried = client.post("/webhooks/1/do/test", "").await?;
        ensure!(
            tried.status == 303 && tried.head.contains(&encode("The receiver took the test.").replace('+', "%20")),
            "{tried:?}"
        );
        let received = receiver.until(1).await?;
        ensure!(received[0].is_signed_with(&secret)?, "{received:?}");

        // a message that was given up a day after it was written
        sqlx::query(
            "INSERT INTO etl_webhook_delivery (webhook_id, event, tenant_id, body, created_at, due_at, attempt, dead_at, error) \
             VALUES (1, 'run.cancelled', 1, '{}', now() - interval '2 days', now() - interval '1 day', 9, now() - interval '1 day', \
                     'the receiver answered 500')",
        )
        .execute(&stage.target)
        .await?;
        let page = client.get("/webhooks/1").await?;
        ensure!(
            page.body.contains("the receiver answered 500") && page.body.contains("/webhooks/1/messages/2/do/retry"),
            "{page:?}"
        );
        let retried = client.post("/webhooks/1/messages/2/do/retry", "").await?;
        ensure!(retried.status == 303, "{retried:?}");
        receiver.until(2).await?;
        stage
            .until("SELECT delivered_at IS NOT NULL AND attempt = 10 FROM etl_webhook_delivery WHERE id = 2")
            .await?;
        let again = client.post("/webhooks/1/messages/2/do/retry", "").await?;
        ensure!(again.status == 422, "it is not dead: {again:?}");

        let unconfirmed = client.post("/webhooks/1/do/remove", "").await?;
        ensure!(unconfirmed.status == 422, "{unconfirmed:?}");
        let host = receiver.url.trim_end_matches("/secret-path");
        let removed = client.post("/webhooks/1/do/remove", &format!("confirm={}", encode(host))).await?;
        ensure!(removed.status == 303, "{removed:?}");
        let portuguese = client.get("/webhooks").await?;
        ensure!(portuguese.body.contains("Nothing is reported"), "{portuguese:?}");
        let actions: Vec<String> = sqlx::query_scalar(
            "SELECT action FROM etl_action_audit WHERE actor = 'console:local' AND result = 'done' ORDER BY id",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(
            actions == ["webhook.add", "webhook.test", "webhook.retry", "webhook.remove"],
            "{actions:?}"
        );
        finalizer.stop().await?;
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn the_api_shows_a_webhooks_secret_once_and_not_in_a_repeated_answer() {
    on_stage(|stage| async move {
        for tenant in [1, 2] {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        let all = add_token(&stage, "all", &["--role", "admin"]).await?;
        let one = add_token(&stage, "one", &["--role", "admin", "--tenants", "1"]).await?;
        let settings = [&SETTINGS[..], &[("TIDEMARK_CONSOLE_AUTH", "password")]].concat();
        let served = serve(&stage, "console", &settings).await?;
        let client = |token: String| Client {
            token: Some(token),
            ..Client::new(&served.address)
        };
        let (all, one) = (client(all), client(one));
        let path = "/api/v1/webhooks";
        let body =
            json!({"url": "https://hooks.example/x", "events": ["run.failed"], "tenant_id": 2}).to_string();
        let key = ("Idempotency-Key", "3c1b0f52-8f43-4cf8-9a3b-0a1d3a0f5e77");
        let added = all.send("POST", path, &[JSON, key], &body).await?;
        ensure!(
            added.status == 201 && added.json()["secret"].is_string(),
            "{added:?}"
        );
        let again = all.send("POST", path, &[JSON, key], &body).await?;
        ensure!(
            again.status == 201
                && again.json()["secret"].is_null()
                && again.json()["id"] == added.json()["id"],
            "{again:?}"
        );
        let secret = added.json()["secret"].as_str().unwrap_or_default().to_owned();
        let stored: String = sqlx::query_scalar("SELECT body::text FROM console_request")
            .fetch_one(&stage.target)
            .await?;
        ensure!(!stored.contains(&secret), "the secret is stored");
        // of another tenant, and of all
        let id = added.json()["id"].to_string();
        for path in [format!("{path}/{id}"), format!("{path}/{id}/messages")] {
            ensure!(one.get(&path).await?.status == 404, "{path}");
        }
        ensure!(
            one.get(path).await?.json() == json!([]),
            "a foreign webhook is listed"
        );
        for body in [
            body.clone(),
            json!({"url": "https://hooks.example/x", "events": ["run.failed"]}).to_string(),
        ] {
            let foreign = one.send("POST", path, &[JSON], &body).await?;
            ensure!(foreign.status == 404, "{body}: {foreign:?}");
        }
        let unconfirmed = all
            .send("POST", &format!("{path}/{id}/remove"), &[JSON], "{}")
            .await?;
        ensure!(unconfirmed.status == 422, "{unconfirmed:?}");
        let confirmed = json!({"confirm": "https://hooks.example"}).to_string();
        let removed = all
            .send("POST", &format!("{path}/{id}/remove"), &[JSON], &confirmed)
            .await?;
        ensure!(removed.status == 200, "{removed:?}");
        served.process.stop().await
    })
    .await;
}
