//! A tenant's page when something changes beside it: the ledger goes away, rows change, a user is removed.

use anyhow::{Context, Result, ensure};
use sqlx::Executor;
use tokio::io::AsyncReadExt;

use super::browser::Browser;
use super::client::{Client, add_user, serve};
use super::streams;
use super::tenant_page::{PASSWORD, english, measure, open};
use crate::servers::Server;
use crate::stage::{Servers, Stage, WAIT_LIMIT, on_servers, on_stage, poll};

const AWAY: &str = "The data cannot be read at the moment";
/// Every day of the sample.
const ALL: &str = "from=2024-01-01&to=2026-12-31";

#[tokio::test]
async fn a_tenants_page_says_that_the_database_is_away_and_comes_back_by_itself() {
    let ledger = Server::postgres().await.expect("a server can be started");
    let servers = Servers {
        target: ledger.url().expect("a url"),
        ..Servers::shared()
    };
    let ledger = &ledger;
    on_servers(servers, |stage| async move {
        stage.sample(60, 1, 7).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (served, clients) = open(&stage, &[1]).await?;
        let client = english(&clients[0]);
        let before = client.get("/t/tenant-1").await?;
        ensure!(before.status == 200, "{before:?}");
        let pages = stage.pages_login();
        let nobody = serve(
            &stage,
            "console",
            &[("TIDEMARK_CONSOLE_TENANT_DATABASE_URL", pages.as_str())],
        )
        .await?;
        let browser = Browser::open(1200, 900).await?;

        ledger.crash().await?;
        // somebody whose session cannot be checked, and an operator: neither reads of ledgers and commands
        for asks in [&client, &Client::new(&nobody.address)] {
            for path in [
                "/t/tenant-1",
                "/t/tenant-1/conversations",
                "/t/tenant-1/conversations.csv",
            ] {
                let away = asks.get(path).await?;
                ensure!(
                    away.status == 503 && away.header("retry-after").is_some() && away.body.contains(AWAY),
                    "{path}: {away:?}"
                );
                ensure!(
                    !away.body.to_lowercase().contains("the ledger does not"),
                    "{path}: {away:?}"
                );
            }
        }
        browser
            .page
            .goto(&format!("http://{}/t/tenant-1", nobody.address))
            .await?;
        browser.wait_for_text(AWAY).await?;
        ledger.start().await?;
        browser.wait(".filters").await?;
        ensure!(
            browser.text().await?.contains("Tenant 1"),
            "the page is there again"
        );
        poll("the page of somebody who is signed in", async || {
            Ok((client.get("/t/tenant-1").await?.status == 200).then_some(()))
        })
        .await?;
        nobody.process.stop().await?;
        served.process.stop().await
    })
    .await;
}

/// Live conversations of a tenant, by SQL.
async fn live(stage: &Stage, tenant: i32) -> Result<String> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL",
    )
    .bind(tenant)
    .fetch_one(&stage.target)
    .await?;
    Ok(count.to_string())
}

#[tokio::test]
async fn kept_numbers_are_counted_again_after_a_run_and_after_a_contact_is_forgotten() {
    on_stage(|stage| async move {
        stage.sample(160, 2, 8).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.sync_local(&["--tenant", "2"]).await?;
        let (served, clients) = open(&stage, &[1, 2]).await?;
        let clients: Vec<Client> = clients.iter().map(english).collect();
        let clients = &clients;
        let shown = async |tenant: usize| -> Result<String> {
            let page = clients[tenant - 1].get(&format!("/t/tenant-{tenant}?{ALL}")).await?;
            ensure!(page.status == 200, "{page:?}");
            measure(&page, "Conversations")
        };
        let (first, second) = (live(&stage, 1).await?, live(&stage, 2).await?);
        ensure!(first != second, "the tenants cannot be told apart");
        ensure!((shown(1).await?, shown(2).await?) == (first.clone(), second.clone()), "both are counted");
        // a change behind everybody's back is not seen: what follows is about numbers that are kept
        stage.target.execute("UPDATE conversations_analytics SET source_deleted_at = now() WHERE conversation_id % 9 = 0").await?;
        ensure!((shown(1).await?, shown(2).await?) == (first.clone(), second.clone()), "they are kept");

        let forgotten: i64 = sqlx::query_scalar(
            "SELECT contact_id FROM conversations_analytics \
             WHERE tenant_id = 1 AND source_deleted_at IS NULL AND contact_id IS NOT NULL ORDER BY conversation_id LIMIT 1",
        )
        .fetch_one(&stage.target)
        .await?;
        let contact = forgotten.to_string();
        let forget = ["tenant", "forget", "--tenant", "1", "--contact", &contact, "--reason", "asked", "--yes"];
        let done = stage.tidemark(&forget).await?;
        ensure!(done.code == 0, "{done:?}");
        let now = live(&stage, 1).await?;
        ensure!(now != first && shown(1).await? == now, "{} is not {now}", shown(1).await?);
        ensure!(shown(2).await? == second, "the other tenant's are kept");

        stage.source.execute("DELETE FROM conversations WHERE id % 5 = 0").await?;
        stage.sync_local(&["--tenant", "2"]).await?;
        let now = live(&stage, 2).await?;
        ensure!(now != second && shown(2).await? == now, "{} is not {now}", shown(2).await?);
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_user_who_is_removed_sees_nothing_more_and_its_streams_end() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 9).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (served, clients) = open(&stage, &[1]).await?;
        add_user(&stage, "olga", PASSWORD, &["--role", "operator"]).await?;
        let olga = Client::new(&served.address).sign_in("olga", PASSWORD).await?;
        let cookie = olga.cookie.as_deref().context("a cookie")?;
        let mut stream = streams::open_as(&served.address, "/tenants", Some(cookie)).await?;
        // a tenant's page has no stream, and its people get none of operators
        let refused = clients[0].get("/events?page=/t/tenant-1").await?;
        ensure!(refused.status == 404 || refused.status == 403, "{refused:?}");

        for user in ["t1", "olga"] {
            let removed = stage.tidemark(&["console", "user", "remove", user]).await?;
            ensure!(removed.code == 0, "{removed:?}");
        }
        for (client, path) in [
            (&clients[0], "/t/tenant-1"),
            (&clients[0], "/t/tenant-1/conversations"),
            (&clients[0], "/t/tenant-1/conversations.csv"),
            (&olga, "/t/tenant-1"),
            (&olga, "/tenants"),
        ] {
            let answer = client.get(path).await?;
            let leads = answer.header("location").unwrap_or_default();
            ensure!(
                answer.status == 303 && leads.contains("/login"),
                "{path}: {answer:?}"
            );
            ensure!(!answer.body.contains("Tenant 1"), "{path}: {answer:?}");
        }
        let mut rest = Vec::new();
        tokio::time::timeout(WAIT_LIMIT, stream.read_to_end(&mut rest))
            .await
            .context("the stream of a removed user goes on")??;
        served.process.stop().await
    })
    .await;
}

/// The cell of a row of a table that this link is in.
fn cell(page: &str, link: &str, label: &str) -> Result<String> {
    let row = page
        .split("<tr>")
        .find(|row| row.contains("<th scope=\"row\">") && row.contains(link));
    let row = row.with_context(|| format!("no row has {link}"))?;
    let (_, after) = row
        .split_once(&format!("data-label=\"{label}\">"))
        .with_context(|| format!("no {label} in {row}"))?;
    let cell = after.split("</td>").next().unwrap_or_default();
    Ok(cell
        .split('<')
        .filter_map(|part| part.split_once('>'))
        .map(|(_, text)| text)
        .collect())
}

#[tokio::test]
async fn the_median_of_an_inbox_and_of_an_agent_is_that_of_the_page_of_each() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 10).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        // nobody answered here
        stage
            .target
            .execute(
                "UPDATE conversations_analytics SET reported_first_response_seconds = NULL, first_response_time_seconds = NULL \
                 WHERE inbox_id = (SELECT min(inbox_id) FROM conversations_analytics)",
            )
            .await?;
        let (served, clients) = open(&stage, &[1]).await?;
        let client = english(&clients[0]);
        let label = "First response, median";
        let page = client.get(&format!("/t/tenant-1?{ALL}")).await?;
        let (mut without, mut with) = (0, 0);
        for column in ["inbox", "assignee"] {
            let ids: Vec<i32> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT DISTINCT coalesce({column}_id, 0) FROM conversations_analytics WHERE source_deleted_at IS NULL ORDER BY 1"
            )))
            .fetch_all(&stage.target)
            .await?;
            let parameter = if column == "inbox" { "inbox" } else { "agent" };
            for id in ids {
                let narrowed = client.get(&format!("/t/tenant-1?{ALL}&{parameter}={id}")).await?;
                let expected = measure(&narrowed, label)?;
                let shown = cell(&page.body, &format!("{parameter}={id}\""), label)?;
                ensure!(shown == expected, "{parameter} {id}: {shown} is not {expected}");
                if expected == "–" { without += 1 } else { with += 1 }
            }
        }
        ensure!(without > 0 && with > 3, "{without} places without a response, {with} with one");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn the_one_login_of_an_installation_gets_the_role_of_tenants_pages_where_it_may_grant_it() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 11).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let login = format!("{}_pages", stage.login());
        let make =
            format!("CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE etl_service, console_service");
        stage.target.execute(sqlx::AssertSqlSafe(make)).await?;
        let url = stage.pages_login();
        let settings = [("TIDEMARK_DATABASE_URL", url.as_str())];
        let served = serve(&stage, "up", &settings).await?;
        let client = Client::new(&served.address);
        let refused = client.get("/t/tenant-1").await?;
        ensure!(
            refused.status == 503 && refused.body.contains("GRANT authenticated_users TO"),
            "{refused:?}"
        );
        // since PostgreSQL 16 CREATEROLE alone is the right to grant roles that one has made
        let may = format!("ALTER ROLE {login} CREATEROLE");
        stage.target.execute(sqlx::AssertSqlSafe(may)).await?;
        let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::integer")
            .fetch_one(&stage.target)
            .await?;
        if version >= 160_000 {
            let as_maker =
                format!("GRANT authenticated_users TO {login} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE");
            stage.target.execute(sqlx::AssertSqlSafe(as_maker)).await?;
        }
        let page = client.get("/t/tenant-1").await?;
        ensure!(
            page.status == 200 && page.body.contains("as an operator"),
            "{page:?}"
        );
        served.process.stop().await?;
        let end = format!("REVOKE authenticated_users FROM {login} CASCADE");
        stage.target.execute(sqlx::AssertSqlSafe(end)).await?;
        Ok(())
    })
    .await;
}
