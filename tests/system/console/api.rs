//! The JSON API: the same numbers as the commands, and changes that happen once.

use anyhow::ensure;

use super::client::{Client, add_token, add_user, serve};
use crate::stage::on_stage;

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test]
async fn answers_have_the_fields_and_values_of_the_commands() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 7).await?;
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        let token = add_token(&stage, "reader", &[]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let client = Client {
            token: Some(token),
            ..Client::new(&served.address)
        };
        let id = run["run_id"].to_string();
        let shown = stage.tidemark(&["run", "show", &id, "--json"]).await?.json();
        let answer = client.get(&format!("/api/v1/runs/{id}")).await?;
        for (name, value) in answer.json().as_object().expect("a run") {
            ensure!(shown[name] == *value, "{name}: {value} and {}", shown[name]);
        }
        let tenant = stage
            .tidemark(&["tenant", "show", "--tenant", "1", "--json"])
            .await?
            .json();
        ensure!(
            client.get("/api/v1/tenants/1").await?.json() == tenant,
            "{tenant}"
        );
        let chunks = stage
            .tidemark(&["chunk", "list", "--run", &id, "--json"])
            .await?
            .json();
        ensure!(
            client.get(&format!("/api/v1/runs/{id}/chunks")).await?.json()["items"] == chunks,
            "{chunks}"
        );

        let list = client.get("/api/v1/runs?limit=1").await?;
        let tag = list.header("etag").expect("an ETag").to_owned();
        let again = client
            .send("GET", "/api/v1/runs?limit=1", &[("If-None-Match", &tag)], "")
            .await?;
        ensure!(again.status == 304 && again.body.is_empty(), "{again:?}");
        let before = list.json()["next"].to_string();
        let rest = client.get(&format!("/api/v1/runs?before={before}")).await?.json();
        ensure!(
            rest["items"] == serde_json::json!([]) && rest["next"].is_null(),
            "{rest}"
        );

        for (path, status) in [
            ("/api/v1/runs/999", 404),
            ("/api/v1/nothing", 404),
            ("/api/v1/runs?status=odd", 422),
        ] {
            let problem = client.get(path).await?;
            ensure!(problem.status == status, "{path}: {problem:?}");
            ensure!(
                problem.header("content-type") == Some("application/problem+json"),
                "{problem:?}"
            );
            let problem = problem.json();
            ensure!(
                problem["status"] == status && problem["exit_code"] == 64,
                "{problem}"
            );
        }
        let other = Client {
            token: Some("tmk_unknown".to_owned()),
            ..client
        };
        ensure!(other.get("/api/v1/runs").await?.status == 401, "an unknown token");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_change_happens_once_and_not_upon_an_old_state() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let token = add_token(&stage, "deploy", &["--role", "operator"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let client = Client {
            token: Some(token),
            ..Client::new(&served.address)
        };
        let tag = client.get("/api/v1/tenants/1").await?.header("etag").expect("an ETag").to_owned();
        let pause = "/api/v1/tenants/1/pause";
        let first = client
            .send("POST", pause, &[JSON, ("If-Match", &tag)], r#"{"reason": "maintenance"}"#)
            .await?;
        ensure!(first.status == 200 && first.json()["pause_reason"] == "maintenance", "{first:?}");
        let stale = client
            .send("POST", pause, &[JSON, ("If-Match", &tag)], r#"{"reason": "again"}"#)
            .await?;
        ensure!(stale.status == 412, "{stale:?}");
        let paused: String = sqlx::query_scalar("SELECT pause_reason FROM tenants").fetch_one(&stage.target).await?;
        ensure!(paused == "maintenance", "{paused}");
        let unready = client.send("POST", "/api/v1/tenants/1/runs", &[JSON], r#"{"type": "full"}"#).await?;
        ensure!(unready.status == 422 && unready.json()["exit_code"] == 78, "{unready:?}");
        ensure!(client.send("POST", "/api/v1/tenants/1/resume", &[JSON], "").await?.status == 200, "resumed");

        let runs = "/api/v1/tenants/1/runs";
        let key = ("Idempotency-Key", "e5a0f2f0-8d0c-4b6e-9d5e-6f2f3c1a7b11");
        let new = client.send("POST", runs, &[JSON, key], r#"{"type": "full", "reason": "asked"}"#).await?;
        ensure!(new.status == 202, "{new:?}");
        let again = client.send("POST", runs, &[JSON, key], r#"{"type": "full", "reason": "asked"}"#).await?;
        ensure!(again.status == 202 && again.json()["run_id"] == new.json()["run_id"], "{again:?}");
        let other = client.send("POST", runs, &[JSON, key], r#"{"type": "incremental"}"#).await?;
        ensure!(other.status == 422, "{other:?}");
        let open = client.send("POST", runs, &[JSON], r#"{"type": "full"}"#).await?;
        ensure!(open.status == 200 && open.json()["run_id"] == new.json()["run_id"], "{open:?}");
        let guarded = client
            .send("POST", runs, &[JSON], r#"{"type": "full", "allow_mass_delete": true}"#)
            .await?;
        ensure!(guarded.status == 403, "{guarded:?}");
        for body in ["{", r#"{"type": "odd"}"#, r#"{"type": "full", "ids": [1]}"#, r#"{"type": "resync", "ids": []}"#] {
            let wrong = client.send("POST", runs, &[JSON], body).await?;
            ensure!(wrong.status == 422, "{body}: {wrong:?}");
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control").fetch_one(&stage.target).await?;
        ensure!(count == 1, "{count} runs");

        let run = new.json()["run_id"].to_string();
        let cancel = format!("/api/v1/runs/{run}/cancel");
        let done = client.send("POST", &cancel, &[JSON], r#"{"reason": "not now"}"#).await?;
        ensure!(done.status == 200 && done.json()["status"] == "cancelled", "{done:?}");
        ensure!(client.send("POST", &cancel, &[JSON], "").await?.status == 422, "it has ended");
        let actors: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT actor FROM etl_action_audit WHERE action IN ('tenant.pause', 'tenant.resume', 'run.request', 'run.cancel')",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(actors == ["token:deploy"], "{actors:?}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn every_refusal_of_the_api_is_a_problem() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let token = add_token(&stage, "deploy", &["--role", "operator"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let nobody = Client::new(&served.address);
        let client = Client {
            token: Some(token),
            ..nobody.clone()
        };
        for (method, path, status) in [
            ("GET", "/api/v1/runs?before=null", 400),
            ("GET", "/api/v1/tenants?after=-2147483649", 400),
            ("GET", "/api/v1/rejects?all=maybe", 400),
            ("GET", "/api/v1/rejects?after=", 422),
            ("GET", "/api/v1/tenants/none", 404),
            ("DELETE", "/api/v1/tenants/1", 405),
            ("POST", "/api/v1/nothing", 405),
            ("POST", "/api/v1/tenants/1/pause", 422),
        ] {
            let answer = client.send(method, path, &[JSON], "").await?;
            let is_problem = answer.header("content-type") == Some("application/problem+json");
            ensure!(
                answer.status == status && is_problem && answer.json()["status"] == status,
                "{method} {path}: {answer:?}"
            );
        }
        // another site, and nobody
        for (method, path, status) in [
            ("POST", "/api/v1/tenants/1/resume", 403),
            ("GET", "/api/v1/runs", 401),
        ] {
            let answer = nobody.send(method, path, &[JSON], "").await?;
            ensure!(
                answer.status == status && answer.header("content-type") == Some("application/problem+json"),
                "{answer:?}"
            );
        }
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_text_that_the_database_cannot_store_is_refused_and_no_fault() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        add_user(&stage, "ana", "correct horse battery", &["--role", "operator"]).await?;
        let token = add_token(&stage, "deploy", &["--role", "operator"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let nobody = Client::new(&served.address);
        let api = Client {
            token: Some(token),
            ..nobody.clone()
        };
        let ana = nobody.sign_in("ana", "correct horse battery").await?;
        for (client, path) in [
            (&api, "/api/v1/audit?actor=%00"),
            (&ana, "/audit?actor=%00"),
            (&ana, "/rejects?error=a%00b"),
            (&ana, "/t/%00"),
        ] {
            let answer = client.get(path).await?;
            ensure!(answer.status == 422, "{path}: {answer:?}");
            ensure!(answer.body.contains("such as a NUL"), "{path}: {answer:?}");
        }
        let reason = "{\"reason\": \"a\\u0000b\"}";
        let path = "/api/v1/tenants/1/pause";
        let answer = api.send("POST", path, &[JSON], reason).await?;
        ensure!(answer.status == 422, "{answer:?}");
        let refused = nobody.post("/login", "user=a%00b&password=c").await?;
        ensure!(refused.status < 500, "{refused:?}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_read_only_console_changes_nothing() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_READ_ONLY", "true")]).await?;
        let client = Client::new(&served.address);
        let answer = client.post("/tenants/1/do/pause", "reason=x").await?;
        ensure!(
            answer.status == 422 && answer.body.contains("read-only"),
            "{answer:?}"
        );
        let page = client.get("/tenants/1").await?;
        ensure!(
            page.body.contains("The console is read-only.") && !page.body.contains("/tenants/1/do/pause"),
            "{page:?}"
        );
        served.process.stop().await
    })
    .await;
}
