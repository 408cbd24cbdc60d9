//! What the API changes: with confirmations as fields, once, and not upon an old state.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::client::{Answer, Client, add_token, serve};
use crate::stage::on_stage;

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn post(client: &Client, path: &str, body: &Value) -> Result<Answer> {
    client.send("POST", path, &[JSON], &body.to_string()).await
}

#[tokio::test]
async fn a_tenant_is_changed_by_the_api_as_by_the_commands() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let token = add_token(&stage, "admin", &["--role", "admin"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let client = Client {
            token: Some(token),
            ..Client::new(&served.address)
        };
        let before = client.get("/api/v1/tenants/1").await?;
        let (tag, name) = (before.header("etag").expect("an ETag").to_owned(), before.json()["name"].clone());
        let path = "/api/v1/tenants/1/settings";
        let change = json!({"sync_interval": "7m", "verify_interval": "off", "chunk_size": 321}).to_string();
        let changed = client.send("POST", path, &[JSON, ("If-Match", &tag)], &change).await?;
        ensure!(changed.status == 200, "{changed:?}");
        ensure!(
            changed.json()["sync_interval"] == "7m" && changed.json()["chunk_size"] == 321 && changed.json()["name"] == name,
            "{changed:?}"
        );
        let stale = client.send("POST", path, &[JSON, ("If-Match", &tag)], &change).await?;
        ensure!(stale.status == 412, "{stale:?}");
        for wrong in [json!({"sync_interval": "soon"}), json!({"chunk_size": 0}), json!({"timezone": "Mars"}), json!({"odd": 1})] {
            let refused = post(&client, path, &wrong).await?;
            ensure!(refused.status == 422 && refused.json()["exit_code"] == 64, "{wrong}: {refused:?}");
        }

        // what cannot be taken back needs the name
        let watermark = json!({"to": "2020-01-01T00:00:00Z", "reason": "again"});
        let wrongs = [
            ("watermark", watermark.clone()),
            ("inboxes/unmap", json!({"inboxes": [1]})),
            ("forget", json!({"contact_id": 1})),
            ("remove", json!({"confirm": "another"})),
        ];
        for (action, body) in &wrongs {
            let refused = post(&client, &format!("/api/v1/tenants/1/{action}"), body).await?;
            ensure!(refused.status == 422, "{action}: {refused:?}");
            let text = refused.json()["what_to_do"].to_string();
            ensure!(text.contains("confirm"), "{action}: {refused:?}");
        }
        let confirmed = |mut body: Value| {
            body["confirm"] = name.clone();
            body
        };
        let set = post(&client, "/api/v1/tenants/1/watermark", &confirmed(watermark)).await?;
        ensure!(set.status == 200 && set.json()["watermark"] == "2020-01-01T00:00:00Z", "{set:?}");
        let unmapped = post(&client, "/api/v1/tenants/1/inboxes/unmap", &confirmed(json!({"inboxes": [1]}))).await?;
        ensure!(unmapped.json() == json!({"tenant_id": 1, "unmapped": [1]}), "{unmapped:?}");
        let mapped = post(&client, "/api/v1/tenants/1/inboxes/map", &json!({"inboxes": [1]})).await?;
        ensure!(mapped.status == 200 && mapped.json()["newly_mapped"] == 1, "{mapped:?}");
        let forgotten = post(&client, "/api/v1/tenants/1/forget", &confirmed(json!({"contact_id": 1}))).await?;
        ensure!(forgotten.status == 200 && forgotten.json()["contact_id"] == 1, "{forgotten:?}");
        let removed = post(&client, "/api/v1/tenants/1/remove", &confirmed(json!({}))).await?;
        ensure!(removed.status == 200 && removed.json()["tenant_id"] == 1, "{removed:?}");

        let accept = "/api/v1/sources/main/accept-restore";
        let refused = post(&client, accept, &json!({"reason": "x", "confirm": "main"})).await?;
        ensure!(refused.status == 422 && refused.body.contains("go back in time"), "{refused:?}");
        let unconfirmed = post(&client, "/api/v1/dead/purge", &json!({})).await?;
        ensure!(unconfirmed.status == 422, "{unconfirmed:?}");
        let redriven = post(&client, "/api/v1/dead/redrive", &json!({})).await?;
        ensure!(redriven.status == 200 && redriven.json()["redriven"] == 0, "{redriven:?}");
        let actions: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT action FROM etl_action_audit WHERE actor = 'token:admin' AND result = 'done' ORDER BY action",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(
            actions
                == [
                    "contact.forget", "dead.redrive", "inbox.map", "inbox.unmap", "tenant.change", "tenant.remove",
                    "watermark.set"
                ],
            "{actions:?}"
        );
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_job_is_made_and_started_by_the_api_once() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        sqlx::query(
            "INSERT INTO tenants (id, name, slug, source, timezone) \
             SELECT n, 'Tenant ' || n, 'tenant-' || n, source, timezone FROM tenants, generate_series(2, 22) AS n",
        )
        .execute(&stage.target)
        .await?;
        let token = add_token(&stage, "deploy", &["--role", "operator"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let client = Client {
            token: Some(token),
            ..Client::new(&served.address)
        };
        let path = "/api/v1/bulk";
        for wrong in [
            json!({"action": "tenant.eat", "filter": {}}),
            json!({"action": "tenant.pause", "filter": {"state": "odd"}}),
            json!({"action": "tenant.pause", "filter": {"ids": ["99"]}}),
            json!({"action": "tenant.pause"}),
        ] {
            let refused = post(&client, path, &wrong).await?;
            ensure!(refused.status == 422, "{wrong}: {refused:?}");
        }
        let prepared = post(&client, path, &json!({"action": "tenant.pause", "filter": {}, "reason": "night"})).await?;
        ensure!(prepared.status == 201, "{prepared:?}");
        let tag = prepared.header("etag").expect("an ETag").to_owned();
        let job = prepared.json();
        ensure!(job["item_count"] == 22 && job["sample"].as_array().is_some_and(|sample| sample.len() == 20), "{job}");
        let start = format!("{path}/{}/start", job["id"]);
        let unconfirmed = post(&client, &start, &json!({})).await?;
        ensure!(unconfirmed.status == 422, "{unconfirmed:?}");
        let body = json!({"confirm": "pause 22"}).to_string();
        let key = ("Idempotency-Key", "0d3c6f0e-51a5-4f0e-9d2e-8d4f5d3d9f10");
        let started = client.send("POST", &start, &[JSON, key, ("If-Match", &tag)], &body).await?;
        ensure!(started.status == 202 && started.json()["status"] == "running", "{started:?}");
        let again = client.send("POST", &start, &[JSON, key, ("If-Match", &tag)], &body).await?;
        ensure!(again.status == 202, "the first answer: {again:?}");
        let stale = client.send("POST", &start, &[JSON, ("If-Match", &tag)], &body).await?;
        ensure!(stale.status == 412, "{stale:?}");
        stage.until("SELECT status = 'done' FROM etl_bulk").await?;
        let paused: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM etl_action_audit WHERE action = 'tenant.pause' AND actor = 'token:deploy' AND reason = 'night'",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(paused == 22, "{paused}");
        let items = client.get(&format!("{path}/{}/items?status=done&limit=15", job["id"])).await?.json();
        ensure!(items["items"].as_array().is_some_and(|items| items.len() == 15) && items["next"] == 15, "{items}");
        let listed = client.get(path).await?.json();
        ensure!(listed["items"][0]["done_count"] == 22, "{listed}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_plan_and_a_repair_by_the_api_are_those_of_the_commands() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (operator, viewer) = (
            add_token(&stage, "operator", &["--role", "operator"]).await?,
            add_token(&stage, "viewer", &[]).await?,
        );
        let served = serve(&stage, "up", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let of = |token: &str| Client {
            token: Some(token.to_owned()),
            ..Client::new(&served.address)
        };
        let (client, viewer) = (of(&operator), of(&viewer));
        let plan = "/api/v1/tenants/1/plan";
        let planned = client.get(&format!("{plan}?full=true&chunk_size=20")).await?;
        let said = stage
            .tidemark(&["plan", "--tenant", "1", "--full", "--chunk-size", "20", "--json"])
            .await?
            .json();
        for field in [
            "tenant_id",
            "type",
            "keys",
            "chunks",
            "warnings",
            "cost",
            "renamed",
        ] {
            ensure!(
                planned.json()[field] == said[field],
                "{field}: {planned:?} and {said}"
            );
        }
        ensure!(planned.json()["chunks"] == 3, "{planned:?}");
        let incremental = client.get(plan).await?;
        ensure!(
            incremental.status == 200 && incremental.json()["type"] == "incremental",
            "{incremental:?}"
        );
        for (wrong, status) in [
            (format!("{plan}?chunk_size=0"), 422),
            ("/api/v1/tenants/9/plan".to_owned(), 404),
        ] {
            let refused = client.get(&wrong).await?;
            ensure!(refused.status == status, "{wrong}: {refused:?}");
        }
        let repair = "/api/v1/tenants/1/repair";
        ensure!(
            viewer.get(plan).await?.status == 403,
            "a viewer opens no session on a source"
        );
        ensure!(
            post(&viewer, repair, &json!({})).await?.status == 403,
            "a viewer repairs nothing"
        );
        let early = post(&client, repair, &json!({})).await?;
        ensure!(
            early.status == 422
                && early.json()["exit_code"] == 78
                && early.json()["what_to_do"].to_string().contains("tidemark verify"),
            "{early:?}"
        );

        let compare = async |run: i64| {
            let asked = post(&client, "/api/v1/tenants/1/runs", &json!({"type": "verify"})).await?;
            ensure!(asked.status == 202, "{asked:?}");
            stage
                .until(&format!(
                    "SELECT count(*) = {run} FROM etl_control WHERE type = 'verify' AND status = 'success'"
                ))
                .await
        };
        compare(1).await?;
        let nothing = post(&client, repair, &json!({})).await?;
        ensure!(nothing.status == 204 && nothing.body.is_empty(), "{nothing:?}");
        let mut tx = stage.target.begin().await?;
        sqlx::query("SELECT set_config('app.current_tenant_id', '1', true)")
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM conversations_analytics WHERE tenant_id = 1 AND conversation_id <= 3")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        compare(2).await?;
        // sent twice with one key, it is one run
        let key = [JSON, ("Idempotency-Key", "repair-1")];
        let first = client.send("POST", repair, &key, "{}").await?;
        ensure!(
            first.status == 202 && first.json()["type"] == "repair",
            "{first:?}"
        );
        let again = client.send("POST", repair, &key, "{}").await?;
        ensure!(
            again.status == 202 && again.json()["run_id"] == first.json()["run_id"],
            "{again:?}"
        );
        stage
            .until("SELECT count(*) = 1 FROM etl_control WHERE type = 'repair' AND status = 'success'")
            .await?;
        let actor: String = sqlx::query_scalar(
            "SELECT actor FROM etl_action_audit WHERE action = 'run.request' AND after ->> 'type' = 'repair'",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(actor == "token:operator", "{actor}");
        served.process.stop().await
    })
    .await;
}
