//! The page of a tenant's own people: its numbers, its rows, and that it is nobody else's.

use anyhow::{Context, Result, ensure};
use sqlx::Row;
use tidemark_ledger::connect::{ActAs, pool_as};
use tidemark_ledger::tenant_page::rows::{Counted, Selection};
use tidemark_ledger::tenant_page::{Filter, Look};
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;
use tidemark_shared::ids::TenantId;

use super::client::{Answer, Client, Served, add_user, serve};
use crate::stage::{Stage, on_stage};

pub const PASSWORD: &str = "correct horse battery";

/// A console with tenants' pages, and a user of each tenant: `t1`, `t2`.
pub async fn open(stage: &Stage, tenants: &[i32]) -> Result<(Served, Vec<Client>)> {
    let pages = stage.pages_url().await?;
    let settings = [
        ("TIDEMARK_CONSOLE_AUTH", "password"),
        ("TIDEMARK_CONSOLE_TENANT_DATABASE_URL", pages.as_str()),
    ];
    let served = serve(stage, "console", &settings).await?;
    let mut clients = Vec::new();
    for tenant in tenants {
        let (name, id) = (format!("t{tenant}"), tenant.to_string());
        add_user(stage, &name, PASSWORD, &["--role", "tenant", "--tenant", &id]).await?;
        clients.push(Client::new(&served.address).sign_in(&name, PASSWORD).await?);
    }
    Ok((served, clients))
}

/// The same user, who has chosen English.
pub fn english(client: &Client) -> Client {
    let chosen = |cookie: &String| format!("{cookie}; tm_language=en");
    Client {
        cookie: client.cookie.as_ref().map(chosen),
        ..client.clone()
    }
}

/// Puts the sample's first tenant into a zone of Brazil.
pub async fn move_to_brazil(stage: &Stage) -> Result<()> {
    let zone = [
        "tenant",
        "set",
        "--tenant",
        "1",
        "--timezone",
        "America/Sao_Paulo",
    ];
    let set = stage.tidemark(&zone).await?;
    ensure!(set.code == 0, "{set:?}");
    Ok(())
}

/// The value of a measure on the page.
pub fn measure(page: &Answer, label: &str) -> Result<String> {
    let start = format!("<span class=\"label\">{label}</span><span class=\"value\">");
    let (_, rest) = page
        .body
        .split_once(&start)
        .with_context(|| format!("no {label} in {page:?}"))?;
    Ok(rest.split('<').next().unwrap_or_default().to_owned())
}

/// The cells of the rows of a list: what stands between tags.
fn cells(page: &str) -> Vec<Vec<String>> {
    let body = page
        .split("<tbody>")
        .nth(1)
        .and_then(|rest| rest.split("</tbody>").next());
    let rows = body.unwrap_or_default().split("<tr>").skip(1);
    rows.map(|row| {
        let cells = row.split("</td>").flat_map(|part| part.split("</th>"));
        let text = |cell: &str| {
            let mut text = String::new();
            let mut in_tag = false;
            for sign in cell.chars() {
                match sign {
                    '<' => in_tag = true,
                    '>' => in_tag = false,
                    sign if !in_tag => text.push(sign),
                    _ => {}
                }
            }
            let text = text
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"");
            text.replace("&amp;", "&")
        };
        cells.take(14).map(text).collect()
    })
    .collect()
}

/// The cells of a file, without its head.
fn file_cells(text: &str, separator: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' if quoted && signs.peek() == Some(&'"') => {
                signs.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            sign if sign == separator && !quoted => row.push(std::mem::take(&mut cell)),
            sign => cell.push(sign),
        }
    }
    rows.split_off(1)
}

/// The numbers of a day, computed from points in time and without the columns that the page counts by.
const BY_HAND: &str = "
    WITH row AS (
        SELECT *, coalesce(reported_first_response_seconds, first_response_time_seconds)::float8 AS response
        FROM conversations_analytics
        WHERE tenant_id = $1 AND source_deleted_at IS NULL
          AND conversation_created_at >= $2::date::timestamp AT TIME ZONE $3
          AND conversation_created_at < ($2::date + 1)::timestamp AT TIME ZONE $3
    ), ordered AS (SELECT response, row_number() OVER (ORDER BY response) AS place, count(*) OVER () AS all FROM row WHERE response IS NOT NULL)
    SELECT count(*) AS conversations, count(DISTINCT contact_id) AS contacts,
           100.0::float8 * count(*) FILTER (WHERE status = 1) / count(*) AS resolved,
           100.0::float8 * count(*) FILTER (WHERE agent_messages_count = 0 AND handled_by = 'nobody' AND contact_messages_count > 0)
               / count(*) AS unanswered,
           (SELECT round(avg(response::numeric))::bigint FROM ordered WHERE place IN ((\"all\" + 1) / 2, (\"all\" + 2) / 2)) AS median
    FROM row";

#[tokio::test]
async fn numbers_of_a_day_equal_those_of_the_clock_also_when_it_is_changed() {
    on_stage(|stage| async move {
        stage.sample(240, 2, 31).await?;
        // 2026-11-01 has 25 hours in New York
        let edges = [
            (
                1,
                "America/Sao_Paulo",
                "2026-10-31",
                [
                    "2026-10-31 02:59:59",
                    "2026-10-31 03:00:00",
                    "2026-11-01 02:59:59",
                    "2026-11-01 03:00:00",
                ],
            ),
            (
                2,
                "America/New_York",
                "2026-11-01",
                [
                    "2026-11-01 03:59:59",
                    "2026-11-01 04:00:00",
                    "2026-11-02 04:59:59",
                    "2026-11-02 05:00:00",
                ],
            ),
        ];
        for (tenant, zone, _, times) in edges {
            let set = stage
                .tidemark(&[
                    "tenant",
                    "set",
                    "--tenant",
                    &tenant.to_string(),
                    "--timezone",
                    zone,
                ])
                .await?;
            ensure!(set.code == 0, "{set:?}");
            for (place, time) in times.into_iter().enumerate() {
                sqlx::query(
                    "UPDATE conversations SET created_at = $1::timestamp WHERE id IN ( \
                         SELECT id FROM conversations WHERE account_id = $2 ORDER BY id OFFSET $3 LIMIT 5)",
                )
                .bind(time)
                .bind(tenant)
                .bind(i64::try_from(place)? * 5)
                .execute(&stage.source)
                .await?;
            }
            stage.sync_local(&["--tenant", &tenant.to_string()]).await?;
        }
        let (served, clients) = open(&stage, &[1, 2]).await?;
        for ((tenant, zone, day, _), client) in edges.into_iter().zip(&clients) {
            let english = english(client);
            let path = format!("/t/tenant-{tenant}?from={day}&to={day}");
            let page = english.get(&path).await?;
            ensure!(page.status == 200, "{page:?}");
            let row = sqlx::query(BY_HAND)
                .bind(tenant)
                .bind(day.parse::<chrono::NaiveDate>()?)
                .bind(zone)
                .fetch_one(&stage.target)
                .await?;
            let all: i64 = row.try_get("conversations")?;
            ensure!(all >= 10, "the edges are on this day: {all}");
            let share = |percent: f64| format!("{percent:.1} %");
            let counted = [
                ("Conversations", all.to_string()),
                ("Unique contacts", row.try_get::<i64, _>("contacts")?.to_string()),
                ("Resolved", share(row.try_get("resolved")?)),
                ("Unanswered", share(row.try_get("unanswered")?)),
            ];
            for (label, expected) in counted {
                ensure!(
                    measure(&page, label)? == expected,
                    "{zone} {label}: {} is not {expected}",
                    measure(&page, label)?
                );
            }
            let median: Option<i64> = row.try_get("median")?;
            let shown = measure(&page, "First response, median")?;
            let expected = median.map_or_else(
                || "–".to_owned(),
                |seconds| match seconds {
                    ..60 => format!("{seconds} s"),
                    60..600 => format!("{} min {} s", seconds / 60, seconds % 60),
                    600..3_600 => format!("{} min", seconds / 60),
                    3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
                    _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
                },
            );
            ensure!(shown == expected, "{zone}: {shown} is not {expected}");
            // the rows behind the number are as many
            let list = english
                .get(&format!("/t/tenant-{tenant}/conversations?from={day}&to={day}"))
                .await?;
            let file = english
                .get(&format!(
                    "/t/tenant-{tenant}/conversations.csv?from={day}&to={day}"
                ))
                .await?;
            let rows = file_cells(&file.body, ',').len();
            ensure!(
                i64::try_from(rows)? == all && cells(&list.body).len() == rows.min(50),
                "{rows} rows of {all}"
            );
        }
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_file_has_what_the_screen_has_and_no_formula() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 7).await?;
        move_to_brazil(&stage).await?;
        sqlx::query("UPDATE contacts SET name = CASE id % 4 WHEN 0 THEN '=HYPERLINK(\"http://x\";\"y\")' WHEN 1 THEN '@SUM(A1)' WHEN 2 THEN E'\\t=1' ELSE '-2+3' END")
            .execute(&stage.source)
            .await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let (served, clients) = open(&stage, &[1]).await?;
        let client = &clients[0];
        let span = "from=2025-01-01&to=2027-12-31";
        let file = client.get(&format!("/t/tenant-1/conversations.csv?{span}")).await?;
        ensure!(file.status == 200 && file.body.starts_with('\u{feff}'), "{file:?}");
        ensure!(file.header("content-type") == Some("text/csv; charset=utf-8"), "{}", file.head);
        ensure!(file.body.contains("Conversa;Início;Contato;Telefone"), "a file for Brazil has `;`: {}", &file.body[..200]);
        let rows = file_cells(&file.body, ';');
        let of_span = "SELECT count(*) FROM conversations_analytics WHERE conversation_date BETWEEN '2025-01-01' AND '2027-12-31'";
        let expected: i64 = sqlx::query_scalar(of_span).fetch_one(&stage.target).await?;
        // more than two pages
        ensure!(expected > 100 && i64::try_from(rows.len())? == expected, "{} of {expected}", rows.len());
        for cell in rows.iter().flatten() {
            ensure!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?} is a formula");
        }
        ensure!(rows.iter().any(|row| row[2].starts_with("'=HYPERLINK")), "the name is there as text");

        // all pages of the screen, one after the other
        let mut shown = Vec::new();
        let mut next = Some(format!("/t/tenant-1/conversations?{span}"));
        while let Some(path) = next {
            let page = client.get(&path).await?;
            ensure!(page.status == 200, "{path}: {page:?}");
            shown.extend(cells(&page.body));
            let link = page.body.split("<a class=\"button\" href=\"").skip(1).find(|part| part.contains("rel=\"next\""));
            next = link.and_then(|part| part.split('"').next()).map(|link| link.replace("&amp;", "&"));
        }
        ensure!(shown.len() == rows.len(), "{} rows on the screen, {} in the file", shown.len(), rows.len());
        for (screen, file) in shown.iter().zip(&rows) {
            let file: Vec<String> = file
                .iter()
                .map(|cell| match cell.strip_prefix('\'') {
                    Some(rest) if rest.starts_with(['=', '+', '-', '@', '\t']) => rest.to_owned(),
                    _ if cell.is_empty() => "–".to_owned(),
                    _ => cell.clone(),
                })
                .collect();
            ensure!(*screen == file, "{screen:?} is not {file:?}");
        }
        let numbers: std::collections::BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
        ensure!(numbers.len() == rows.len(), "a conversation is there once");
        served.process.stop().await
    })
    .await;
}

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
