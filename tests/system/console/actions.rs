//! Actions that meet: a double click, two people, a cancel beside the end of the run. There is one truth.

use anyhow::{Context, Result, ensure};
use sqlx::Executor;

use super::browser::Browser;
use super::client::{Answer, Client, add_user, encode, serve};
use crate::stage::{Stage, on_stage};

const PASSWORD: &str = "correct horse battery";

/// A hidden field of a form.
fn hidden(page: &Answer, name: &str) -> Result<String> {
    let start = format!(r#"name="{name}" value=""#);
    let rest = page.body.split_once(&start).context("the form has the field")?.1;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}

async fn count(stage: &Stage, statement: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .fetch_one(&stage.target)
        .await?)
}

#[tokio::test]
async fn of_two_people_who_act_on_one_tenant_the_second_is_told() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        for user in ["ana", "bea"] {
            add_user(&stage, user, PASSWORD, &["--role", "admin"]).await?;
        }
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);
        let ana = stranger.sign_in("ana", PASSWORD).await?;
        let bea = stranger.sign_in("bea", PASSWORD).await?;
        let path = "/tenants/1/do/settings";
        let (of_ana, of_bea) = (ana.get(path).await?, bea.get(path).await?);
        let form = |page: &Answer, name: &str| -> Result<String> {
            Ok(format!("seen={}&name={}", hidden(page, "seen")?, encode(name)))
        };
        let first = ana.post(path, &form(&of_ana, "By Ana")?).await?;
        ensure!(first.status == 303, "{first:?}");
        let second = bea.post(path, &form(&of_bea, "By Bea")?).await?;
        ensure!(second.status == 412 || second.status == 409, "{second:?}");
        ensure!(
            second.body.contains("By Bea"),
            "what she entered is kept: {second:?}"
        );
        let name: String = sqlx::query_scalar("SELECT name FROM tenants")
            .fetch_one(&stage.target)
            .await?;
        ensure!(name == "By Ana", "{name}");
        // from the form that came back she knows the present state, and may go on
        let third = bea.post(path, &form(&second, "By Bea")?).await?;
        ensure!(third.status == 303, "{third:?}");

        // both at once: one run, and both are led to it
        let (one, two) = tokio::join!(
            ana.post("/tenants/1/do/sync", ""),
            bea.post("/tenants/1/do/sync", "")
        );
        let (one, two) = (one?, two?);
        ensure!(
            one.status == 303 && one.header("location") == two.header("location"),
            "{one:?} {two:?}"
        );
        ensure!(
            count(&stage, "SELECT count(*) FROM etl_control").await? == 1,
            "one run"
        );
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_double_click_acts_once() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let browser = Browser::open(1400, 1000).await?;
        browser.page.goto(&format!("http://{}/tenants/1", served.address)).await?;
        browser.click("a[href='/tenants/1/do/pause']").await?;
        browser.fill("dialog[open] input[name=reason]", "twice").await?;
        let twice = "const button = document.querySelector('dialog button[type=submit]'); button.click(); button.click();";
        browser.page.execute(twice, Vec::new()).await?;
        browser.wait_for_text("twice").await?;
        let paused = "SELECT count(*) FROM etl_action_audit WHERE action = 'tenant.pause'";
        ensure!(count(&stage, paused).await? == 1, "paused once");
        // also without our script: the second request finds the tenant paused
        let client = Client::new(&served.address);
        ensure!(client.post("/tenants/1/do/resume", "").await?.status == 303, "resumed");
        let again = client.post("/tenants/1/do/resume", "").await?;
        ensure!([303, 422].contains(&again.status), "{again:?}");
        let resumed = "SELECT count(*) FROM etl_action_audit WHERE action = 'tenant.resume' AND result = 'done'";
        ensure!(count(&stage, resumed).await? == 1, "resumed once");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_run_is_cancelled_or_has_ended_and_never_both() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        ensure!(client.post("/tenants/1/do/sync", "").await?.status == 303, "requested");
        let form = client.get("/runs/1/do/cancel").await?;
        let seen = hidden(&form, "seen")?;
        stage
            .target
            .execute("UPDATE etl_control SET status = 'success', started_at = now(), finished_at = now() WHERE id = 1")
            .await?;
        let late = client.post("/runs/1/do/cancel", &format!("seen={seen}&reason=too+late")).await?;
        ensure!(late.status == 412 || late.status == 409, "{late:?}");
        let without = client.post("/runs/1/do/cancel", "reason=too+late").await?;
        ensure!(without.status == 422, "{without:?}");
        let status: String = sqlx::query_scalar("SELECT status::text FROM etl_control").fetch_one(&stage.target).await?;
        ensure!(status == "success", "{status}");
        served.process.stop().await
    })
    .await;
}
