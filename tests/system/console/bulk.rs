//! One action on many things: what is chosen stays chosen, each is acted on once, and another console goes on.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::client::{Client, add_token, add_user, encode, serve};
use crate::stage::{Stage, on_stage};

/// The path of the job that a chooser has led to.
async fn prepare(client: &Client, form: &str) -> Result<String> {
    let answer = client.post("/bulk/prepare", form).await?;
    ensure!(answer.status == 303, "{answer:?}");
    let path = answer.header("location").context("a location")?;
    Ok(path.to_owned())
}

async fn paused_once(stage: &Stage) -> Result<(i64, i64)> {
    let counted = sqlx::query_as(
        "SELECT count(*), count(DISTINCT tenant_id) FROM etl_action_audit \
         WHERE action = 'tenant.pause' AND actor = 'console:local' AND result = 'done'",
    );
    Ok(counted.fetch_one(&stage.target).await?)
}

#[tokio::test]
async fn a_console_that_is_killed_in_a_job_is_followed_by_another_and_each_thing_is_done_once() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        sqlx::query(
            "INSERT INTO tenants (id, name, slug, source, timezone) \
             SELECT n, 'Tenant ' || n, 'tenant-' || n, source, timezone FROM tenants, generate_series(2, 25) AS n",
        )
        .execute(&stage.target)
        .await?;
        let paused = stage
            .tidemark(&["tenant", "pause", "--tenant", "25", "--reason", "its own"])
            .await?;
        ensure!(paused.code == 0, "{paused:?}");
        let first = serve(&stage, "console", &[]).await?;
        let client = Client::new(&first.address);
        let path = prepare(&client, "action=tenant.pause&which=all").await?;
        // chosen afterwards, it is not part of it
        stage.tenant(26, "UTC", &[26]).await?;
        let page = client.get(&path).await?;
        ensure!(
            page.body.contains("Pause: 24 tenants") && page.body.contains("paused 1"),
            "{page:?}"
        );
        ensure!(
            paused_once(&stage).await?.0 == 0,
            "nothing is done before it is confirmed"
        );
        let start = format!("{path}/do/start");
        for form in [
            "reason=night",
            "reason=night&confirm=pause+25",
            "confirm=pause+24",
        ] {
            let refused = client.post(&start, form).await?;
            ensure!(refused.status == 422, "{form}: {refused:?}");
        }

        // the console stops in the middle, at a tenant that somebody else has locked
        let mut other = stage.target.begin().await?;
        sqlx::query("SELECT FROM tenants WHERE id = 12 FOR UPDATE")
            .execute(&mut *other)
            .await?;
        let started = client.post(&start, "reason=night&confirm=pause+24").await?;
        ensure!(started.status == 303, "{started:?}");
        stage.until("SELECT done_count = 11 FROM etl_bulk").await?;
        first.process.kill().await?;
        ensure!(paused_once(&stage).await? == (11, 11), "eleven before it");
        other.rollback().await?;

        let second = serve(&stage, "console", &[]).await?;
        stage.until("SELECT status = 'done' FROM etl_bulk").await?;
        ensure!(paused_once(&stage).await? == (24, 24), "each once");
        let done: Vec<(i32, Option<String>)> =
            sqlx::query_as("SELECT id, pause_reason FROM tenants WHERE paused_at IS NOT NULL ORDER BY id")
                .fetch_all(&stage.target)
                .await?;
        for (id, reason) in &done {
            let wanted = if *id == 25 { "its own" } else { "night" };
            ensure!(reason.as_deref() == Some(wanted), "{id}: {reason:?}");
        }
        ensure!(done.len() == 25, "{done:?}");
        let begun: i64 =
            sqlx::query_scalar("SELECT count(*) FROM etl_action_audit WHERE action = 'bulk.start'")
                .fetch_one(&stage.target)
                .await?;
        ensure!(begun == 1, "{begun}");
        let page = Client::new(&second.address).get(&path).await?;
        ensure!(page.status == 200 && page.body.contains("badge good"), "{page:?}");
        second.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn ticked_rows_are_retried_and_cancelled_and_rejects_of_one_cause_are_read_again() {
    on_stage(|stage| async move {
        for tenant in [1, 2, 3] {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let none = client.post("/bulk/prepare", "action=tenant.sync&which=ticked").await?;
        ensure!(none.status == 422, "{none:?}");
        let path = prepare(&client, "action=tenant.sync&which=ticked&ids=1&ids=3").await?;
        let started = client.post(&format!("{path}/do/start"), "").await?;
        ensure!(started.status == 303, "a few need no typing: {started:?}");
        stage.until("SELECT status = 'done' FROM etl_bulk WHERE id = 1").await?;
        let runs: Vec<(i64, i32, String)> =
            sqlx::query_as("SELECT id, tenant_id, triggered_by FROM etl_control ORDER BY tenant_id")
                .fetch_all(&stage.target)
                .await?;
        ensure!(
            runs.iter().map(|run| (run.1, run.2.as_str())).collect::<Vec<_>>()
                == [(1, "console:local"), (3, "console:local")],
            "{runs:?}"
        );

        sqlx::query(
            "INSERT INTO etl_rejected_row (tenant_id, conversation_id, side, sqlstate, error, run_id, chunk_seq) \
             SELECT 1 + n % 2, n, 'target', '22003', CASE WHEN n < 9 THEN 'too large' ELSE 'other' END, $1, 1 \
             FROM generate_series(1, 10) AS n",
        )
        .bind(runs[0].0)
        .execute(&stage.target)
        .await?;
        let form = format!(
            "action=reject.resync&which=all&side=target&sqlstate=22003&error={}",
            encode("too large")
        );
        let path = prepare(&client, &form).await?;
        let page = client.get(&path).await?;
        ensure!(page.body.contains("--error &#39;too large&#39;") || page.body.contains("--error 'too large'"), "{page:?}");
        let started = client.post(&format!("{path}/do/start"), "reason=fixed").await?;
        ensure!(started.status == 303, "{started:?}");
        stage.until("SELECT status = 'done' FROM etl_bulk WHERE id = 2").await?;
        let parts: Vec<serde_json::Value> = sqlx::query_scalar(
            "SELECT request -> 'selection' -> 'ids' FROM etl_control WHERE type = 'resync' ORDER BY tenant_id",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(parts == [json!([2, 4, 6, 8]), json!([1, 3, 5, 7])], "{parts:?}");

        // a run that has ended is skipped
        let first = runs[0].0.to_string();
        let cancelled = stage.tidemark(&["run", "cancel", &first]).await?;
        ensure!(cancelled.code == 0, "{cancelled:?}");
        let answer = stage
            .tidemark(&["bulk", "start", "run.cancel", "--all-matching", "--reason", "stop", "--json"])
            .await?;
        ensure!(answer.code == 64 && answer.json()["bulk"].is_null(), "not confirmed: {answer:?}");
        ensure!(answer.json()["status"] == "prepared", "{answer:?}");
        let answer = stage
            .tidemark(&["bulk", "start", "run.cancel", "--all-matching", "--reason", "stop", "--yes", "--json"])
            .await?
            .json();
        ensure!(
            answer["status"] == "done" && answer["done_count"] == 3 && answer["skipped_count"] == 1,
            "{answer}"
        );
        ensure!(answer["skipped"] == json!([{"why": "run_ended", "items": 1}]), "{answer}");
        let retried = stage
            .tidemark_with_input(
                &["bulk", "start", "run.retry", "--ids-file", "-", "--yes", "--json"],
                &format!("{first}\n"),
            )
            .await?
            .json();
        ensure!(retried["done_count"] == 1, "it is requested again: {retried}");
        let unknown = stage
            .tidemark(&["bulk", "start", "run.retry", "--ids", "9999", "--yes"])
            .await?;
        ensure!(unknown.code == 64, "{unknown:?}");
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE finished_at IS NULL")
            .fetch_one(&stage.target)
            .await?;
        ensure!(left == 1, "{left}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_job_is_seen_and_chosen_within_the_authors_tenants() {
    on_stage(|stage| async move {
        for tenant in [1, 2] {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        let password = "correct horse battery";
        add_user(&stage, "one", password, &["--role", "operator", "--tenants", "1"]).await?;
        let token = add_token(&stage, "all", &["--role", "operator"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);
        let one = stranger.sign_in("one", password).await?;
        let all = Client {
            token: Some(token),
            ..stranger
        };
        let path = prepare(&one, "action=tenant.pause&which=all").await?;
        let page = one.get(&path).await?;
        ensure!(page.body.contains("Pause: 1 tenant"), "{page:?}");
        let foreign = prepare(&all, "action=tenant.pause&which=all").await?;
        for path in [foreign.as_str(), "/bulk/999"] {
            let answer = one.get(path).await?;
            ensure!(answer.status == 404, "{path}: {answer:?}");
        }
        for action in ["start", "stop"] {
            let answer = one.post(&format!("{foreign}/do/{action}"), "reason=x").await?;
            ensure!(answer.status == 404, "{action}: {answer:?}");
        }
        let chosen = one
            .post("/bulk/prepare", "action=tenant.pause&which=ticked&ids=2")
            .await?;
        ensure!(chosen.status == 422, "{chosen:?}");
        let paused: i64 = sqlx::query_scalar("SELECT count(*) FROM tenants WHERE paused_at IS NOT NULL")
            .fetch_one(&stage.target)
            .await?;
        ensure!(paused == 0, "{paused}");
        served.process.stop().await
    })
    .await;
}
