//! Live pages: nothing moves while their values change, and the page of a job counts up by itself.

use anyhow::{Result, ensure};
use sqlx::Executor;

use super::browser::Browser;
use super::client::{Client, serve};
use crate::stage::{Signal, Stage, on_stage, poll};

/// Collects shifts from now on, and counts how often the live part is written.
const OBSERVE: &str = r#"
    window.shifts = { sum: 0, found: [] };
    window.writes = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (entry.hadRecentInput) continue;
            window.shifts.sum += entry.value;
            for (const source of entry.sources ?? []) {
                const node = source.node?.nodeType === 1 ? source.node : source.node?.parentElement;
                window.shifts.found.push((node?.outerHTML ?? "").slice(0, 120) + " by " + entry.value.toFixed(4));
            }
        }
    }).observe({ type: "layout-shift", buffered: true });
    new MutationObserver(() => { window.writes += 1; })
        .observe(document.getElementById("live"), { childList: true, subtree: true, characterData: true, attributes: true });
"#;

async fn number(browser: &Browser, script: &str) -> Result<f64> {
    let found = browser.page.execute(script, Vec::new()).await?;
    Ok(found.as_f64().unwrap_or_default())
}

/// Opens a page and collects what moves on it.
async fn observe(browser: &Browser, address: &str, page: &str) -> Result<()> {
    browser.page.goto(&format!("http://{address}{page}")).await?;
    browser.wait("#live").await?;
    browser.page.execute(OBSERVE, Vec::new()).await?;
    Ok(())
}

/// The run has ended, the page has got new values, and nothing on it has moved.
async fn nothing_has_moved(stage: &Stage, browser: &Browser, page: &str, run: &str) -> Result<()> {
    stage
        .until(&format!(
            "SELECT status = 'success' FROM etl_control WHERE id = {run}"
        ))
        .await?;
    poll(format!("new values on {page}"), async || {
        Ok((number(browser, "return window.writes").await? > 0.0).then_some(()))
    })
    .await?;
    let shifts = browser.page.execute("return window.shifts", Vec::new()).await?;
    let sum = shifts["sum"].as_f64().unwrap_or(1.0);
    ensure!(sum <= 0.02, "{page} moves by {sum}: {shifts:#}");
    browser.ensure_quiet(page).await
}

#[tokio::test]
async fn nothing_moves_on_live_pages_while_their_values_change() {
    on_stage(|stage| async move {
        stage.sample(400, 2, 5).await?;
        for tenant in ["1", "2"] {
            stage.sync_local(&["--tenant", tenant]).await?;
        }
        stage
            .target
            .execute("UPDATE tenants SET max_in_flight = 2 WHERE id = 1")
            .await?;
        let planning = stage.start(&["producer"])?;
        let finalizing = stage.start(&["finalizer"])?;
        let served = serve(&stage, "console", &[]).await?;
        let browser = Browser::open(1400, 1000).await?;
        // The page of a run is open before anybody works on its chunks. That it gets chunks is another state, no value.
        let run = stage.ask_full("5").await?;
        stage
            .until(&format!(
                "SELECT status = 'running' FROM etl_control WHERE id = {run}"
            ))
            .await?;
        let page = format!("/runs/{run}");
        observe(&browser, &served.address, &page).await?;
        let working = stage.start(&["worker"])?;
        nothing_has_moved(&stage, &browser, &page, &run).await?;
        for page in ["/", "/fleet"] {
            observe(&browser, &served.address, page).await?;
            let run = stage.ask_full("5").await?;
            nothing_has_moved(&stage, &browser, page, &run).await?;
        }
        // a tenant that is on time is held by its limit, and the list shows it for a while
        observe(&browser, &served.address, "/tenants").await?;
        let run = stage.ask_full("5").await?;
        stage
            .until(&format!(
                "SELECT count(*) > 0 FROM etl_chunk WHERE run_id = {run} AND status = 'running'"
            ))
            .await?;
        working.signal(Signal::STOP)?;
        let shows_run = async |wanted: bool| {
            let shown = "return document.querySelector('#tenant-1').innerText.includes('running')";
            let is_shown = browser.page.execute(shown, Vec::new()).await? == true;
            Ok((is_shown == wanted).then_some(()))
        };
        poll("the run on the list", async || shows_run(true).await).await?;
        working.signal(Signal::CONT)?;
        poll("the end of the run on the list", async || shows_run(false).await).await?;
        nothing_has_moved(&stage, &browser, "/tenants", &run).await?;
        for process in [planning, finalizing, working, served.process] {
            process.stop().await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_page_of_a_job_counts_up_without_a_reload() {
    on_stage(|stage| async move {
        for tenant in 1..=6 {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let chosen = client
            .post("/bulk/prepare", "action=tenant.pause&which=all")
            .await?;
        ensure!(chosen.status == 303, "{chosen:?}");
        // somebody else has tenant 4, so the job waits there
        let mut other = stage.target.begin().await?;
        sqlx::query("SELECT FROM tenants WHERE id = 4 FOR UPDATE")
            .execute(&mut *other)
            .await?;
        let started = client.post("/bulk/1/do/start", "reason=night").await?;
        ensure!(started.status == 303, "{started:?}");
        stage.until("SELECT done_count = 3 FROM etl_bulk").await?;
        let browser = Browser::open(1400, 1000).await?;
        browser
            .page
            .goto(&format!("http://{}/bulk/1", served.address))
            .await?;
        browser.wait("#live .progress-line").await?;
        browser
            .page
            .execute("window.sameDocument = true", Vec::new())
            .await?;
        let done = async |wanted: &str| {
            let text = browser.text().await?;
            Ok(text.contains(wanted).then_some(()))
        };
        poll("three of them are done on the page", async || {
            done("Done\n3").await
        })
        .await?;
        other.rollback().await?;
        poll("all are done on the page", async || done("Done\n6").await).await?;
        browser.wait("#live .badge.good").await?;
        let same = browser
            .page
            .execute("return window.sameDocument === true", Vec::new())
            .await?;
        ensure!(same == true, "the page was loaded again");
        served.process.stop().await
    })
    .await;
}
