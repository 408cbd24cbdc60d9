//! Who may see a tenant's page, and which values on it.

use anyhow::ensure;
use tidemark_ledger::connect::{ActAs, pool_as};
use tidemark_ledger::tenant_page::rows::{Counted, Selection};
use tidemark_ledger::tenant_page::{Filter, Look};
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;
use tidemark_shared::ids::TenantId;

use super::client::{Client, add_user, serve};
use super::tenant_page::{PASSWORD, file_cells, move_to_brazil, open};
use crate::stage::on_stage;

#[tokio::test]
async fn two_tenants_in_turns_over_one_connection_never_see_each_other() {
    on_stage(|stage| async move {
        stage.sample(200, 2, 3).await?;
        for tenant in ["1", "2"] {
            stage.sync_local(&["--tenant", tenant]).await?;
        }
        let url = ServerUrl::from(stage.pages_url().await?);
        let db = pool_as(ActAs::Dashboard, &url, "test", 1, DatabasePooler::None).await?;
        let day = |text: &str| text.parse().expect("a date");
        let selection = |counted| Selection {
            filter: Filter::everything(day("2020-01-01"), day("2030-01-01")),
            counted,
            hour: None,
            weekday: None,
            handled_by: None,
        };
        for _ in 0..20 {
            for tenant in [1, 2] {
                let mut look = Look::begin(&db, TenantId(tenant)).await?;
                let groups = look.groups(&selection(Counted::All).filter).await?;
                ensure!(!groups.is_empty(), "nothing is counted");
                for counted in [Counted::All, Counted::Waiting] {
                    for row in look.rows(&selection(counted), None, 1_000).await? {
                        let owner: i32 = sqlx::query_scalar(
                            "SELECT tenant_id FROM conversations_analytics WHERE conversation_id = $1",
                        )
                        .bind(row.conversation_id)
                        .fetch_one(&stage.target)
                        .await?;
                        ensure!(
                            owner == tenant,
                            "tenant {tenant} sees conversation {} of {owner}",
                            row.conversation_id
                        );
                    }
                }
                // the other tenant's conversation, by its id
                let foreign: i64 = sqlx::query_scalar(
                    "SELECT max(conversation_id) FROM conversations_analytics WHERE tenant_id <> $1",
                )
                .bind(tenant)
                .fetch_one(&stage.target)
                .await?;
                ensure!(
                    look.conversation(foreign).await?.is_none(),
                    "a foreign conversation"
                );
            }
            // between two looks the connection belongs to nobody, and it writes nothing
            let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics")
                .fetch_one(&db)
                .await?;
            ensure!(seen == 0, "{seen} rows without a tenant");
        }
        let written = sqlx::query("DELETE FROM conversations_analytics")
            .execute(&db)
            .await;
        ensure!(written.is_err(), "the pages' login writes");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_tenants_user_sees_its_own_page_and_nothing_else() {
    on_stage(|stage| async move {
        stage.sample(300, 2, 5).await?;
        move_to_brazil(&stage).await?;
        for tenant in ["1", "2"] {
            stage.sync_local(&["--tenant", tenant]).await?;
        }
        let (served, clients) = open(&stage, &[1, 2]).await?;
        let home = clients[0].get("/").await?;
        ensure!(home.status == 303 && home.header("location") == Some("/t/tenant-1"), "{home:?}");
        let page = clients[0].get("/t/tenant-1").await?;
        ensure!(page.status == 200 && page.body.contains("lang=\"pt-BR\""), "Portuguese in Brazil: {page:?}");
        for menu in ["/runs", "/fleet", "/audit", "/tenants"] {
            ensure!(!page.body.contains(&format!("href=\"{menu}\"")), "a link to {menu}");
        }
        let foreign: (i64, i32, i32) = sqlx::query_as(
            "SELECT conversation_id, inbox_id, assignee_id FROM conversations_analytics \
             WHERE tenant_id = 2 AND assignee_id IS NOT NULL AND assignee_id NOT IN \
                 (SELECT assignee_id FROM conversations_analytics WHERE tenant_id = 1 AND assignee_id IS NOT NULL) LIMIT 1",
        )
        .fetch_one(&stage.target)
        .await?;
        let (conversation, inbox, agent) = foreign;
        for path in [
            "/t/tenant-2".to_owned(),
            "/t/none".to_owned(),
            "/t/tenant-2/conversations".to_owned(),
            "/t/tenant-2/conversations.csv".to_owned(),
            format!("/t/tenant-2/conversations/{conversation}"),
            format!("/t/tenant-1/conversations/{conversation}"),
            format!("/t/tenant-1?inbox={inbox}"),
            format!("/t/tenant-1?agent={agent}"),
            "/t/tenant-1?channel=Channel::None".to_owned(),
            "/t/tenant-1/conversations?after=x".to_owned(),
            "/events?page=/t/tenant-1".to_owned(),
            "/events?page=/tenants/1".to_owned(),
            "/tenants/1".to_owned(),
            "/api/v1/tenants/1".to_owned(),
            "/search?q=1".to_owned(),
        ] {
            let answer = clients[0].get(&path).await?;
            ensure!(answer.status == 404, "{path}: {}", answer.status);
        }
        // a place of the other tenant's list, and its ETag, show only the own rows
        let cursor = format!("/t/tenant-1/conversations?from=2020-06-01&to=2022-12-01&after=2022-11-01.{conversation}");
        let own = clients[0].get(&cursor).await?;
        ensure!(own.status == 200 && !own.body.contains(&format!("/conversations/{conversation}\"")), "{own:?}");
        let tagged = clients[0].send("GET", "/t/tenant-1", &[("If-None-Match", "\"x\"")], "").await?;
        ensure!(tagged.status == 200 && tagged.header("cache-control") == Some("no-store"), "{tagged:?}");
        let changed = clients[0].post("/tenants/1/do/pause", "reason=x").await?;
        ensure!(changed.status == 404, "{changed:?}");
        let out = clients[0].post("/logout", "").await?;
        ensure!(out.status == 303 && clients[0].get("/t/tenant-1").await?.status == 303, "signed out");
        for (args, expected) in [
            (["--role", "tenant", "--tenants", "1"].as_slice(), 64),
            (&["--role", "tenant"], 64),
            (&["--role", "viewer", "--tenant", "1"], 64),
            (&["--role", "tenant", "--tenant", "99"], 64),
        ] {
            let added = stage.tidemark(&[&["console", "user", "add", "x", "--no-password"], args].concat()).await?;
            ensure!(added.code == expected, "{args:?}: {added:?}");
        }
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn an_operator_sees_values_when_it_asks_and_may_and_that_is_in_the_audit() {
    on_stage(|stage| async move {
        stage.sample(120, 1, 9).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (served, clients) = open(&stage, &[1]).await?;
        add_user(&stage, "view", PASSWORD, &["--role", "viewer"]).await?;
        add_user(&stage, "see", PASSWORD, &["--role", "viewer", "--sees-values"]).await?;
        let viewer = Client::new(&served.address).sign_in("view", PASSWORD).await?;
        let seer = Client::new(&served.address).sign_in("see", PASSWORD).await?;
        let (id, name, text): (i64, String, String) = sqlx::query_as(
            "SELECT conversation_id, contact_name, first_customer_text FROM conversations_analytics \
             WHERE contact_name IS NOT NULL AND length(first_customer_text) > 20 AND first_customer_text !~ '[&<>\"]' \
             ORDER BY conversation_id LIMIT 1",
        )
        .fetch_one(&stage.target)
        .await?;
        let path = format!("/t/tenant-1/conversations/{id}");
        let list = "/t/tenant-1/conversations?from=2025-01-01&to=2027-12-31";
        let file = "/t/tenant-1/conversations.csv?from=2025-01-01&to=2027-12-31";
        for client in [&viewer, &seer] {
            for path in [path.as_str(), list, file] {
                let page = client.get(path).await?;
                ensure!(page.status == 200 && !page.body.contains(&name) && !page.body.contains(&text), "{path}");
            }
        }
        for path in [format!("{path}?values=1"), format!("{list}&values=1"), format!("{file}&values=1")] {
            let refused = viewer.get(&path).await?;
            ensure!(refused.status == 422 && !refused.body.contains(&name), "{path}: {refused:?}");
            let shown = seer.get(&path).await?;
            ensure!(shown.status == 200, "{path}: {}", shown.status);
        }
        ensure!(seer.get(&format!("{path}?values=1")).await?.body.contains(&text), "the message");
        let own = clients[0].get(&path).await?;
        ensure!(own.body.contains(&text) && own.body.contains(&name), "the tenant's own people see it: {own:?}");
        let looks: Vec<(String, i32)> = sqlx::query_as(
            "SELECT actor, tenant_id FROM etl_action_audit WHERE action = 'values.show' AND result = 'done'",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(looks.len() == 4 && looks.iter().all(|(actor, tenant)| actor == "console:see" && *tenant == 1), "{looks:?}");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_page_shows_no_more_than_the_policy_keeps() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 13).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (contact, name): (i64, String) = sqlx::query_as(
            "SELECT contact_id, contact_name FROM conversations_analytics WHERE contact_name IS NOT NULL \
             GROUP BY contact_id, contact_name ORDER BY count(*) DESC LIMIT 1",
        )
        .fetch_one(&stage.target)
        .await?;
        let key = [("TIDEMARK_PRIVACY_KEY", "0123456789abcdef0123456789abcdef")];
        let forgotten = stage
            .tidemark_with(
                &[
                    "tenant",
                    "forget",
                    "--tenant",
                    "1",
                    "--contact",
                    &contact.to_string(),
                    "--reason",
                    "asked",
                    "--yes",
                ],
                &key,
            )
            .await?;
        ensure!(forgotten.code == 0, "{forgotten:?}");
        let set = stage
            .tidemark_with(
                &[
                    "tenant",
                    "set",
                    "--tenant",
                    "1",
                    "--privacy",
                    "contact_name=hash,contact_phone=null,message_text=null",
                ],
                &key,
            )
            .await?;
        ensure!(set.code == 0, "{set:?}");
        let (served, clients) = open(&stage, &[1]).await?;
        let filled = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1", "--full", "--json"], &key)
            .await?;
        ensure!(filled.code == 0, "{filled:?}");
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT name FROM contacts WHERE length(name) > 8 AND name !~ '[&<>\"]'",
        )
        .fetch_all(&stage.source)
        .await?;
        let file = clients[0]
            .get("/t/tenant-1/conversations.csv?from=2025-01-01&to=2027-12-31")
            .await?;
        ensure!(!file.body.contains(&name), "the forgotten contact");
        let rows = file_cells(&file.body, ';');
        for row in &rows {
            ensure!(row[3].is_empty() && !names.contains(&row[2]), "{row:?}");
        }
        ensure!(
            rows.iter().any(|row| row[2].len() > 20),
            "hashes tell contacts apart"
        );
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn without_a_login_of_its_own_the_page_says_what_to_set_and_operators_go_on() {
    on_stage(|stage| async move {
        stage.tenant(1, "America/Sao_Paulo", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let page = client.get("/t/tenant-1").await?;
        ensure!(
            page.status == 503 && page.body.contains("TIDEMARK_CONSOLE_TENANT_DATABASE_URL"),
            "{page:?}"
        );
        ensure!(client.get("/tenants").await?.status == 200, "operators' pages");
        served.process.stop().await?;

        // a login that may do more is refused, and named
        let all = stage.owner_url("target");
        let served = serve(
            &stage,
            "console",
            &[("TIDEMARK_CONSOLE_TENANT_DATABASE_URL", &all)],
        )
        .await?;
        let page = Client::new(&served.address).get("/t/tenant-1").await?;
        ensure!(
            page.status == 503 && page.body.contains("is a superuser"),
            "{page:?}"
        );
        served.process.stop().await?;

        let pages = stage.pages_url().await?;
        let served = serve(
            &stage,
            "console",
            &[("TIDEMARK_CONSOLE_TENANT_DATABASE_URL", &pages)],
        )
        .await?;
        let page = Client::new(&served.address).get("/t/tenant-1").await?;
        ensure!(
            page.status == 200 && page.body.contains("There are no conversations yet"),
            "{page:?}"
        );
        served.process.stop().await
    })
    .await;
}
