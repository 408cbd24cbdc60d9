//! What is in the cells of the source, and secrets: on no page, unless somebody with the right to it asks.

use anyhow::{Result, ensure};

use super::client::{Client, add_user, serve};
use crate::stage::{Stage, on_stage};

const PASSWORD: &str = "correct horse battery";

/// Texts of conversation 1 that nobody may see by chance.
async fn texts(stage: &Stage) -> Result<Vec<String>> {
    let found: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT unnest(ARRAY[c.name, c.email, c.phone_number]) FROM contacts c JOIN conversations v ON v.contact_id = c.id \
         WHERE v.id = 1 UNION ALL \
         (SELECT content FROM messages WHERE conversation_id = 1 AND length(content) > 10 ORDER BY id LIMIT 3)",
    )
    .fetch_all(&stage.source)
    .await?;
    Ok(found
        .into_iter()
        .flatten()
        .filter(|text| text.len() > 5)
        .collect())
}

#[tokio::test]
async fn no_page_shows_a_value_or_a_secret_unless_somebody_may_and_asks() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let texts = texts(&stage).await?;
        ensure!(texts.len() > 3, "{texts:?}");
        add_user(&stage, "ana", PASSWORD, &["--role", "admin"]).await?;
        add_user(&stage, "vera", PASSWORD, &["--role", "viewer", "--sees-values"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let stranger = Client::new(&served.address);
        let ana = stranger.sign_in("ana", PASSWORD).await?;
        let secrets = [PASSWORD.to_owned(), format!(":{}@", stage.login()), "argon2".to_owned()];
        let why = "/tenants/1/conversations/1";
        for path in [
            "/", "/tenants", "/tenants/1", "/tenants/1?tab=settings", "/runs", "/runs/1", "/rejects", why, "/sources", "/fleet",
            "/verify", "/audit", "/settings", "/api/v1/status", "/api/v1/tenants/1", "/api/v1/runs/1", "/api/v1/runs/1/chunks",
        ] {
            let page = ana.get(path).await?;
            ensure!(page.status == 200, "{path}: {page:?}");
            for hidden in texts.iter().chain(&secrets) {
                ensure!(!page.body.contains(hidden.as_str()), "{path} shows {hidden:?}");
            }
            let kept = page.header("cache-control").unwrap_or_default();
            ensure!(kept.contains("no-store") || path.starts_with("/api/"), "{path}: {kept:?}");
        }
        // an admin without the right to it, and a viewer who has it
        let asked = format!("{why}?values=1");
        ensure!(ana.get(&asked).await?.status == 422, "admins need the right too");
        let vera = stranger.sign_in("vera", PASSWORD).await?;
        let page = vera.get(&asked).await?;
        ensure!(
            page.status == 200 && texts.iter().any(|text| page.body.contains(text.as_str())),
            "the values are there: {page:?}"
        );
        let entries: Vec<String> = sqlx::query_scalar(
            "SELECT actor || ' ' || subject FROM etl_action_audit WHERE action = 'values.show' AND result = 'done'",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(entries == ["console:vera conversation 1"], "{entries:?}");
        served.process.stop().await
    })
    .await;
}
