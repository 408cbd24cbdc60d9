//! The page of a tenant's own people: its numbers, its rows and its files.

use anyhow::{Context, Result, ensure};
use sqlx::Row;

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
pub fn file_cells(text: &str, separator: char) -> Vec<Vec<String>> {
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
