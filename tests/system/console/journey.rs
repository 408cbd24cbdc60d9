//! A person's way: why is a tenant late, cure it, retry a dead chunk, ask why, resync, and see it all in the audit.

use anyhow::{Context, Result, ensure};

use super::browser::Browser;
use super::client::serve;
use crate::stage::{on_stage, poll};

#[tokio::test]
async fn a_person_finds_the_cause_cures_it_and_sees_it_in_the_audit() {
    on_stage(|stage| async move {
        stage.sample(400, 2, 11).await?;
        let worker = stage.start(&["worker"])?;
        let finalizer = stage.start(&["finalizer"])?;
        let first = stage.start(&["producer"])?;
        for tenant in ["1", "2"] {
            let synced = stage.tidemark(&["sync", "--tenant", tenant, "--wait", "--json"]).await?;
            ensure!(synced.code == 0, "{synced:?}");
        }
        first.stop().await?;
        sqlx::query("UPDATE etl_watermark SET watermark = watermark - interval '2 hours' WHERE tenant_id = 1")
            .execute(&stage.target)
            .await?;
        // a chunk that was given up on
        sqlx::query(
            "UPDATE etl_chunk SET status = 'dead', error = 'column \"x\" does not exist' WHERE run_id = 1 AND seq = 1",
        )
        .execute(&stage.target)
        .await?;
        sqlx::query("UPDATE etl_control SET status = 'failed', error_message = '1 chunk is dead', chunks_dead = 1, chunks_done = chunks_done - 1 WHERE id = 1")
            .execute(&stage.target)
            .await?;

        let served = serve(&stage, "console", &[]).await?;
        let browser = Browser::open(1400, 1000).await?;
        browser.page.goto(&format!("http://{}/", served.address)).await?;
        browser.wait_for_text("No producer runs, so nothing is planned").await?;
        browser.wait_for_text("tidemark producer").await?;
        browser.picture("journey-1-no-producer").await?;

        let second = stage.start(&["producer"])?;
        poll("a page without that banner, by itself", async || {
            Ok((!browser.text().await?.contains("No producer runs")).then_some(()))
        })
        .await?;
        browser.wait_for_text("Chunks are dead").await?;
        browser.picture("journey-2-dead-chunk").await?;

        browser.page.goto(&format!("http://{}/runs/1", served.address)).await?;
        browser.wait_for_text("does not exist").await?;
        browser.picture("journey-3-run").await?;
        browser.click_text("Retry").await?;
        poll("the end of the retried run", async || {
            let text = browser.text().await?;
            Ok((text.contains("success") && !text.contains("1 chunk is dead")).then_some(()))
        })
        .await?;

        browser.fill("#search", "1:1").await?;
        browser.page.execute("document.querySelector('.search').requestSubmit()", Vec::new()).await?;
        browser.wait(".sentence").await?;
        browser.picture("journey-4-why").await?;
        let text = browser.text().await?;
        ensure!(text.contains("Evidence"), "{text}");
        browser.wait("td .masked").await?;

        browser.page.goto(&format!("http://{}/tenants/1", served.address)).await?;
        browser.click_text("More").await?;
        browser.click("a[href='/tenants/1/do/resync']").await?;
        browser.wait("dialog[open] textarea[name=ids]").await?;
        let focused = browser.page.execute("return document.activeElement.hasAttribute('data-close')", Vec::new()).await?;
        ensure!(focused == true, "the focus begins on Cancel");
        browser.fill("dialog textarea[name=ids]", "1, 2, 3").await?;
        browser.fill("dialog input[name=reason]", "a customer asked").await?;
        browser.picture("journey-5-resync").await?;
        browser.click("dialog button[type=submit]").await?;
        browser.wait_for_text("These runs would be requested.").await?;
        browser.picture("journey-6-preview").await?;
        browser.click("form.act button[type=submit]").await?;
        browser.wait_for_text("resync").await?;
        let run = browser.page.current_url().await?.path().rsplit('/').next().context("a run")?.to_owned();
        stage.until(&format!("SELECT status = 'success' FROM etl_control WHERE id = {run}")).await?;
        browser.picture("journey-7-resynced").await?;

        pause(&browser, &served.address).await?;
        browser.page.goto(&format!("http://{}/audit", served.address)).await?;
        for entry in ["run.retry", "run.request", "a customer asked", "tenant.pause", "looked at by ana", "console:local"] {
            browser.wait_for_text(entry).await?;
        }
        browser.picture("journey-8-audit").await?;
        browser.ensure_quiet("the journey").await?;
        browser.page.clone().close().await?;
        for process in [served.process, second, worker, finalizer] {
            process.stop().await?;
        }
        Ok(())
    })
    .await;
}

/// A pause needs a reason; without one the form comes back.
async fn pause(browser: &Browser, address: &str) -> Result<()> {
    browser.page.goto(&format!("http://{address}/tenants/2")).await?;
    browser.click("a[href='/tenants/2/do/pause']").await?;
    browser.wait("dialog[open] input[name=reason]").await?;
    browser
        .fill("dialog input[name=reason]", "looked at by ana")
        .await?;
    browser.picture("journey-9-pause").await?;
    browser.click("dialog button[type=submit]").await?;
    browser.wait_for_text("looked at by ana").await
}
