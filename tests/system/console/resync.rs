//! A resync of a file of ids: read as it comes, bounded, and previewed with whose the ids are.

use anyhow::{Result, ensure};

use super::client::{Answer, Client, add_user, serve};
use crate::stage::on_stage;

const BOUNDARY: &str = "----ids";

async fn upload(client: &Client, file: &str) -> Result<Answer> {
    let part = |name: &str, value: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!(
        "{}{}{}--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"ids_file\"; filename=\"ids.csv\"\r\n\
         Content-Type: text/csv\r\n\r\n{file}\r\n--{BOUNDARY}--\r\n",
        part("ids", ""),
        part("reason", "from a file"),
        part("step", "preview"),
    );
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("Content-Type", kind.as_str()), ("Sec-Fetch-Site", "same-origin")];
    client.send("POST", "/tenants/1/do/resync", &headers, &body).await
}

/// The number beside a label.
fn number(page: &str, label: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("<dt>{label}</dt>"))?;
    let (_, rest) = rest.split_once("<span class=\"number\">")?;
    rest.split_once('<').map(|(number, _)| number.to_owned())
}

#[tokio::test]
async fn a_file_of_ids_is_previewed_with_whose_they_are_and_bounded() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 3).await?;
        for tenant in ["1", "2"] {
            stage.sync_local(&["--tenant", tenant]).await?;
        }
        let ids = |tenant: i32| {
            let statement =
                "SELECT conversation_id FROM conversations_analytics WHERE tenant_id = $1 ORDER BY 1 LIMIT 3";
            sqlx::query_scalar::<_, i64>(statement)
                .bind(tenant)
                .fetch_all(&stage.target)
        };
        let (own, other) = (ids(1).await?, ids(2).await?);
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let lines: Vec<String> = own.iter().chain(&other[..2]).map(ToString::to_string).collect();
        let file = format!(
            "conversation_id\r\n{}\r\n99999999,99999998,99999997,99999996\r\n",
            lines.join("\r\n")
        );
        let page = upload(&client, &file).await?;
        ensure!(page.status == 200, "{page:?}");
        for (label, count) in [
            ("Of this tenant", "3"),
            ("Of other tenants", "2"),
            ("Unknown", "4"),
        ] {
            let shown = number(&page.body, label);
            ensure!(shown.as_deref() == Some(count), "{label}: {shown:?} in {page:?}");
        }
        let none: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_control WHERE type = 'resync'")
            .fetch_one(&stage.target)
            .await?;
        ensure!(none == 0, "a preview requests nothing");
        let form = format!(
            "ids={}&reason=from+a+file&step=go",
            own.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("%2C")
        );
        let gone = client.post("/tenants/1/do/resync", &form).await?;
        ensure!(gone.status == 303, "{gone:?}");

        for (file, text) in [
            ("1\n2\nx3\n", "line 3: `x3` is not a conversation id"),
            ("conversation_id\n", "there is no id in the file"),
        ] {
            let refused = upload(&client, file).await?;
            ensure!(
                refused.status == 422 && refused.body.contains(text),
                "{refused:?}"
            );
        }
        let zeros = "0000000000000000001\n".repeat(900_000);
        ensure!(zeros.len() > 16 * 1024 * 1024, "{}", zeros.len());
        let refused = upload(&client, &zeros).await?;
        ensure!(
            refused.status == 422 && refused.body.contains("16 MiB"),
            "{}: {}",
            refused.status,
            refused.head
        );
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_sent_after_the_session_has_ended_is_not_lost() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        add_user(&stage, "ana", "correct horse battery", &["--role", "operator"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);
        let asked = upload(&stranger, "4711\n4712\n").await?;
        ensure!(
            asked.status == 401
                && asked.body.contains("ids=4711%2C4712")
                && asked.body.contains("reason=from+a+file"),
            "{asked:?}"
        );
        served.process.stop().await
    })
    .await;
}
