//! A person's way: why is a tenant late, cure it, retry a dead chunk, ask why, resync, and see it all in the audit.

use anyhow::{Context, Result, ensure};

use super::browser::Browser;
use super::client::serve;
use crate::stage::{Stage, on_stage, poll};

#[tokio::test]
async fn a_person_finds_the_cause_cures_it_and_sees_it_in_the_audit() {
    on_stage(|stage| async move {
        stage.sample(400, 2, 11).await?;
        let small = stage.tidemark(&["tenant", "set", "--tenant", "1", "--chunk-size", "10"]).await?;
        ensure!(small.code == 0, "{small:?}");
        let worker = stage.start(&["worker"])?;
        let finalizer = stage.start(&["finalizer"])?;
        let first = stage.start(&["producer"])?;
        for tenant in ["1", "2"] {
            let synced = stage.tidemark(&["sync", "--tenant", tenant, "--wait", "--json"]).await?;
            ensure!(synced.code == 0, "{synced:?}");
        }
        first.stop().await?;
        sqlx::query("UPDATE etl_watermark SET watermark = watermark - interval '2 hours', next_due_at = now() WHERE tenant_id = 1")
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
        let home = format!("http://{}", served.address);
        let browser = Browser::open(1400, 1000).await?;
        // why is it late? Nobody plans
        browser.page.goto(&format!("{home}/")).await?;
        browser.wait_for_text("No producer runs, so nothing is planned").await?;
        browser.wait_for_text("tidemark producer").await?;
        browser.wait(".need a[href='/tenants/1']").await?;
        browser.picture("journey-1-no-producer").await?;
        browser.page.goto(&format!("{home}/tenants?state=late")).await?;
        browser.wait("tr#tenant-1").await?;
        browser.wait_for_text("no producer").await?;
        browser.picture("journey-2-late").await?;

        // the cure; the page notices it by itself
        browser.page.goto(&format!("{home}/")).await?;
        let second = stage.start(&["producer"])?;
        poll("a page without that banner, by itself", async || {
            Ok((!browser.text().await?.contains("No producer runs")).then_some(()))
        })
        .await?;
        browser.wait_for_text("Chunks are dead").await?;
        browser.picture("console").await?;
        stage.until("SELECT watermark > now() - interval '1 hour' FROM etl_watermark WHERE tenant_id = 1").await?;

        browser.click(".need a[href='/runs/1']").await?;
        browser.wait_for_text("does not exist").await?;
        browser.picture("journey-4-run").await?;
        browser.click_text("Retry").await?;
        poll("the end of the retried run", async || {
            let text = browser.text().await?;
            Ok((text.contains("success") && !text.contains("1 chunk is dead")).then_some(()))
        })
        .await?;

        browser.picture("console-run").await?;

        // a change that leaves no trace in any timestamp
        let id: i64 = sqlx::query_scalar("SELECT min(conversation_id) FROM conversations_analytics WHERE tenant_id = 1")
            .fetch_one(&stage.target)
            .await?;
        sqlx::query("UPDATE conversations SET priority = 3 - coalesce(priority, 0) WHERE id = $1")
            .bind(id)
            .execute(&stage.source)
            .await?;
        let why = format!("{home}/tenants/1/conversations/{id}");
        browser.fill("#search", &format!("1:{id}")).await?;
        browser.page.execute("document.querySelector('.search').requestSubmit()", Vec::new()).await?;
        browser.wait(".sentence").await?;
        ensure!(browser.page.current_url().await?.as_str() == why, "the search leads to the conversation");
        browser.wait_for_text("different").await?;
        browser.wait("td .masked").await?;
        browser.picture("console-why").await?;

        resync(&stage, &browser, &home, id).await?;
        browser.page.goto(&why).await?;
        browser.wait_for_text("equal in every column").await?;

        pause(&browser, &home).await?;
        browser.page.goto(&format!("{home}/audit")).await?;
        for entry in ["run.retry", "run.request", "a customer asked", "tenant.pause", "looked at by ana", "console:local"] {
            browser.wait_for_text(entry).await?;
        }
        browser.picture("journey-10-audit").await?;
        browser.ensure_quiet("the journey").await?;
        for process in [served.process, second, worker, finalizer] {
            process.stop().await?;
        }
        Ok(())
    })
    .await;
}

/// A file with ids is taken again, after a look at what that would do.
async fn resync(stage: &Stage, browser: &Browser, home: &str, id: i64) -> Result<()> {
    let file = std::env::temp_dir().join(format!("tidemark-ids-{:016x}.txt", rand::random::<u64>()));
    std::fs::write(&file, format!("{id}\n999999\n"))?;
    browser.page.goto(&format!("{home}/tenants/1")).await?;
    browser.wait(".timeline").await?;
    browser.picture("console-tenant").await?;
    browser.click_text("More").await?;
    browser.click("a[href='/tenants/1/do/resync']").await?;
    let focused = "return document.activeElement.hasAttribute('data-close')";
    browser.wait("dialog[open] input[type=file]").await?;
    let focused = browser.page.execute(focused, Vec::new()).await?;
    ensure!(focused == true, "the focus begins on Cancel");
    let chosen = browser.wait("dialog input[type=file]").await?;
    chosen.send_keys(&file.display().to_string()).await?;
    poll("the ids of the file", async || {
        let ids = "return document.querySelector('dialog textarea[name=ids]').value.trim()";
        let ids = browser.page.execute(ids, Vec::new()).await?;
        Ok((ids == format!("{id}\n999999")).then_some(()))
    })
    .await?;
    std::fs::remove_file(&file)?;
    browser
        .fill("dialog input[name=reason]", "a customer asked")
        .await?;
    browser.picture("journey-6-resync").await?;
    browser.click("dialog button[type=submit]").await?;
    browser.wait_for_text("These runs would be requested.").await?;
    browser.picture("journey-7-preview").await?;
    browser.click("form.act button[type=submit]").await?;
    browser.wait(".gantt, .progress-line, .split").await?;
    let url = browser.page.current_url().await?;
    let run = url.path().strip_prefix("/runs/").context("the page of the run")?;
    stage
        .until(&format!(
            "SELECT status = 'success' FROM etl_control WHERE id = {run}"
        ))
        .await?;
    browser.wait_for_text("success").await?;
    browser.picture("journey-8-resynced").await
}

/// A pause needs a reason; without one the form comes back.
async fn pause(browser: &Browser, home: &str) -> Result<()> {
    browser.page.goto(&format!("{home}/tenants/2")).await?;
    browser.click("a[href='/tenants/2/do/pause']").await?;
    browser.wait("dialog[open] input[name=reason]").await?;
    browser
        .fill("dialog input[name=reason]", "looked at by ana")
        .await?;
    browser.picture("journey-9-pause").await?;
    browser.click("dialog button[type=submit]").await?;
    browser.wait_for_text("looked at by ana").await
}
