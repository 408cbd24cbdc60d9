//! Many tabs at once: they cost the ledger what one costs, and each of them can still act.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::Locator;
use sqlx::{Executor, Row};

use super::browser::Browser;
use super::client::serve;
use super::streams::{Stream, open, read_until};
use crate::servers::Server;
use crate::stage::{Servers, Stage, on_servers, on_stage, poll};

/// Statements of the console since the last reset: all, and looks. A look asks for the ledger's clock once. What the process
/// says about itself has its own rhythm.
async fn statements(stage: &Stage) -> Result<(i64, i64)> {
    let row = sqlx::query(
        "SELECT coalesce(sum(calls) FILTER (WHERE query NOT LIKE '%etl_process%'), 0)::bigint, \
                coalesce(sum(calls) FILTER (WHERE query = 'SELECT now()'), 0)::bigint \
         FROM pg_stat_statements \
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)",
    )
    .fetch_one(&stage.target)
    .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Each stream reads this many changes. Returns the statements and the looks meanwhile.
async fn follow(stage: &Stage, streams: &mut [Stream], changes: usize) -> Result<(i64, i64)> {
    stage.target.execute("SELECT pg_stat_statements_reset()").await?;
    let reading = streams.iter_mut().map(|stream| async move {
        for _ in 0..changes {
            read_until(stream, |line| line.contains("Overview"), "the next look").await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    futures::future::try_join_all(reading).await?;
    statements(stage).await
}

#[tokio::test]
async fn two_hundred_tabs_cost_the_ledger_what_one_does_and_none_costs_nothing() {
    let ledger = Server::postgres_with("shared_preload_libraries=pg_stat_statements")
        .await
        .expect("a server can be started");
    let servers = Servers {
        target: ledger.url().expect("a url"),
        ..Servers::shared()
    };
    on_servers(servers, |stage| async move {
        stage
            .target
            .execute("CREATE EXTENSION pg_stat_statements")
            .await?;
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let mut streams = vec![open(&served.address, "/").await?];
        let (of_one, looks) = follow(&stage, &mut streams, 3).await?;
        ensure!(
            looks > 0 && of_one >= looks,
            "{of_one} statements of {looks} looks"
        );
        while streams.len() < 200 {
            streams.push(open(&served.address, "/").await?);
        }
        let (of_all, looks_of_all) = follow(&stage, &mut streams, 3).await?;
        // a look may begin before the reset, and end after it
        let a_look = of_one / looks + 2;
        ensure!(
            looks_of_all <= 6 && of_all <= (looks_of_all + 1) * a_look,
            "one tab: {of_one} statements of {looks} looks; 200 tabs: {of_all} of {looks_of_all}"
        );
        drop(streams);
        poll("an end of the looks", async || {
            let before = statements(&stage).await?;
            // three looks would fit: here the time itself is tested
            tokio::time::sleep(Duration::from_secs(6)).await;
            Ok((statements(&stage).await? == before).then_some(()))
        })
        .await?;
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn with_seven_tabs_open_the_last_one_can_still_act() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let browser = Browser::open(1400, 1000).await?;
        let home = format!("http://{}/tenants/1", served.address);
        browser.page.goto(&home).await?;
        for _ in 0..6 {
            let tab = browser.page.new_window(true).await?;
            browser.page.switch_to_window(tab.handle).await?;
            browser.page.goto(&home).await?;
            browser.wait("h1").await?;
        }
        ensure!(browser.page.windows().await?.len() == 7, "seven tabs");
        browser.click("a[href='/tenants/1/do/pause']").await?;
        browser
            .fill("dialog[open] input[name=reason]", "from the last tab")
            .await?;
        browser.click("dialog button[type=submit]").await?;
        browser.wait_for_text("from the last tab").await?;
        // the first one shows it too, when somebody looks at it again
        let tabs = browser.page.windows().await?;
        browser
            .page
            .switch_to_window(tabs.first().context("a tab")?.clone())
            .await?;
        browser.wait_for_text("from the last tab").await?;
        let waiting = browser
            .page
            .find_all(Locator::Css("#stream-away:not([hidden])"))
            .await?;
        ensure!(waiting.is_empty(), "its stream is open again");
        for tab in browser.page.windows().await? {
            browser.page.switch_to_window(tab).await?;
            browser.page.close_window().await?;
        }
        served.process.stop().await
    })
    .await;
}
